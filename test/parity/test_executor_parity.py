# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The executor against upstream's own network, fp32 on the CPU, however a window is divided."""

from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.chunks import Chunks
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.preprocessing import normalize
from da3_ros.model import MODELS
import numpy as np
import pytest
from test_network_parity import assert_close, CAMERA_TOLERANCE, DEPTH_TOLERANCE
import torch

CHUNKS = (None, Chunks(1, 1, 1), Chunks(2, 3, 2))


def assert_executor_equals(pair, chunks):
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (4, 56, 84, 3), dtype=np.uint8)
    found = WindowExecutor(pair.ours, ExecutorOptions(chunks=chunks)).run(images)
    with torch.inference_mode():
        expected = pair.theirs(normalize(torch.from_numpy(images))[None])
    assert_close(found.depth, expected['depth'], DEPTH_TOLERANCE)
    if found.extrinsics is not None:
        assert_close(found.confidence, expected['depth_conf'], DEPTH_TOLERANCE)
        for name in ('extrinsics', 'intrinsics'):
            assert_close(getattr(found, name), expected[name], CAMERA_TOLERANCE)


@pytest.mark.parametrize('chunks', CHUNKS)
@pytest.mark.parametrize('narrowed', MODELS, indirect=True)
def test_every_variant_at_reduced_width(narrowed, chunks):
    assert_executor_equals(narrowed, chunks)


@pytest.mark.parametrize('full_size', ['da3-small'], indirect=True)
def test_small_at_full_size(full_size):
    assert_executor_equals(full_size, Chunks(2, 3, 1))
