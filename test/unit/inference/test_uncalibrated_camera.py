# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Networks that estimate no cameras, in a rig of which one camera has no CameraInfo."""

import logging

from da3_ros.geometry import camera
from da3_ros.inference import InferenceEngine
from da3_ros.mapping.config import KeyframeConfig, PipelineConfig, RigConfig, WindowConfig
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.keyframe import Frame
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.mapping.update import DropReason
import numpy as np
import pytest
from reduced_networks import build_reduced, random_intrinsics, random_window

CAMERAS = ('front', 'left')
NUM_INSTANTS = 4


def rig_frames(calibrated):
    """Make the frames of both cameras, of which some have intrinsics."""
    known = camera.from_network(random_intrinsics(1)[0])
    return [
        Frame(
            stamp_ns=10**9 + instant * 10**8, image=random_window(1, seed=7 * instant + number)[0],
            camera=name, frame_id=name, intrinsics=known if name in calibrated else None)
        for instant in range(NUM_INSTANTS) for number, name in enumerate(CAMERAS)
    ]


def run(name, calibrated, size):
    """Return what came out and what was dropped, by camera."""
    engine = InferenceEngine(build_reduced(name), device='cpu', size=56)
    window = WindowConfig(size=size, stride=1, min_views=2, num_cameras=2)
    config = PipelineConfig(
        keyframe=KeyframeConfig(mode='time', min_interval_s=0.0, min_sharpness=0.0),
        rig=RigConfig(CAMERAS), window=window)
    stream, pipeline, updates = FrameStream(config), DepthPipeline(engine, config), []
    for frame in rig_frames(calibrated):
        updates += [pipeline.add(instant) for instant in stream.take(frame).instants]
    updates += [pipeline.add(instant) for instant in stream.release()]
    updates.append(pipeline.flush())
    return (
        [keyframe for update in updates for keyframe in update.keyframes],
        [dropped for update in updates for dropped in update.dropped],
    )


@pytest.mark.parametrize('size', [2, 4])
@pytest.mark.parametrize('name', ['da3metric-large', 'da3mono-large'])
def test_the_others_come_out_and_the_loss_is_told_by_its_reason(name, size, caplog):
    with caplog.at_level(logging.WARNING, 'da3_ros'):
        posed, dropped = run(name, ('front',), size)
    assert [keyframe.camera for keyframe in posed] == ['front'] * NUM_INSTANTS
    assert [drop.reason for drop in dropped] == [DropReason.NO_INTRINSICS] * NUM_INSTANTS
    assert not {drop.id for drop in dropped} & {keyframe.id for keyframe in posed}
    for keyframe in posed:
        assert np.isfinite(keyframe.depth[~np.isposinf(keyframe.depth)]).all()
        assert keyframe.is_metric == (name == 'da3metric-large')
    warnings = [record for record in caplog.records if "camera 'left'" in record.getMessage()]
    assert len(warnings) == 1


def test_no_camera_at_all_is_known():
    posed, dropped = run('da3metric-large', (), 4)
    assert not posed
    assert [drop.reason for drop in dropped] == [DropReason.NO_INTRINSICS] * 2 * NUM_INSTANTS
    assert {'CameraInfo' in drop.detail for drop in dropped} == {True}
