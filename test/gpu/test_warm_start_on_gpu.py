# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The first window after ``configure`` is no slower than the tenth."""

import statistics
import time

from da3_ros.mapping.config import FramesConfig
from da3_ros.ros.engine_loading import load_engine
from da3_ros.ros.parameters.settings import ModelSettings, NodeSettings, WindowSettings
import numpy as np
import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')]


def test_the_first_windows_are_as_fast_as_later_ones():
    settings = NodeSettings(
        model=ModelSettings('da3-small', weights='random'), window=WindowSettings(12, 4),
        frames=FramesConfig('all'))
    engine = load_engine(settings).engine
    images = list(np.random.default_rng(0).integers(0, 256, (60, 480, 640, 3), np.uint8))

    def seconds(start, stop):
        for image in images[start:stop]:
            engine.prepare(image)
        began_s = time.perf_counter()
        engine.infer(images[start:stop])
        return time.perf_counter() - began_s

    # As a session grows: three views, then four more with every window.
    first = [seconds(max(stop - 12, 0), stop) for stop in (3, 7, 11, 15)]
    later = [seconds(stop - 12, stop) for stop in range(19, 60, 4)]
    assert max(first) < 1.5 * statistics.median(later)
