# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Small networks with every variant's own structure, and windows for them."""

from da3_ros.geometry import rigid
from da3_ros.model import MODELS
from narrow_networks import build_narrow, narrow
import numpy as np
from random_weights import randomize


def reduced_config(name):
    """Narrow a variant, with as many heads as kernels like."""
    return narrow(MODELS[name], num_heads=4)


def build_reduced(name, seed=0):
    """Build a narrow network in which every weight matters."""
    network = build_narrow(reduced_config(name))
    randomize(network, seed=seed)
    return network


def random_window(num_views, height=42, width=56, seed=0):
    """Return (N, H, W, 3) uint8 images."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num_views, height, width, 3), dtype=np.uint8)


def random_poses(num_views, seed=0):
    """Return (N, 4, 4) world_T_camera."""
    rng = np.random.default_rng(seed)
    return np.stack([
        rigid.from_rotation_translation(
            rigid.from_quaternion(rng.normal(size=4)), rng.normal(size=3)
        )
        for _ in range(num_views)
    ])


def random_intrinsics(num_views, height=42, width=56, seed=0):
    """Return (N, 3, 3) [px]."""
    rng = np.random.default_rng(seed)
    focal = rng.uniform(0.8, 1.5, num_views) * width
    intrinsics = np.tile(np.eye(3), (num_views, 1, 1))
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
    intrinsics[:, :2, 2] = width / 2, height / 2
    return intrinsics
