# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Whatever a person has in hand: a bag, a film, or a folder of images."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from da3_ros.errors import InputError
from da3_ros.offline.input.bag import BagPart, open_bag
from da3_ros.offline.input.pictures import FILMS, open_film, open_folder, read_calibration
from da3_ros.offline.input.source import Source
from da3_ros.ros.parameters.settings import CameraSettings

_BAGS = ('.bag', '.mcap', '.db3')


@dataclass(frozen=True)
class Recording:
    """
    What is read, and how.

    :param path: of a bag, a film or a folder.
    :param part: what of a bag is read.
    :param calibration: file of the camera, for films and folders, or None.
    :param rate_hz: images per second of a folder whose names are no times.
    :param poses: file or folder that says where the camera was, or None.
    """

    path: Path
    part: BagPart = field(default_factory=BagPart)
    calibration: Path | None = None
    rate_hz: float = 10.0
    poses: Path | None = None

    @property
    def is_bag(self) -> bool:
        """Tell whether it is a bag."""
        path = self.path
        return path.suffix in _BAGS if path.is_file() else (
            (path / 'metadata.yaml').exists()
            or any(file.suffix in _BAGS for file in path.iterdir()))

    @property
    def files(self) -> list[Path]:
        """Return what it consists of."""
        return sorted(each for each in self.path.rglob('*') if each.is_file()) or [self.path]


@contextmanager
def open_recording(recording: Recording, settings: CameraSettings) -> Iterator[Source]:
    """
    Open a recording.

    :param recording: what is read.
    :param settings: how images are received.
    :raises InputError: if it cannot be read.
    :raises ValueError: if an argument cannot be used.
    """
    path = recording.path
    if not recording.rate_hz > 0.0:
        raise ValueError(f'rate: got {recording.rate_hz}, expected more than 0')
    if not path.exists():
        raise InputError(f'{path}: got nothing, expected a bag, a film or a folder of images')
    if recording.is_bag:
        if recording.calibration is not None:
            raise InputError(
                f'calibration: got {recording.calibration} with a bag, whose calibration is its '
                'CameraInfo')
        with open_bag(path, recording.part, settings) as bag:
            yield bag
        return
    if len(settings.names) > 1:
        raise InputError(
            f'camera.names: got {", ".join(settings.names)}, and {path} is no bag, which alone '
            'holds the images of several cameras')
    if recording.part != BagPart():
        raise InputError(
            f'{path}: topics and times choose among the messages of a bag, and this is none')
    info = None if recording.calibration is None else read_calibration(recording.calibration)
    if path.is_dir():
        yield open_folder(path, info, settings, rate_hz=recording.rate_hz)
    elif path.suffix.lower() in FILMS:
        with open_film(path, info) as film:
            yield film
    else:
        raise InputError(
            f'{path}: got a file that ends with {path.suffix!r}, expected a bag '
            f'({", ".join(_BAGS)}) or a film ({", ".join(FILMS)})')
