# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Windows of few views: what comes again is kept, and launched at once where that gains.

Until views see each other, what a network makes of one does not depend on the others. It is made
once, while a view stays among those that were seen last. The block that follows is within views
too, and all views but the reference enter it with the same camera token, so its result is kept
likewise; the reference passes through it again in every window, and so do all views whose cameras
are given.

Devices that share windows keep every one the views in its own rows, and run them.

Shapes: N views, V new ones, H W pixels, T tokens of a view, C channels.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from functools import partial

from da3_ros.inference.branch import Branch
from da3_ros.inference.kept_views import KeptViews, ViewBuffers
from da3_ros.inference.launching import GraphLauncher, Launcher, Outputs
from da3_ros.inference.maps import Maps
from da3_ros.inference.sharing import Share
from da3_ros.model.camera_head import Cameras, decode_cameras
from da3_ros.model.network import RawOutput
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class KeptOutput:
    """
    What a branch gives for one window, on the device.

    :param raw: batch of one window.
    :param cameras: decoded from it, or None if they are not yet.
    :param is_finite: () bool, whether all values are; None: they were not looked at.
    """

    raw: RawOutput
    cameras: Cameras | None = None
    is_finite: Tensor | None = None


class SmallWindows:
    """
    Runs windows of one image size.

    :param branches: of the network; the first one sees all views together.
    :param device: where they are.
    :param image_size: height and width [px].
    :param capacity: the most views of a window, and those that are kept.
    """

    def __init__(
        self, branches: Sequence[Branch], device: torch.device, image_size: tuple[int, int],
        capacity: int,
    ) -> None:
        self.image_size = image_size
        self.capacity = capacity
        self._device = device
        self._kept = KeptViews(capacity)
        branches = [branch.for_few_views(image_size) for branch in branches]
        self._peers = branches[0].peers
        num_rows = -(-capacity // self._peers.num_devices)
        self._branches = [_KeptBranch(branch, image_size, num_rows) for branch in branches]
        self._launcher = (
            GraphLauncher(device, lambda: [branch.tables for branch in branches])
            if device.type == 'cuda' and self._peers.may_record else Launcher(device)
        )
        self._was_given = False

    @property
    def held_bytes(self) -> int:
        """Return the memory that is allocated between windows."""
        buffers = sum(branch.buffers.held_bytes for branch in self._branches)
        return buffers + self._launcher.held_bytes

    def encode(self, cameras: Cameras) -> Tensor:
        """
        Encode given cameras: (N, C) on the device.

        :param cameras: (1, N, ...) on the host.
        """
        branch = self._branches[0]
        given = [self._to_send(x) for x in (cameras.extrinsics, cameras.intrinsics)]
        key = ('cameras', given[0].shape[1])
        return self._launcher.run(key, branch.encode, given)['tokens']

    def run(
        self,
        images: NDArray[np.uint8],
        given_tokens: Tensor | None,
        keys: Sequence[Hashable] | None,
        wanted: Sequence[int] | None,
    ) -> list[KeptOutput]:
        """
        Predict one window.

        :param images: (N, H, W, 3) uint8 RGB.
        :param given_tokens: of ``encode``, or None.
        :param keys: who each view is; None, for one or all, if it does not come again.
        :param wanted: views whose maps are wanted; None: all.
        :returns: of every branch, on the device, until the next window runs.
        """
        keys = [None] * len(images) if keys is None else keys
        is_given = given_tokens is not None
        if self._was_given and not is_given:
            # What was kept for given cameras is less.
            self._kept.forget()
        self._was_given = is_given
        seats = self._kept.seat(keys)
        owners, rows = zip(*(self._place(row) for row in seats.rows), strict=True)
        share = Share.of(len(images), wanted, self._peers, owners=owners)
        if seats.new:
            own = [i for i in seats.new if owners[i] == self._peers.rank]
            pixels = images if len(own) == len(images) else images[own]
            new = self._to_send(torch.from_numpy(pixels))
            new_rows = self._to_send(torch.tensor([rows[i] for i in own], dtype=torch.long))
            for i, branch in enumerate(self._branches):
                self._launcher.run(
                    ('new views', i, len(new), is_given),
                    partial(branch.take_in, is_given=is_given), (new, new_rows))
        self._kept.keep(keys, seats)
        given = () if given_tokens is None else (given_tokens,)
        inputs = (torch.tensor(rows), share.views, share.places, *given)
        sent = [self._to_send(x) for x in inputs]
        return [
            _read(self._launcher.run(
                ('window', i, len(images), share.num_maps, is_given),
                partial(branch.predict, share), sent))
            for i, branch in enumerate(self._branches)
        ]

    def _place(self, row: int) -> tuple[int, int]:
        """Return the device that keeps a row, and which of its rows that is."""
        return row % self._peers.num_devices, row // self._peers.num_devices

    def _to_send(self, x: Tensor) -> Tensor:
        """Return what is copied to the device without a wait."""
        return x.pin_memory() if self._device.type == 'cuda' and not x.is_cuda else x


class _KeptBranch:
    """
    One network, and what it knows of single views.

    :param branch: the network.
    :param image_size: height and width [px].
    :param capacity: views that are kept.
    """

    def __init__(self, branch: Branch, image_size: tuple[int, int], capacity: int) -> None:
        self._branch = branch
        self._size = image_size
        self.buffers = ViewBuffers(capacity)
        config = branch.network.config
        self._has_cameras = config.has_cameras
        start = config.alternate_from
        self._begins_within = start is not None and not config.is_global(start)

    def take_in(self, pixels: Tensor, rows: Tensor, *, is_given: bool) -> Outputs:
        """
        Make what is kept of new views.

        :param pixels: (V, H, W, 3) uint8 RGB.
        :param rows: (V,) int64.
        :param is_given: whether their cameras are.
        """
        branch = self._branch
        if not self._has_cameras:
            features = branch.features(pixels, None)
            maps = Maps(len(pixels), pixels.device)
            branch.decode(features, maps)
            for name, part in maps.fill(branch.map_shapes(self._size)).items():
                self.buffers.put(name, rows, part)
            return {}
        backbone_pass = branch.begin(self._size)
        own = backbone_pass.before_exchange(pixels)
        self.buffers.put('tokens', rows, own.tokens)
        self.buffers.put('appearance', rows, own.appearance)
        if not is_given:
            self.buffers.put('class_tokens', rows, own.class_tokens)
        if not is_given and self._begins_within:
            backbone_pass.begin_exchange_(own.tokens, branch.learnt_token(is_reference=False))
            self.buffers.put('others', rows, own.tokens)
        return {}

    def encode(self, extrinsics: Tensor, intrinsics: Tensor) -> Outputs:
        """
        Encode given cameras.

        :param extrinsics: (1, N, ...).
        :param intrinsics: (1, N, 3, 3).
        """
        cameras = Cameras(extrinsics, intrinsics)
        return {'tokens': self._branch.given_tokens(cameras, self._size)}

    def predict(
        self, share: Share, rows: Tensor, views: Tensor, places: Tensor, *given: Tensor
    ) -> Outputs:
        """
        Predict a window whose views have been taken in.

        :param share: of the window.
        :param rows: (N,) int64, where each view is kept on its device.
        :param views: see ``Share``.
        :param places: see ``Share``.
        :param given: (N, C) tokens of given cameras, or nothing.
        :returns: of a batch of one window.
        """
        share = share.at(views, places)
        own = views[share.own]
        if not self._has_cameras:
            wanted = rows[own[len(own) - share.num_own_maps:]]
            kept = {name: self.buffers.get(name, wanted) for name in self.buffers.names}
            return _window(share.as_asked(share.gather_maps(kept)))
        branch = self._branch
        backbone_pass = branch.begin(self._size, share)
        if given:
            x = self.buffers.get('tokens', rows[own])
            first = backbone_pass.begin_exchange_(x, given[0][own])
        elif self._begins_within:
            reference = self._reference(share, rows[own])
            x = self.buffers.get('others', rows[own])
            of_reference = self.buffers.get('tokens', rows[reference])
            token = branch.learnt_token(is_reference=True)
            first = backbone_pass.begin_exchange_(of_reference, token)
            share.put_(x, reference, of_reference)
        else:
            reference = self._reference(share, rows[own])
            x = self.buffers.get('tokens', rows[own])
            first = backbone_pass.begin_exchange_(x, branch.learnt_tokens(reference, own))
        features = branch.finish(backbone_pass, self._size, x, first, share.num_own_maps)
        maps = Maps(share.num_maps, x.device)
        branch.decode(features, maps, first_view=share.own_maps.start)
        wholes = maps.fill(branch.map_shapes(self._size))
        share.exchange_maps_(wholes)
        outputs = _window(share.as_asked(wholes))
        assert features.camera is not None
        outputs['appearance'] = share.gather_in_order(
            self.buffers.get('appearance', rows[own]))[None]
        outputs['camera'] = share.gather_in_order(features.camera)[None]
        outputs['is_finite'] = torch.stack([
            part.isfinite().all() for part in outputs.values()]).all()
        cameras = decode_cameras(outputs['camera'], self._size)
        return {
            **outputs, 'extrinsics': cameras.extrinsics, 'intrinsics': cameras.intrinsics}

    def _reference(self, share: Share, rows: Tensor) -> Tensor:
        """Choose the reference view by what is kept of the own views."""
        return self._branch.reference(
            share.gather_in_order(self.buffers.get('class_tokens', rows)))


def _window(maps: dict[str, Tensor]) -> Outputs:
    """Make a batch of one window."""
    return {name: part[None] for name, part in maps.items()}


def _read(outputs: Outputs) -> KeptOutput:
    """Read what a branch's prediction gives."""
    raw = RawOutput(**{
        field.name: outputs[field.name] for field in fields(RawOutput) if field.name in outputs
    })
    cameras = None
    if 'extrinsics' in outputs:
        cameras = Cameras(outputs['extrinsics'], outputs['intrinsics'])
    return KeptOutput(raw, cameras, outputs.get('is_finite'))
