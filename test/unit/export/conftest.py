# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A session in a room whose truth is known."""

from dataclasses import replace

from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.session_record import SessionRecord
import numpy as np
from perfect_engine import level_camera
import pytest
from walk import keyframe, NUM_KEYFRAMES


@pytest.fixture
def true_poses():
    """Give the poses of a walk, (4, 4) each."""
    return [level_camera((0.4 * i, 0.1 * i, 0.0), 0.2 * i) for i in range(NUM_KEYFRAMES)]


@pytest.fixture
def session(true_poses):
    """Give a session; its frame is the room's, its map lies elsewhere, and is twice as large."""
    frame_T_map = level_camera((1.0, -2.0, 0.5), 0.7)
    record, moves = SessionRecord(), []
    for index, pose in enumerate(true_poses):
        seen = keyframe(index, pose)
        # Published at half the size, and corrected since then.
        map_T_camera = np.linalg.inv(frame_T_map) @ pose
        half = replace(seen, depth=seen.depth / 2.0, odom_T_camera=map_T_camera)
        record.add(half, np.eye(4), max_keyframes=100)
        moves.append((index, Sim3.about(map_T_camera[:3, 3], 2.0)))
    record.correct(MapCorrection.of(moves))
    record.show('map', frame_T_map)
    return record.session()
