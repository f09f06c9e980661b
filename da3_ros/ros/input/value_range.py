# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The part of 16 bits that a camera uses becomes the 8 bits that the network takes."""

from collections.abc import Callable

from da3_ros.mapping.keyframe import NS_PER_S
from da3_ros.ros.input.image_decoding import RgbImage, WideImage
import numpy as np
from numpy.typing import NDArray

_FULL = 2**16
# Darker images than these say nothing about the sensor.
_SENSOR_BITS = (10, 12, 14, 16)
# The share of dead or hot pixels, on each side.
_OUTLIERS = 0.001
_NUM_SAMPLES = 20_000
# Values that fill less of the sensor's range, and lie away from zero, are temperatures.
_NARROW = 1.0 / 8.0
# A range that proves too small grows by this share of itself more than it must: rarely.
_SPARE = 0.5
_MIN_SPARE = 32.0


class ValueRange:
    """
    Scales 16 bits to 8: all images of a session alike, so that nothing flickers.

    The range is found by the first image, and grows when a later one leaves it. Another kind of
    image, or a long gap between two, begins anew.
    """

    def __init__(self, bits: int, *, max_gap_s: float, warn: Callable[[str], object]) -> None:
        """
        Know nothing yet.

        :param bits: that the camera uses; 0 if they are to be found.
        :param max_gap_s: a longer gap between two images begins anew.
        :param warn: takes what a person should know, once at a beginning at most.
        """
        self._bits = bits
        self._max_gap_ns = round(max_gap_s * NS_PER_S)
        self._warn = warn
        self._stream: str | None = None
        self._stamp_ns = 0
        self._limits: tuple[float, float] | None = None
        self._table: NDArray[np.uint8] = np.empty(0, np.uint8)

    def to_8_bits(self, image: WideImage, *, stream: str, stamp_ns: int) -> RgbImage:
        """
        Scale an image.

        :param image: (H, W, 3) uint16.
        :param stream: what is the same for all images of one kind.
        :param stamp_ns: of the image.
        """
        if stream != self._stream or abs(stamp_ns - self._stamp_ns) > self._max_gap_ns:
            self._limits = None
        self._stream, self._stamp_ns = stream, stamp_ns
        limits = self._find(image)
        if limits != self._limits:
            if self._limits is None and not self._bits and limits != _sensor(16):
                self._warn(
                    f'images of 16 bits use {limits[0]:.0f} to {limits[1]:.0f}, which is scaled '
                    'to 8 bits; where that is not the right range, set camera.bits')
            self._limits = limits
            self._table = _table(*limits)
        return np.asarray(self._table[image])

    def _find(self, image: WideImage) -> tuple[float, float]:
        if self._bits:
            return _sensor(self._bits)
        step = max(1, int(np.sqrt(image[..., 0].size / _NUM_SAMPLES)))
        lowest, highest = (float(value) for value in np.quantile(
            image[::step, ::step], (_OUTLIERS, 1.0 - _OUTLIERS)))
        if self._limits is None:
            return _first_range(lowest, highest)
        low, high = self._limits
        if low <= lowest and highest <= high:
            return self._limits
        if self._limits in map(_sensor, _SENSOR_BITS):
            return _sensor_of(highest)
        return _widened(min(low, lowest), max(high, highest))


def _first_range(lowest: float, highest: float) -> tuple[float, float]:
    sensor = _sensor_of(highest)
    if lowest > _NARROW * sensor[1] and highest - lowest < _NARROW * sensor[1]:
        return _widened(lowest, highest)
    return sensor


def _widened(low: float, high: float) -> tuple[float, float]:
    # A picture of one temperature must not become one of the sensor's noise.
    spare = max(_SPARE * (high - low), _MIN_SPARE)
    return low - spare, high + spare


def _sensor_of(highest: float) -> tuple[float, float]:
    return _sensor(next(bits for bits in _SENSOR_BITS if highest < 2**bits))


def _sensor(bits: int) -> tuple[float, float]:
    return 0.0, 2.0**bits - 1.0


def _table(low: float, high: float) -> NDArray[np.uint8]:
    """Return 8 bits for every value of 16."""
    values = (np.arange(_FULL) - low) * (255.0 / (high - low))
    return np.clip(np.rint(values), 0.0, 255.0).astype(np.uint8)
