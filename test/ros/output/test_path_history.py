# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The path is what the map knows now: loops rewrite it, and frames show it where it lies."""

from da3_ros.geometry import rigid
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.session_record import SessionRecord
from da3_ros.ros.conversions import stamp_ns
from da3_ros.ros.insight.counters import Counters
from da3_ros.ros.output.path_history import PathHistory
from da3_ros.ros.output.placement import KeyframePlacer
from da3_ros.ros.parameters.settings import TfSettings
import numpy as np
import pytest
from test_placement import BASES, Frames, keyframes, keyframes_start, planar


@pytest.fixture
def frames():
    """Give the robot's frames; its wheels are exact."""
    frames = Frames()
    frames.odom_T_base = {1000 + index: base for index, base in enumerate(BASES)}
    return frames


def follow(settings, frames, *, map_T_odom=None, max_size=10):
    """Feed a drive; return the path and the last keyframe's place."""
    placer = KeyframePlacer(settings, None if settings.mode == 'none' else frames, Counters())
    record = SessionRecord()
    history = PathHistory(record)
    for keyframe in keyframes():
        keyframe = frames.ask(keyframe)
        placed = placer.place(keyframe, np.eye(4))
        record.show(placed.path_frame, placed.path_T_map)
        record.add(keyframe, np.eye(4), max_keyframes=0)
        history.extend(keyframe, placed, max_size=max_size)
    before = history.message()
    if map_T_odom is not None:
        placed = placer.place(keyframe, map_T_odom)
        record.correct(moved(map_T_odom))
        record.show(placed.path_frame, placed.path_T_map)
    return history, before, placed


def poses(history):
    """Give the poses of a path or of its history, (N, 4, 4)."""
    message = history.message() if isinstance(history, PathHistory) else history
    return np.stack([from_pose(stamped.pose) for stamped in message.poses])


def from_pose(pose):
    """Read a pose, (4, 4)."""
    position, turn = pose.position, pose.orientation
    return rigid.from_rotation_translation(
        rigid.from_quaternion(np.array([turn.x, turn.y, turn.z, turn.w])),
        np.array([position.x, position.y, position.z]))


@pytest.mark.parametrize('mode', ['odom_to_base', 'map_to_odom'])
def test_the_path_is_the_drive_of_the_base(frames, mode):
    """Stamped as the images are; in the map where the node publishes it."""
    for publish_map in (False, True):
        history, _, _ = follow(TfSettings(mode=mode, publish_map=publish_map), frames)
        message = history.message()
        in_map = publish_map or mode == 'map_to_odom'
        headers = [message.header, *(stamped.header for stamped in message.poses)]
        assert {header.frame_id for header in headers} == {'map' if in_map else 'odom'}
        assert [stamp_ns(header.stamp) for header in headers[1:]] == [1000, 1001, 1002]
        np.testing.assert_allclose(poses(history), BASES, atol=1e-9)


def test_the_oldest_pose_is_dropped_first(frames):
    """Bounded."""
    history, _, _ = follow(TfSettings(), frames, max_size=2)
    stamps = [stamp_ns(stamped.header.stamp) for stamped in history.message().poses]
    assert stamps == [1001, 1002]


def moved(correction):
    """Give what a loop says that moved the last keyframe and forgot the second."""
    first, _, last = keyframes()
    return MapCorrection.of(
        [(first.id, Sim3.identity()), (last.id, Sim3.from_rigid(correction))])


@pytest.mark.parametrize('mode', ['odom_to_base', 'map_to_odom'])
def test_a_loop_rewrites_the_path_in_the_map(frames, mode):
    """What the loop remembers lies as it says; the rest goes along with the nearest."""
    start_T_map = keyframes_start()
    correction = planar(0.0, 2.0, 0.3)
    history, _, _ = follow(
        TfSettings(mode=mode, publish_map=True), frames, map_T_odom=correction)
    in_map = rigid.inverse(start_T_map) @ correction @ start_T_map
    np.testing.assert_allclose(
        poses(history), [BASES[0], BASES[1], in_map @ BASES[2]], atol=1e-9)


def test_where_nobody_publishes_the_map_the_path_is_seen_from_odom(frames):
    """The newest pose stays where it is in odom, and the past moves."""
    correction = planar(0.0, 2.0, 0.3)
    history, before, placed = follow(TfSettings(mode='none'), frames, map_T_odom=correction)
    before, after = poses(before), poses(history)
    assert placed.path_frame == 'odom'
    np.testing.assert_allclose(after[2], before[2], atol=1e-9)
    np.testing.assert_allclose(after[:2], rigid.inverse(correction) @ before[:2], atol=1e-9)
