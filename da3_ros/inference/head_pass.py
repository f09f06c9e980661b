# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
A dense head over a few views in little memory, and nothing but the head's own arithmetic.

Where the head resamples and then runs a convolution over single places, the convolution comes
first here: the mean of neighbours that it is applied to may as well be taken of its results, of
which there are a quarter. What is as large as the image runs on fewer views at a time.

Shapes: V views, H W pixels.
"""

from collections.abc import Iterator
from typing import cast

from da3_ros.inference.arithmetic import Arithmetic
from da3_ros.inference.chunks import view_slices
from da3_ros.model.depth_head import DenseMaps, Dpt, DualDpt
from da3_ros.model.pyramid import Fusion, ResidualUnit, Size
from torch import nn, Tensor


class HeadPass:
    """
    A few views on their way through the head.

    :param head: whose modules run.
    :param image_size: height and width [px].
    :param num_at_image_size: views at a time where maps are as large as the image.
    :param arithmetic: for what surrounds the convolutions.
    """

    def __init__(
        self,
        head: Dpt | DualDpt,
        image_size: Size,
        num_at_image_size: int,
        *,
        arithmetic: Arithmetic,
    ) -> None:
        self._head = head
        self._image_size = image_size
        self._num_at_image_size = num_at_image_size
        self._arithmetic = arithmetic

    def run(self, laterals: list[Tensor]) -> Iterator[tuple[slice, DenseMaps]]:
        """
        Predict the maps of some views after those of others.

        :param laterals: as the head's ``laterals`` gives them; used up.
        :returns: range over V and its maps.
        """
        fused = self._fuse(laterals)
        for views in view_slices(len(fused), self._num_at_image_size):
            yield views, self._arithmetic.maps(self._head, self._to_image_size(fused[views]))

    def _fuse(self, laterals: list[Tensor]) -> Tensor:
        """Run the pyramid from coarse to fine, but for its last resampling."""
        x = laterals.pop()
        for level in (3, 2, 1, 0):
            fusion = cast(Fusion, self._head.scratch[f'refinenet{level + 1}'])
            if level < 3:
                x = self._refine(fusion.resConfUnit1, laterals.pop(), x)
            x = self._refine(fusion.resConfUnit2, x)
            x = self._arithmetic.conv(fusion.out_conv, x)
            if level > 0:
                rows, columns = laterals[-1].shape[-2:]
                x = self._arithmetic.resample(x, (rows, columns))
        return x

    def _refine(self, unit: ResidualUnit, x: Tensor, *added: Tensor) -> Tensor:
        """Run a residual unit and add something."""
        inner = self._arithmetic.conv(unit.conv1, x.relu(), relu=True)
        return self._arithmetic.conv(unit.conv2, inner, added=(x, *added))

    def _to_image_size(self, x: Tensor) -> Tensor:
        """Bring (V, features, 4 rows, 4 columns) to what ``maps`` reads: (V, ..., H, W)."""
        rows, columns = x.shape[-2:]
        x = self._arithmetic.resample(x, (2 * rows, 2 * columns))
        x = self._arithmetic.conv(cast(nn.Conv2d, self._head.scratch['output_conv1']), x)
        uv = None
        if self._head.has_uv:
            shape = (x.shape[1], *self._image_size)
            uv = self._head.uv(shape, self._image_size, x.device)
        return self._arithmetic.resample(x, self._image_size, uv)
