# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Films and folders of images as recordings."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import re

import cv2
from da3_ros.errors import InputError, MessageError
from da3_ros.mapping.keyframe import NS_PER_S
from da3_ros.offline.input.camera_info import CameraInfo
from da3_ros.offline.input.source import Losses, Shot
from da3_ros.offline.input.transforms import TransformTree
from da3_ros.ros.input.compressed_decoding import decode_compressed
from da3_ros.ros.input.image_decoding import by_whole_range
from da3_ros.ros.parameters.settings import CameraSettings
import numpy as np
import yaml

FILMS = ('.mp4', '.mov', '.mkv', '.avi', '.webm', '.m4v')
IMAGES = ('.jpg', '.jpeg', '.png', '.webp', '.tif', '.tiff', '.bmp')
_STAMP = re.compile(r'\d+\.\d{1,9}')


def read_calibration(path: Path) -> CameraInfo:
    """
    Read a file of camera_calibration, as ROS drivers keep it.

    :param path: of the YAML file.
    :raises InputError: if it is none.
    """
    try:
        content = yaml.safe_load(path.read_text())
        matrices = {
            name: tuple(float(value) for value in content[name]['data'])
            for name in ('camera_matrix', 'distortion_coefficients', 'projection_matrix')
            if name in content}
        k = matrices['camera_matrix']
        info = CameraInfo(
            int(content['image_width']), int(content['image_height']),
            str(content.get('distortion_model', 'plumb_bob')),
            matrices.get('distortion_coefficients', ()), k,
            matrices.get('projection_matrix', (*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0)))
        sizes = len(info.k), len(info.p)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f'calibration: got {path} ({type(error).__name__}: {error}), expected the YAML file '
            'of a ROS camera with image_width, image_height and camera_matrix') from error
    if sizes != (9, 12):
        raise InputError(
            f'calibration: got {sizes[0]} and {sizes[1]} numbers as camera_matrix and '
            f'projection_matrix in {path}, expected 9 and 12')
    return info


class FilmSource:
    """The frames of a film; the first one is at time 0."""

    def __init__(self, path: Path, capture: cv2.VideoCapture, info: CameraInfo | None) -> None:
        """
        Read from the beginning.

        :param path: of the film.
        :param capture: open.
        :param info: its camera's, or None.
        """
        self.losses = Losses()
        self._path = path
        self._capture = capture
        self._info = info

    @property
    def description(self) -> str:
        """Return what is read, for a person."""
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        return f'the film {self._path.name}, {self.num_images} frames at {rate:.4g} Hz'

    @property
    def num_images(self) -> int:
        """Return how many frames the film says that it has."""
        return max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def transforms(self) -> TransformTree:
        """Return none."""
        return TransformTree()

    def shots(self) -> Iterator[Shot]:
        """Read the frames."""
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        rate = rate if rate > 0.0 else 30.0
        index, last_ns = 0, -1
        while True:
            # Asked before the frame is read, so that it is this one's.
            position_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
            is_read, image = self._capture.read()
            if not is_read:
                break
            by_rate = round(index * NS_PER_S / rate)
            told = round(position_ms * 1e6)
            stamp_ns = told if told > last_ns else max(by_rate, last_ns + 1)
            last_ns = stamp_ns
            index += 1
            yield Shot(
                stamp_ns, stamp_ns,
                np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8), self._info,
                encoding='film')
        if index < self.num_images:
            self.losses.recording.append(
                f'{self._path.name}: {index} of {self.num_images} frames could be read')


class FolderSource:
    """The images of a folder, in the order of their names."""

    def __init__(
        self, path: Path, files: list[Path], info: CameraInfo | None, settings: CameraSettings,
        *, rate_hz: float,
    ) -> None:
        """
        Read from the beginning.

        :param path: of the folder.
        :param files: the images.
        :param info: their camera's, or None.
        :param settings: how images are received.
        :param rate_hz: images per second, where their names are no times.
        """
        self.losses = Losses()
        self._path = path
        self._files = files
        self._info = info
        self._settings = settings
        self._rate_hz = rate_hz
        self._stamps_ns = sorted(_stamps_ns(files))

    @property
    def description(self) -> str:
        """Return what is read, for a person."""
        times = 'named by their times' if self._stamps_ns else f'taken at {self._rate_hz:g} Hz'
        return f'{len(self._files)} images in {self._path.name}, {times}'

    @property
    def num_images(self) -> int:
        """Return how many images there are."""
        return len(self._files)

    def transforms(self) -> TransformTree:
        """Return none."""
        return TransformTree()

    def shots(self) -> Iterator[Shot]:
        """Read the images."""
        for index, path in enumerate(self._files):
            stamp_ns = (
                self._stamps_ns[index] if self._stamps_ns
                else round(index * NS_PER_S / self._rate_hz))
            try:
                image = decode_compressed(
                    _File(path.read_bytes()), max_pixels=self._settings.max_pixels,
                    to_8_bits=by_whole_range)
            except (OSError, MessageError) as error:
                self.losses.note_image(f'{path.name}: {error}')
                continue
            yield Shot(
                stamp_ns, stamp_ns, image, self._info, encoding='file', name=path.name)


class _File:
    """The content of a file, like a CompressedImage."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.format = ''


def _stamps_ns(files: list[Path]) -> list[int]:
    """Return the times that names like ``1305031102.175304.png`` tell, if all of them do."""
    stamps = []
    for path in files:
        if not _STAMP.fullmatch(path.stem):
            return []
        seconds, _, fraction = path.stem.partition('.')
        stamps.append(int(seconds) * NS_PER_S + int(fraction.ljust(9, '0')))
    return stamps if len(set(stamps)) == len(stamps) else []


@contextmanager
def open_film(path: Path, info: CameraInfo | None) -> Iterator[FilmSource]:
    """
    Open a film.

    :param path: of the file.
    :param info: its camera's, or None.
    :raises InputError: if it cannot be read.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise InputError(f'{path}: got a file that OpenCV cannot open, expected a film')
        yield FilmSource(path, capture, info)
    finally:
        capture.release()


def open_folder(
    path: Path, info: CameraInfo | None, settings: CameraSettings, *, rate_hz: float
) -> FolderSource:
    """
    Open a folder of images.

    :param path: of the folder.
    :param info: their camera's, or None.
    :param settings: how images are received.
    :param rate_hz: images per second, where their names are no times.
    :raises InputError: if it has none.
    """
    files = sorted(
        (each for each in path.iterdir() if each.suffix.lower() in IMAGES), key=_by_number)
    if not files:
        raise InputError(
            f'{path}: got a folder without metadata.yaml and without images, expected a bag, or '
            f'images ({", ".join(IMAGES)})')
    stamps_ns = _stamps_ns(files)
    if stamps_ns:
        files = [file for _, file in sorted(zip(stamps_ns, files, strict=True))]
    return FolderSource(path, files, info, settings, rate_hz=rate_hz)


def _by_number(path: Path) -> list[tuple[int, int, str]]:
    """Sort ``2.png`` before ``10.png``."""
    return [
        (0, int(part), '') if part.isdigit() else (1, 0, part)
        for part in re.split(r'(\d+)', path.stem) if part] + [(1, 0, path.suffix)]
