# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
How much memory and time a window takes, as a formula.

The terms that grow with the window are exact: they are the tensors that the executor keeps for
every view. What a chunk of views needs on top is counted for the backbone and measured for the
head, whose convolutions choose their workspace on the machine (see ``calibration``).

Legend: T tokens and P patches of a view, C channels, s bytes of the backbone's number format.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
import math

from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.sharing import Peers
from da3_ros.model.config import ModelConfig, PATCH_SIZE
from da3_ros.model.sky import VALUES_AT_ONCE
import torch

_FLOAT_BYTES = 4
# Depth and one more map: confidence or sky.
_MAPS_BYTES_PER_PIXEL = 8
# Pixels in fp32, rounded, and those padded to eight channels as cuDNN does.
_EMBED_BYTES_PER_PIXEL = 12 + 6 + 16
# Directions, origins and confidence of the rays, of which there are 8 x 8 for a patch.
_RAYS_BYTES_PER_PATCH = 64 * 7 * 4
# While maps are interpreted over the whole window: a copy of the depth and a mask where sky is
# filled in; masks, selected pixels and their places where a second network gives metres.
_SKY_BYTES_PER_PIXEL = 5
_METRES_BYTES_PER_PIXEL = 40
# Masks of what is counted at once, and the same as integers, which a sum makes of them.
_COUNTING_BYTES = 11 * VALUES_AT_ONCE
# Errors of every ray of one view under every guess of its camera.
_RANSAC_BYTES_PER_PATCH = 64 * 100 * 28
# Queries or keys in fp32, and the copies of them that the network's own modules make to rotate
# them, which fused kernels do in registers.
_ROTATED_COPIES = 6
# The allocator's rounding: it leaves up to 1 MiB unused behind each of a dozen large tensors, and
# less behind small ones.
_BACKBONE_MARGIN_BYTES = 9 * 2**20
_BACKBONE_MARGIN_SHARE = 12
_HEAD_MARGIN_BYTES = 2 * 2**20


@dataclass(frozen=True)
class Calibration:
    """
    What a machine adds to the formula, for one network at one image size.

    :param fixed_bytes: allocated between windows: weights, tables, workspaces.
    :param head_bytes_per_view: of the depth head, for every view of a full chunk of it.
    :param head_bytes_of_one: of the depth head, for a view alone.
    :param view_s: time of one view in everything but attention over all views.
    :param pair_s: time of attention between two views, in all blocks together.
    :param least_s: time of a window of one view, which is mostly that of launching kernels.
    """

    fixed_bytes: int
    head_bytes_per_view: int
    head_bytes_of_one: int
    view_s: float
    pair_s: float
    least_s: float = 0.0

    def slower(self, factor: float) -> 'Calibration':
        """
        Return the same with other times.

        :param factor: by which everything takes longer.
        """
        return replace(
            self, view_s=factor * self.view_s, pair_s=factor * self.pair_s,
            least_s=factor * self.least_s)


@dataclass(frozen=True)
class WindowModel:
    """
    Memory and time of one network's windows at one image size.

    :param config: of the network.
    :param image_size: height and width [px].
    :param dtype: of the backbone's matrices.
    :param options: of the executor.
    :param calibration: of the machine.
    :param with_rays: whether the ray branch runs too.
    :param is_fused: whether fused kernels run in the place of the network's own modules.
    :param num_devices: that share its views; memory is that of each of them.
    :param exchanged_bytes_per_s: that reach each of them from the others.
    """

    config: ModelConfig
    image_size: tuple[int, int]
    dtype: torch.dtype
    options: ExecutorOptions
    calibration: Calibration
    with_rays: bool = False
    is_fused: bool = True
    num_devices: int = 1
    exchanged_bytes_per_s: float = math.inf

    def peak_bytes(self, num_views: int) -> int:
        """
        Predict the most memory that is allocated at once, weights included.

        :param num_views: N.
        """
        config, metric = self.config, self.config.metric_branch
        num_own = self._num_own(num_views)
        chunk = _chunk(num_own, self.options.chunks_for(self.image_size).views)
        num_pixels = num_views * self.image_size[0] * self.image_size[1]
        maps = self._maps_bytes(num_views)
        if config.has_cameras:
            peaks = [self._backbone_peak(config, num_own, num_views)]
            peaks += [maps + self._head_peak(config, num_own)]
        else:
            # A few views at a time run from end to end, beside the maps of all once there are any.
            before = maps if chunk < num_own else 0
            peaks = [before + self._backbone_peak(config, chunk, chunk)]
            peaks += [maps + self._head_peak(config, chunk)]
            peaks += [maps + num_pixels * _SKY_BYTES_PER_PIXEL + _COUNTING_BYTES]
        if metric is not None:
            maps += num_pixels * _MAPS_BYTES_PER_PIXEL
            peaks += [maps + self._backbone_peak(metric, chunk, chunk)]
            peaks += [maps + self._head_peak(metric, chunk)]
            peaks += [maps + num_pixels * _METRES_BYTES_PER_PIXEL]
        if self.with_rays:
            peaks += [maps + self._num_patches * _RANSAC_BYTES_PER_PATCH]
        return self.calibration.fixed_bytes + max(peaks)

    def held_bytes(self, num_views: int) -> int:
        """
        Count what is held between windows of up to so many views, so that they are fast.

        Rows of single views, one more than in the largest window, and the memory of the graphs,
        which is that of a window.

        :param num_views: N.
        """
        most = min(num_views, self.options.small_window)
        if most == 0 or self.options.features == 'host':
            return 0
        options = self.options.for_few_views(self.image_size, self.config.head_features)
        graphs = replace(self, options=options).peak_bytes(most)
        graphs -= self.calibration.fixed_bytes
        return graphs + self._num_own(most + 1) * self._row_bytes(self.config)

    def _row_bytes(self, config: ModelConfig) -> int:
        """Count what is kept of a view: tokens, once or twice, or maps of a view alone."""
        num_pixels = self.image_size[0] * self.image_size[1]
        metric = 0 if config.metric_branch is None else self._row_bytes(config.metric_branch)
        start = config.alternate_from
        if start is None:
            return num_pixels * _MAPS_BYTES_PER_PIXEL
        copies = 1 if config.is_global(start) else 2
        vectors = 3 * config.embed_dim * _FLOAT_BYTES
        return metric + copies * self._residual_bytes_per_view(config) + vectors

    def seconds(self, num_views: int) -> float:
        """
        Predict the time of a window.

        :param num_views: N.
        """
        calibration, num_own = self.calibration, self._num_own(num_views)
        busy_s = num_own * (calibration.view_s + num_views * calibration.pair_s)
        received = (num_views - num_own) * self._exchanged_bytes_per_view
        return max(busy_s, calibration.least_s) + received / self.exchanged_bytes_per_s

    def max_views(self, budget_bytes: float, *, limit: int = 2**14) -> int:
        """
        Return how many views fit; 0 if not even one does.

        :param budget_bytes: memory for everything that torch allocates.
        :param limit: the most views that are of interest.
        """
        return _largest(limit, lambda n: self.peak_bytes(n) <= budget_bytes)

    def max_views_within(self, seconds: float, *, limit: int = 2**14) -> int:
        """
        Return how many views are done in time; 0 if not even one is.

        :param seconds: for one window.
        :param limit: the most views that are of interest.
        """
        return _largest(limit, lambda n: self.seconds(n) <= seconds)

    def _maps_bytes(self, num_views: int) -> int:
        """Count the main network's maps that stay on the GPU until they are interpreted."""
        if self.config.has_cameras and self.config.metric_branch is None and not self.with_rays:
            return 0
        num_pixels = self.image_size[0] * self.image_size[1]
        rays = self._num_patches * _RAYS_BYTES_PER_PATCH if self.with_rays else 0
        return num_views * (num_pixels * _MAPS_BYTES_PER_PIXEL + rays)

    def _num_own(self, num_views: int) -> int:
        """Return the most views of a window that run on one device."""
        return -(-num_views // self.num_devices)

    @property
    def _exchanged_bytes_per_view(self) -> int:
        """Count keys and values of a view in all blocks over all views."""
        config = self.config
        num_global = sum(config.is_global(i) for i in range(config.out_layers[-1] + 1))
        return 2 * num_global * config.embed_dim * self._size * (self._num_patches + 1)

    def _backbone_peak(self, config: ModelConfig, num_views: int, num_seen: int) -> int:
        """
        Count what a backbone needs.

        :param num_views: that run at once here.
        :param num_seen: that these see, here and elsewhere.
        """
        chunks = self.options.chunks_for(self.image_size)
        tokens = self._num_patches + 1
        chunk = _chunk(num_views, chunks.queries if config.has_cameras else chunks.views)
        peak = chunk * tokens * self._chunk_bytes_per_token(config)
        peak += min(_BACKBONE_MARGIN_BYTES, peak // _BACKBONE_MARGIN_SHARE)
        if config.has_cameras:
            peak += config.embed_dim * self._size * tokens * self._joint_parts(
                config, num_views, num_seen)
        peak += num_views * self._kept_bytes_per_view(config)
        return max(peak, self._embedding_peak(config, num_views))

    def _joint_parts(self, config: ModelConfig, num_views: int, num_seen: int) -> int:
        """Count queries, keys and values of views at once, and what waits for other heads."""
        is_in_one_piece = num_views <= self.options.chunks_for(self.image_size).queries
        # Keys before their norm share memory with the values, which stays in one chunk.
        parts = 3 * num_views if is_in_one_piece else 0
        if not is_in_one_piece or num_seen > num_views:
            parts += 2 * num_seen
        num_heads = config.num_heads
        num_taken = -(-num_heads // self.options.head_groups)
        waiting = num_views if num_taken < num_heads else 0
        return waiting + -(-parts * num_taken // num_heads)

    def _embedding_peak(self, config: ModelConfig, num_views: int) -> int:
        """Count what turning pixels into tokens needs, beside the tokens of all views."""
        chunk = _chunk(num_views, self.options.chunks_for(self.image_size).views)
        pixels = self.image_size[0] * self.image_size[1] * _EMBED_BYTES_PER_PIXEL
        patches = self._num_patches * config.embed_dim * self._size
        return num_views * self._residual_bytes_per_view(config) + chunk * (pixels + patches)

    def _head_peak(self, config: ModelConfig, num_views: int) -> int:
        """
        Count what a head needs, behind a backbone for views that ran at once.

        Either the pyramid over a chunk needs most, or its result and what is as large as the
        image, of fewer views.
        """
        chunks, calibration = self.options.chunks_for(self.image_size), self.calibration
        chunk = _chunk(num_views, chunks.head)
        fused = 16 * self._num_patches * _FLOAT_BYTES * config.head_features
        maps = calibration.head_bytes_of_one - fused
        peak = max(
            chunk * calibration.head_bytes_per_view,
            chunk * fused + min(chunk, chunks.maps) * maps,
        )
        return peak + _HEAD_MARGIN_BYTES + num_views * self._kept_bytes_per_view(config)

    def _kept_bytes_per_view(self, config: ModelConfig) -> int:
        """Count the residual stream, in whose memory the last level lies, and the others."""
        residual = self._residual_bytes_per_view(config)
        levels = [self._kept_size * width * self._num_patches for width in config.head_channels]
        overflow = 0 if levels[-1] <= residual else levels[-1]
        if self.options.features == 'host':
            return residual
        return residual + sum(levels[:-1]) + overflow

    def _residual_bytes_per_view(self, config: ModelConfig) -> int:
        return self._kept_size * config.embed_dim * (self._num_patches + 1)

    def _chunk_bytes_per_token(self, config: ModelConfig) -> int:
        """Count what is alive at once where a block needs most: its own layers or its level."""
        dim, size = config.embed_dim, self._size
        local = _FLOAT_BYTES * dim if config.has_cameras else 0
        if config.feed_forward == 'swiglu':
            hidden = -(-int(dim * 8 / 3) // 8) * 8
            feed_forward = size * (dim + 3 * hidden)
        else:
            feed_forward = size * (dim + 4 * dim + 4 * dim)
        normed = config.feature_dim if config.head == 'dual_dpt' else 0
        level = _FLOAT_BYTES * (config.feature_dim + normed + max(config.head_channels))
        work_copy = _FLOAT_BYTES * dim if self.options.reduced else 0
        peak = local + work_copy + max(feed_forward, level)
        if self.is_fused or not config.has_cameras:
            return peak
        # Normed tokens, queries, keys and values, and those that are finished.
        attention = 5 * size * dim + _ROTATED_COPIES * _FLOAT_BYTES * dim
        return max(peak, work_copy + attention)

    @property
    def _num_patches(self) -> int:
        return (self.image_size[0] // PATCH_SIZE) * (self.image_size[1] // PATCH_SIZE)

    @property
    def _kept_size(self) -> int:
        return self._size if self.options.reduced else _FLOAT_BYTES

    @property
    def _size(self) -> int:
        return self.dtype.itemsize


def slowest(calibration: Calibration | None, peers: Peers) -> Calibration | None:
    """
    Return what a machine adds to the formula where devices share windows: the most of each.

    :param calibration: of this one; None: not known.
    :param peers: the others, who ask the same.
    :returns: the same on all devices; None if it is not known of one of them.
    """
    if peers.smallest(float(calibration is not None)) == 0.0 or calibration is None:
        return None
    return Calibration(**{
        field.name: type(value)(peers.largest(value))
        for field in fields(Calibration) for value in [getattr(calibration, field.name)]
    })


def _chunk(num_views: int, at_a_time: int) -> int:
    """Return the views of the largest chunk."""
    num_chunks = -(-num_views // at_a_time)
    return -(-num_views // num_chunks)


def _largest(limit: int, holds: Callable[[int], bool]) -> int:
    """Return the largest number up to a limit for which a condition holds that once fails."""
    low, high = 0, limit + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
