# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
A COLMAP model in text form, with its images: for bundle adjustment and Gaussian splatting.

``sparse/0/`` with ``cameras.txt``, ``images.txt``, ``points3D.txt``, and ``images/`` beside it.
Its points are seen by several images each, where they were found in the pictures. Splatting wants
more to start from, and needs nobody to see it: ``points3D.ply`` beside them is dense.
COLMAP counts pixels from the image's corner, so that the principal point moves by half a pixel.
"""

from collections.abc import Iterable

from da3_ros.export.atomic_folder import AtomicFolder
from da3_ros.export.features import Features, find_features, Shown
from da3_ros.export.ply import write_start
from da3_ros.export.tracks import find_tracks, Tracks
from da3_ros.geometry import camera, rigid
from da3_ros.geometry.arrays import Array
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.picture import from_jpeg
from da3_ros.mapping.session_record import CameraImage, RecordedKeyframe, Session
import numpy as np
from numpy.typing import NDArray

# Points to start from, over all images.
_NUM_START = 100_000
# Spots that are looked for, over all images and in each.
_NUM_FEATURES = 200_000
_MAX_FEATURES = 1500
_DIGITS = 6


def write_model(folder: AtomicFolder, session: Session, *, min_confidence: float) -> None:
    """
    Write the model and its images below ``colmap/``.

    :param folder: to write to.
    :param session: with keyframes.
    :param min_confidence: pixels below it give no points.
    """
    count = len(session.keyframes)
    num_features = min(_MAX_FEATURES, max(1, _NUM_FEATURES // count))
    features: list[Features] = []
    start: list[tuple[Array, NDArray[np.uint8]]] = []
    cameras: dict[str, int] = {}
    headers = []
    for image_id, keyframe in enumerate(session.restored(), 1):
        folder.check()
        name = f'{image_id:06d}.jpg'
        shown = _shown(session.keyframes[image_id - 1])
        with folder.open(f'colmap/images/{name}') as file:
            file.write(shown.jpeg)
        camera_id = cameras.setdefault(_camera(shown), len(cameras) + 1)
        headers.append(_image(keyframe, image_id, camera_id, name))
        features.append(find_features(
            keyframe, Shown(from_jpeg(shown.jpeg), shown.intrinsics), num_features,
            min_confidence=min_confidence))
        start.append(_sample(keyframe, max(1, _NUM_START // count), min_confidence))
    with folder.open('colmap/sparse/0/cameras.txt') as file:
        file.write(b'# CAMERA_ID MODEL WIDTH HEIGHT FX FY CX CY\n')
        file.write(''.join(f'{id_} {text}\n' for text, id_ in cameras.items()).encode())
    _write_tracks(folder, headers, find_tracks(features, check=folder.check))
    with folder.open('colmap/sparse/0/points3D.ply') as file:
        write_start(file, *(np.concatenate(parts) for parts in zip(*start, strict=True)))


def _write_tracks(folder: AtomicFolder, headers: list[str], tracks: Tracks) -> None:
    """Write images and points, who see and are seen."""
    starts = np.searchsorted(tracks.images, np.arange(len(headers) + 1))
    places = np.arange(len(tracks.images)) - starts[tracks.images]
    with folder.open('colmap/sparse/0/images.txt') as file:
        file.write(b'# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then X Y POINT3D_ID ...\n')
        for header, begin, end in zip(headers, starts[:-1], starts[1:], strict=True):
            seen = zip((tracks.pixels[begin:end] + 0.5).tolist(),
                       (tracks.points[begin:end] + 1).tolist(), strict=True)
            line = ' '.join(f'{x:.3f} {y:.3f} {id_}' for (x, y), id_ in seen)
            file.write(f'{header}{line}\n'.encode())
    order = np.argsort(tracks.points, kind='stable')
    ends = np.cumsum(np.bincount(tracks.points, minlength=len(tracks.positions)))
    seers = np.stack([tracks.images[order] + 1, places[order]], axis=1)
    with folder.open('colmap/sparse/0/points3D.txt') as file:
        file.write(b'# POINT3D_ID X Y Z R G B ERROR TRACK[] as (IMAGE_ID, POINT2D_IDX)\n')
        for index, track in enumerate(np.split(seers, ends[:-1]) if len(ends) else ()):
            red, green, blue = tracks.colours[index]
            seen_by = ' '.join(str(number) for number in track.ravel())
            file.write((
                f'{index + 1} {_numbers(tracks.positions[index])} {red} {green} {blue} '
                f'{tracks.errors[index]:.3f} {seen_by}\n').encode())


def _shown(keyframe: RecordedKeyframe) -> CameraImage:
    """Return the image at the camera's size where that is kept, else as the network saw it."""
    if keyframe.camera_image is not None:
        return keyframe.camera_image
    height, width = keyframe.depth.shape
    return CameraImage(keyframe.jpeg, width, height, keyframe.intrinsics)


def _camera(image: CameraImage) -> str:
    k = camera.to_network(image.intrinsics)
    return f'PINHOLE {image.width} {image.height} ' + _numbers(
        [k[0, 0], k[1, 1], k[0, 2], k[1, 2]])


def _image(keyframe: PosedKeyframe, image_id: int, camera_id: int, name: str) -> str:
    camera_T_frame = rigid.inverse(keyframe.odom_T_camera)
    x, y, z, w = rigid.to_quaternion(camera_T_frame[:3, :3])
    pose = _numbers([w, x, y, z, *camera_T_frame[:3, 3]], digits=12)
    return f'{image_id} {pose} {camera_id} {name}\n'


def _sample(
    keyframe: PosedKeyframe, count: int, min_confidence: float
) -> tuple[Array, NDArray[np.uint8]]:
    """Return positions and colours of the pixels of a regular grid."""
    height, width = keyframe.depth.shape
    step = max(1, int(np.ceil(np.sqrt(height * width / count))))
    rows, columns = np.mgrid[step // 2:height:step, step // 2:width:step].reshape(2, -1)
    valid = np.isfinite(keyframe.depth[rows, columns])
    if keyframe.confidence is not None:
        valid &= keyframe.confidence[rows, columns] >= min_confidence
    rows, columns = rows[valid], columns[valid]
    rays = camera.rays_of(
        np.stack([columns, rows], axis=1).astype(np.float64), keyframe.intrinsics)
    depth = keyframe.depth[rows, columns].astype(np.float64)
    positions = rigid.transform_points(keyframe.odom_T_camera, rays * depth[:, None])
    return positions, keyframe.image[rows, columns]


def _numbers(values: Iterable[float], *, digits: int = _DIGITS) -> str:
    return ' '.join(f'{value:.{digits}f}' for value in values)
