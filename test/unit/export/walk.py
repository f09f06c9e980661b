# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Keyframes of a walk through a room whose truth is known."""

from da3_ros.mapping.keyframe import PosedKeyframe
import numpy as np
from perfect_engine import HEIGHT, INTRINSICS, Room, WIDTH

NUM_KEYFRAMES = 6
FIRST_STAMP_NS = 1_700_000_000_123_456_789


def keyframe(index, pose, *, frame_id='camera', confidence=4.0):
    """Look at the room."""
    room = Room()
    depth = room.depth(pose).astype(np.float32)
    depth[0, 0], depth[0, 1] = np.nan, np.inf
    return PosedKeyframe(
        index, FIRST_STAMP_NS + 333_333_333 * index, frame_id, room.image(pose), depth,
        None if confidence is None else np.full((HEIGHT, WIDTH), confidence, np.float32),
        INTRINSICS, pose, 0, True)
