# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The alignment to given poses beside upstream's, where that and its evo are installed."""

from da3_ros.geometry import rigid
from da3_ros.inference.conditioning import network_unit
import numpy as np
import pytest


def noisy_copy(poses, seed, scale, noise):
    rng = np.random.default_rng(seed)
    rotation = rigid.from_quaternion(rng.normal(size=4))
    moved = rigid.from_rotation_translation(rotation, rng.normal(size=3)) @ poses
    moved[:, :3, 3] = scale * moved[:, :3, 3] + rng.normal(scale=noise, size=(len(poses), 3))
    return moved


@pytest.mark.parametrize('num_views', [3, 6, 9, 10, 13, 30])
def test_units_equal_upstreams(num_views):
    pytest.importorskip('evo')
    upstream = pytest.importorskip('depth_anything_3.utils.pose_align')
    rng = np.random.default_rng(num_views)
    given = np.stack([
        rigid.from_rotation_translation(rigid.from_quaternion(rng.normal(size=4)), center)
        for center in np.cumsum(rng.normal(size=(num_views, 3)), axis=0)
    ])
    predicted = noisy_copy(given, seed=num_views, scale=0.4, noise=0.05)
    _, _, scale = upstream.align_poses_umeyama(
        rigid.inverse(predicted)[:, :3],
        rigid.inverse(given),
        ransac=num_views >= 10,
        random_state=42,
    )
    found = network_unit(given, predicted, expected=1.0)
    assert np.isclose(found, 1.0 / scale, rtol=1e-9)
