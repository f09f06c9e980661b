# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Where sessions begin and which frames are kept is decided once, for all cameras."""

from dataclasses import replace

from da3_ros.mapping.config import PipelineConfig, RigConfig
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.keyframe import Frame
from da3_ros.mapping.pipeline import DepthPipeline
import numpy as np
from paths import curve
from perfect_engine import frames, PerfectEngine
from pipeline_runs import EVERY_FRAME
import pytest

PERIOD_NS = 33_000_000
PICTURE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


def standing(count, *, first_ns=0, **fields):
    """Give frames of a camera that stands: they all show the same."""
    return [Frame(first_ns + index * PERIOD_NS, PICTURE, frame_id='camera', **fields)
            for index in range(count)]


def keyframes(stream, frames):
    """Give the keyframes that come of frames, with the reasons for sessions."""
    instants = [instant for frame in frames for instant in stream.take(frame).instants]
    return [(instant.keyframes[0].frame.stamp_ns, instant.new_session) for instant in instants]


@pytest.mark.parametrize(('change', 'gap_ns'), [
    ({}, 20 * 10**9), ({}, -20 * 10**9), ({'intrinsics': np.eye(3)}, 0), ({'encoding': 'new'}, 0),
])
def test_a_session_begins_with_one_keyframe_although_the_camera_stands(change, gap_ns):
    """After a gap, a bag that loops, a late CameraInfo: the first frame is kept, and no other."""
    stream = FrameStream(PipelineConfig())
    first_ns = 10**12
    before = keyframes(stream, standing(40, first_ns=first_ns))
    after = keyframes(
        stream, standing(40, first_ns=first_ns + 40 * PERIOD_NS + gap_ns, **change))
    assert before == [(first_ns, 'the first image')]
    assert [stamp for stamp, _ in after] == [first_ns + 40 * PERIOD_NS + gap_ns]
    assert after[0][1] is not None


def test_after_a_reset_the_next_frame_is_kept_and_no_other():
    """The session is the pipeline's to begin: it was reset, and is not told again."""
    stream = FrameStream(PipelineConfig())
    keyframes(stream, standing(10))
    stream.restart()
    after = keyframes(stream, standing(10, first_ns=10 * PERIOD_NS))
    assert after == [(10 * PERIOD_NS, None)]


def test_what_waits_for_other_cameras_is_of_the_old_session():
    """It comes out before the first instant of the new one, which tells of it."""
    config = replace(EVERY_FRAME, rig=RigConfig(('front', 'left')))
    stream = FrameStream(config)
    old = standing(2, camera='front')
    new = standing(2, first_ns=10**12, camera='front')
    assert not keyframes(stream, [*old, new[0]])
    assert keyframes(stream, new[1:]) == [(0, 'camera front: the first image'), (PERIOD_NS, None)]
    (first, _) = stream.release()
    assert first.new_session == 'camera front: no image for 1000.0 s'


def test_after_the_end_ids_go_on_and_a_session_begins():
    """For the next activation: what follows is another world, but not another process."""
    stream = FrameStream(EVERY_FRAME)
    taken = [stream.take(frame) for frame in standing(3)]
    held = stream.take(standing(1, first_ns=10**12)[0])
    ended = stream.end()
    assert (held.instants, len(ended.refused)) == ((), 1)
    (again,) = stream.take(standing(1)[0]).instants
    assert again.new_session == 'the first image'
    ids = [k.id for each in taken for instant in each.instants for k in instant.keyframes]
    assert ids == [0, 1, 2] and again.keyframes[0].id == 3


def test_replays_of_a_stream_give_the_same_keyframes():
    """Nothing depends on when the pipeline takes them."""
    def replay(is_eager):
        stream, pipeline = FrameStream(PipelineConfig()), DepthPipeline(PerfectEngine(curve(60)))
        instants = []
        for frame in [*frames(30), *frames(30)]:
            for instant in stream.take(frame).instants:
                instants.append(instant)
                if is_eager:
                    pipeline.add(instant)
        if not is_eager:
            for instant in instants:
                pipeline.add(instant)
        return [keyframe.frame.stamp_ns for each in instants for keyframe in each.keyframes]

    assert replay(True) == replay(False)
