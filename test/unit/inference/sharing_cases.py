# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Windows that several devices share, and those of one device to compare them with."""

from dataclasses import dataclass, field

from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.chunks import Chunks
from da3_ros.inference.conditioning import condition_on
from da3_ros.model.camera_head import Cameras
import numpy as np
from reduced_networks import random_intrinsics, random_poses, random_window
import torch

VARIANTS = (
    'da3-small', 'da3-large', 'da3-giant', 'da3nested-giant-large', 'da3metric-large',
    'da3mono-large')
LARGE = ExecutorOptions(chunks=Chunks(2, 3, 2, 1), small_window=0)
HEADS = ExecutorOptions(chunks=Chunks(2, 3, 2, 1), small_window=0, head_groups=3)


@dataclass
class Window:
    """One window, as an executor takes it."""

    images: np.ndarray
    cameras: Cameras | None = None
    focal_px: np.ndarray | None = None
    keys: list | None = None
    wanted: list | None = None


@dataclass
class Case:
    """Windows that one executor runs one after the other."""

    model: str
    windows: list
    options: ExecutorOptions
    strategy: dict = field(default_factory=dict)


def given_cameras(num_views, window):
    """Return cameras as a network takes them."""
    height, width = window.shape[1:3]
    conditioning = condition_on(
        random_poses(num_views), random_intrinsics(num_views, height, width))
    return Cameras(
        torch.from_numpy(conditioning.extrinsics[None]).float(),
        torch.from_numpy(conditioning.intrinsics[None]).float())


def _posed(num_views):
    images = random_window(num_views, 28, 42)
    return Window(images, given_cameras(num_views, images))


def _stream():
    """Make views come and go, in windows of other sizes, with and without given cameras."""
    views = random_window(9, 28, 42)
    cameras = given_cameras(9, views)
    windows = []
    for chosen, wanted, is_given in (
        ([0, 1, 2, 3, 4], None, False), ([2, 3, 4, 5], [3, 1], False), ([5], None, False),
        ([4, 5, 6, 7], [0], True), ([4, 5, 6, 7, 8], None, True), ([8, 2, 7], [2, 0, 1], False),
        ([0, 1, 2, 3, 4, 5, 6], [6, 2], False), ([5, 6, 1], None, False),
    ):
        given = Cameras(cameras.extrinsics[:, chosen], cameras.intrinsics[:, chosen])
        windows.append(Window(
            views[chosen], given if is_given else None, keys=list(chosen), wanted=wanted))
    return windows


def cases():
    """Return all cases by their names."""
    found = {}
    for name in VARIANTS:
        counts = (1, 2, 3, 7) if name == 'da3-small' else (1, 5)
        found[f'{name} large'] = Case(
            name, [Window(random_window(n, 28, 42)) for n in counts], LARGE)
        windows = _stream() if name in ('da3-small', 'da3-giant') else _stream()[:2]
        found[f'{name} stream'] = Case(name, _without_cameras(name, windows), ExecutorOptions())
    for name in ('da3-small', 'da3-giant', 'da3metric-large'):
        found[f'{name} wanted'] = Case(name, [
            Window(random_window(7, 28, 42), wanted=wanted) for wanted in ([6], [5, 0, 3])
        ], LARGE)
    for name in ('da3-small', 'da3-giant', 'da3nested-giant-large'):
        found[f'{name} given'] = Case(name, [_posed(4)], LARGE)
    found['few'] = Case(
        'da3-small', [Window(random_window(n, 28, 42)) for n in (1, 2, 3)], ExecutorOptions())
    found['many'] = Case('da3-small', [Window(random_window(32, 28, 42))], LARGE)
    found['heads'] = Case('da3-giant', [_posed(4), *(
        Window(random_window(7, 28, 42), wanted=wanted) for wanted in (None, [4, 1]))], HEADS)
    for strategy in ('first', 'middle', 'saddle_sim_range'):
        windows = [Window(random_window(5, 28, 42, seed=1), wanted=[3, 0])]
        found[strategy] = Case(
            'da3-small', windows, ExecutorOptions(), {'ref_view_strategy': strategy})
    for options in (LARGE, ExecutorOptions()):
        found[f'rays {options.small_window}'] = Case(
            'da3-small', [Window(random_window(3, 112, 112), wanted=[2, 0])], options,
            {'use_ray_pose': True})
    focal_px = np.array([50.0, np.nan, 60.0, np.nan, 40.0])
    found['focal'] = Case('da3nested-giant-large', [
        Window(random_window(5, 28, 42), focal_px=focal_px)], LARGE)
    host = ExecutorOptions(chunks=Chunks(2, 2, 2), small_window=0, features='host')
    found['host'] = Case('da3-small', [Window(random_window(5, 28, 42))], host)
    return found


def _without_cameras(name, windows):
    if name in VARIANTS[:4]:
        return windows
    return [Window(window.images, keys=window.keys, wanted=window.wanted) for window in windows]
