# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""CameraInfo messages become calibrations, or one clear error."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from da3_ros.errors import MessageError
from da3_ros.geometry import camera
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo

# Numbers of coefficients that each distortion model may have. The pinhole models are one and the
# same, of which drivers leave out what is zero, or not, under either name.
_OF_PINHOLE = (14, 12, 8, 5, 4)
_NUM_COEFFICIENTS = {
    'plumb_bob': _OF_PINHOLE,
    'rational_polynomial': _OF_PINHOLE,
    'equidistant': (4,),
}
# What drivers call the equidistant model, too.
_EQUIDISTANT = ('equidistant', 'fisheye', 'kannala_brandt', 'kannala_brandt4')
# The principal point of a real camera lies within this many image sizes of the image.
_MAX_OFFSET = 1.0


@dataclass(frozen=True, eq=False)
class CameraModel:
    """
    Calibration of one camera.

    :param width: of its images [px].
    :param height: of its images [px].
    :param intrinsics: (3, 3) float64 [px], pixel centres at integers.
    :param distortion_model: name as in sensor_msgs.
    :param distortion: its coefficients; empty where there is no distortion.
    """

    width: int
    height: int
    intrinsics: NDArray[np.float64]
    distortion_model: str
    distortion: tuple[float, ...]


def read_camera_model(
    info: 'CameraInfo', *, width: int, height: int, is_rectified: bool
) -> CameraModel:
    """
    Read the calibration of images of a size, with binning and region of interest applied.

    :param info: the message.
    :param width: of the images [px].
    :param height: of the images [px].
    :param is_rectified: the images are rectified already, so that P describes them, not K and D.
    :raises MessageError: if it is not calibrated, not of this size, or absurd.
    """
    k = np.array(info.k, dtype=np.float64).reshape(3, 3)
    if is_rectified:
        k = np.array(info.p, dtype=np.float64).reshape(3, 4)[:, :3]
    if not k.any():
        name = 'P' if is_rectified else 'K'
        raise MessageError(f'CameraInfo: got {name} of zeros, expected a calibrated camera')
    binning_x, binning_y = max(info.binning_x, 1), max(info.binning_y, 1)
    roi = info.roi
    full = (roi.width or info.width, roi.height or info.height)
    expected = (full[0] // binning_x, full[1] // binning_y)
    if expected != (width, height):
        raise MessageError(
            f'CameraInfo: got one for {expected[0]}x{expected[1]} pixels, expected {width}x'
            f'{height} as the image'
        )
    _check_intrinsics(k, info.width, info.height)
    k[0, 2] -= roi.x_offset
    k[1, 2] -= roi.y_offset
    k = camera.rescale(k, scale_x=1.0 / binning_x, scale_y=1.0 / binning_y)
    model: str = info.distortion_model
    if model.lower().replace(' ', '_') in _EQUIDISTANT:
        model = 'equidistant'
    distortion = () if is_rectified else _read_distortion(info, model)
    return CameraModel(width, height, k, model, distortion)


def _check_intrinsics(k: NDArray[np.float64], width: int, height: int) -> None:
    """Check that a camera of so many pixels may have these intrinsics (3, 3)."""
    sound = (
        np.isfinite(k).all()
        and np.allclose(k[2], (0.0, 0.0, 1.0))
        and k[1, 0] == 0.0
        and 0.1 * width < k[0, 0] < 100.0 * width
        and 0.1 * height < k[1, 1] < 100.0 * height
        and abs(k[0, 2] - width / 2) < (0.5 + _MAX_OFFSET) * width
        and abs(k[1, 2] - height / 2) < (0.5 + _MAX_OFFSET) * height
    )
    if not sound:
        numbers = ', '.join(f'{value:.6g}' for value in k.ravel())
        raise MessageError(
            f'CameraInfo: got K ({numbers}) for {width}x{height} pixels, '
            'expected plausible focal lengths and principal point'
        )


def _read_distortion(info: 'CameraInfo', model: str) -> tuple[float, ...]:
    """Return the coefficients; none for a lens that draws straight lines."""
    distortion = tuple(float(value) for value in info.d)
    if not any(distortion):
        # An equidistant lens bends lines by itself, with coefficients of zero too.
        return (0.0,) * 4 if model == 'equidistant' else ()
    allowed = _NUM_COEFFICIENTS.get(model)
    if allowed is None:
        raise MessageError(
            f'CameraInfo: got distortion model {info.distortion_model!r}, expected one of '
            f'{", ".join(_NUM_COEFFICIENTS)}'
        )
    # Drivers fill D up with zeros.
    length = next((
        n for n in allowed if n <= len(distortion) and not any(distortion[n:])), None)
    if length is None or not np.isfinite(distortion).all():
        raise MessageError(
            f'CameraInfo: got D {distortion} for {info.distortion_model}, expected '
            f'{" or ".join(map(str, reversed(allowed)))} finite numbers, and zeros behind them'
        )
    return distortion[:length]
