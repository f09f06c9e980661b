# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
A COLMAP model in text form, with its images: what Gaussian splatting programs start from.

``sparse/0/`` with ``cameras.txt``, ``images.txt``, ``points3D.txt``, and ``images/`` beside it.
COLMAP counts pixels from the image's corner, so that the principal point moves by half a pixel.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from da3_ros.export.atomic_folder import AtomicFolder
from da3_ros.geometry import camera, rigid
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.session_record import CameraImage, RecordedKeyframe, Session
import numpy as np
from numpy.typing import NDArray

# Points with one observation each, over all images: enough to start from, small as text.
_NUM_POINTS = 100_000
_DIGITS = 6


@dataclass(frozen=True, eq=False)
class _Samples:
    """
    Points that one image sees.

    :param pixels: (M, 2) from the image's corner.
    :param positions: (M, 3) in the frame of the model.
    :param colours: (M, 3) uint8.
    """

    pixels: NDArray[np.float64]
    positions: NDArray[np.float64]
    colours: NDArray[np.uint8]


def write_model(folder: AtomicFolder, session: Session, *, min_confidence: float) -> None:
    """
    Write the model and its images below ``colmap/``.

    :param folder: to write to.
    :param session: with keyframes.
    :param min_confidence: pixels below it give no points.
    """
    cameras: dict[str, int] = {}
    num_points = 0
    per_image = max(1, _NUM_POINTS // len(session.keyframes))
    with folder.open('colmap/sparse/0/images.txt') as images, (
            folder.open('colmap/sparse/0/points3D.txt')) as points:
        images.write(b'# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then X Y POINT3D_ID ...\n')
        points.write(b'# POINT3D_ID X Y Z R G B ERROR TRACK[] as (IMAGE_ID, POINT2D_IDX)\n')
        for image_id, keyframe in enumerate(session.restored(), 1):
            name = f'{image_id:06d}.jpg'
            shown = _shown(session.keyframes[image_id - 1])
            with folder.open(f'colmap/images/{name}') as file:
                file.write(shown.jpeg)
            camera_id = cameras.setdefault(_camera(shown), len(cameras) + 1)
            samples = _sample(keyframe, shown, per_image, min_confidence)
            ids = range(num_points + 1, num_points + 1 + len(samples.pixels))
            num_points += len(ids)
            images.write(_image(keyframe, image_id, camera_id, name).encode())
            images.write(_observations(samples, ids).encode())
            points.write(_points(samples, ids, image_id).encode())
    with folder.open('colmap/sparse/0/cameras.txt') as file:
        file.write(b'# CAMERA_ID MODEL WIDTH HEIGHT FX FY CX CY\n')
        file.write(''.join(f'{id_} {text}\n' for text, id_ in cameras.items()).encode())


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
    keyframe: PosedKeyframe, shown: CameraImage, count: int, min_confidence: float
) -> _Samples:
    """Take pixels of a regular grid, and say where they lie in the image that is shown."""
    height, width = keyframe.depth.shape
    step = max(1, int(np.ceil(np.sqrt(height * width / count))))
    rows, columns = np.mgrid[step // 2:height:step, step // 2:width:step].reshape(2, -1)
    depth = keyframe.depth[rows, columns]
    valid = np.isfinite(depth)
    if keyframe.confidence is not None:
        valid &= keyframe.confidence[rows, columns] >= min_confidence
    rows, columns, depth = rows[valid], columns[valid], depth[valid].astype(np.float64)
    pixels = np.stack([columns, rows], axis=1).astype(np.float64)
    rays = camera.rays_of(pixels, keyframe.intrinsics)
    positions = rigid.transform_points(keyframe.odom_T_camera, rays * depth[:, None])
    shown_pixels = camera.project(rays, camera.to_network(shown.intrinsics))
    return _Samples(shown_pixels, positions, keyframe.image[rows, columns])


def _observations(samples: _Samples, ids: Sequence[int]) -> str:
    return ' '.join(
        f'{x:.3f} {y:.3f} {id_}'
        for (x, y), id_ in zip(samples.pixels.tolist(), ids, strict=True)) + '\n'


def _points(samples: _Samples, ids: Sequence[int], image_id: int) -> str:
    lines = zip(ids, samples.positions.tolist(), samples.colours.tolist(), strict=True)
    return ''.join(
        f'{id_} {_numbers(position)} {red} {green} {blue} 0 {image_id} {index}\n'
        for index, (id_, position, (red, green, blue)) in enumerate(lines))


def _numbers(values: Iterable[float], *, digits: int = _DIGITS) -> str:
    return ' '.join(f'{value:.{digits}f}' for value in values)
