# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Held-out windows are what their names in the table say."""

import numpy as np
import pytest
import torch

from training.evaluate import _SETS
from training.heldout import draw_held_out, HeldOut
from training.renderer import HostRenderer


def _draw(renderer: HostRenderer, name: str) -> HeldOut:
    (chosen,) = (x for x in _SETS if name in x.name)
    return draw_held_out(
        renderer, 6, 4, (42, 56), max_stride=chosen.max_stride, attitude=chosen.attitude,
        handling=chosen.handling)


def test_near_things_are_near(renderer: HostRenderer) -> None:
    """The middle of most windows' images is 0.5 to 1.5 m away, and cameras stay upright."""
    near = _draw(renderer, '0.5 to 1.5 m').truth
    depth = near.depth[:, 2, 21, 28]
    assert ((depth > 0.48) & (depth < 1.6)).double().mean() > 0.6
    assert near.world_T_camera[..., 2, 1].max() < -0.9


def test_two_cameras_are_one_body(renderer: HostRenderer) -> None:
    """Every other view is the second camera's, mounted alike throughout a window."""
    poses = _draw(renderer, 'two cameras').truth.world_T_camera.double()
    first_T_second = torch.linalg.inv(poses[:, 0::2]) @ poses[:, 1::2]
    torch.testing.assert_close(first_T_second[:, 0], first_T_second[:, 1], atol=1e-5, rtol=0)
    assert (first_T_second[:, 0, :3, 3].norm(dim=-1) > 0.0).all()


@pytest.mark.parametrize(('name', 'pitch', 'roll'), [('40 degrees down', 40.0, 0.0),
                                                     ('rolled 20', 0.0, 20.0)])
def test_attitudes_are_turned(
    renderer: HostRenderer, name: str, pitch: float, roll: float
) -> None:
    """Against the same windows held upright, and against nothing else."""
    turned = _draw(renderer, name).truth.world_T_camera
    level = _draw(renderer, '336').truth.world_T_camera
    off = np.swapaxes(level[..., :3, :3].numpy(), -1, -2) @ turned[..., :3, :3].numpy()
    axis = off[..., :, 2]
    np.testing.assert_allclose(np.degrees(np.arcsin(axis[..., 1])), pitch, atol=1e-3)
    np.testing.assert_allclose(
        np.degrees(np.arctan2(off[..., 1, 0], off[..., 0, 0])), roll, atol=1e-3)
    torch.testing.assert_close(turned[..., :3, 3], level[..., :3, 3])
