# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A session filmed in a furnished room: pictures with texture, true depth and poses."""

from da3_ros.demo.film import Film
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.session_record import SessionRecord
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.sensor import capture, Sensor
import numpy as np

NUM_KEYFRAMES = 10
FILM = Film(num_frames=NUM_KEYFRAMES, rate_hz=3.0, lens=Lens(240, 180, 75.0),
            sensor=Sensor(num_samples=1))


def filmed_session():
    """Render it, and remember it as the pipeline does."""
    scene, trajectory = FILM.scene(), FILM.trajectory()
    record = SessionRecord()
    for index in range(NUM_KEYFRAMES):
        shot = capture(scene, FILM.lens, trajectory, index, sensor=FILM.sensor, seed=1)
        record.add(PosedKeyframe(
            index, FILM.stamp_ns(index), 'camera', shot.image, shot.depth,
            np.full_like(shot.depth, 4.0), FILM.lens.intrinsics, shot.world_T_camera, 0, True),
            np.eye(4), max_keyframes=100)
    record.show('map', np.eye(4))
    return record.session()
