# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Settings of what is published."""

from dataclasses import dataclass
import math
from pathlib import Path

from da3_ros.errors import SaveError
from da3_ros.export.save import FORMATS

# Smaller ones could not be numbered within the range of a camera.
_MIN_VOXEL_M = 0.001


@dataclass(frozen=True)
class DepthSettings:
    """
    Which depth is published.

    :param size: ``network`` (as it was inferred) or ``image`` (that of the rectified image).
    :param min_confidence: depth below it becomes NaN; confidence is in [1, inf), 1 = none.
    :param max_m: depth beyond it becomes +Inf; 0 = no limit.
    """

    size: str = 'network'
    min_confidence: float = 1.0
    max_m: float = 0.0

    @property
    def limit_m(self) -> float:
        """Return the largest finite depth."""
        return self.max_m if self.max_m > 0.0 else math.inf


@dataclass(frozen=True)
class PointSettings:
    """
    How the point cloud is made from the published depth.

    :param frame: ``camera`` (the image's optical frame) or ``world``.
    :param organized: keep the shape of the image, with NaN where there is no point.
    :param stride: take every n-th pixel in both directions.
    :param min_confidence: points below it are left out, on top of ``depth.min_confidence``.
    :param max_m: points whose depth is beyond it are left out; 0 = no limit.
    :param voxel_m: edge of cubes of which each gives one point; 0 = off.
    """

    frame: str = 'camera'
    organized: bool = False
    stride: int = 1
    min_confidence: float = 1.0
    max_m: float = 0.0
    voxel_m: float = 0.0

    def __post_init__(self) -> None:
        """
        Check what the ranges cannot tell.

        :raises ValueError: if a value cannot be used, or not with another.
        """
        if 0.0 < self.voxel_m < _MIN_VOXEL_M:
            raise ValueError(
                f'points.voxel_m: got {self.voxel_m}, expected 0 or at least {_MIN_VOXEL_M}')
        if self.organized and self.voxel_m > 0.0:
            raise ValueError(
                f'points.voxel_m: got {self.voxel_m} with points.organized true, expected 0 '
                'there: a cloud in the shape of the image cannot be thinned out')

    @property
    def limit_m(self) -> float:
        """Return the largest depth of a point."""
        return self.max_m if self.max_m > 0.0 else math.inf


@dataclass(frozen=True)
class CompressedSettings:
    """
    How images are compressed, for those who subscribe to compressed ones.

    :param jpeg_quality: of the picture, 1 to 100.
    :param depth_quantization: Z; depth is rounded to steps of about its square over Z(Z + 1).
    :param depth_max_m: depth beyond it is lost.
    """

    jpeg_quality: int = 90
    depth_quantization: float = 100.0
    depth_max_m: float = 100.0


@dataclass(frozen=True)
class SaveSettings:
    """
    What ``~/save`` writes, and what is remembered for it.

    :param directory: where a folder per call is created; ``~`` is the home of the user.
    :param formats: some of ``export.save.FORMATS``.
    :param max_keyframes: keyframes that are remembered; beyond, they are thinned out evenly.
        0 remembers none, and nothing can be saved.
    """

    directory: str = '~/.ros/da3'
    formats: tuple[str, ...] = FORMATS
    max_keyframes: int = 200

    def __post_init__(self) -> None:
        """
        Check what the ranges cannot tell.

        :raises ValueError: if a value cannot be used.
        """
        if not self.directory or '\0' in self.directory:
            raise ValueError(f'save.directory: got {self.directory!r}, expected a folder')
        if not self.formats or not set(self.formats) <= set(FORMATS):
            raise ValueError(
                f'save.formats: got {self.formats}, expected some of {", ".join(FORMATS)}')

    @property
    def folder(self) -> Path:
        """
        Return the directory, from the root of the file system.

        :raises SaveError: if it lies in the home of a user who has none.
        """
        try:
            return Path(self.directory).expanduser().absolute()
        except RuntimeError as error:
            raise SaveError(
                f'save.directory: got {self.directory!r} ({error}), expected a folder that can '
                'be found') from error


@dataclass(frozen=True)
class PathSettings:
    """
    The path of past poses.

    :param max_size: most poses; when full, the oldest is dropped.
    """

    max_size: int = 1000
