# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What is remembered of a session: as it was published, where it is known to be now, bounded."""

import dataclasses

from da3_ros.geometry import rigid
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.picture import Picture
from da3_ros.mapping.session_record import SessionRecord
import numpy as np
from scipy.spatial.transform import Rotation

DEPTH = np.array([[1.0, 2.0], [np.nan, np.inf], [5.0, np.inf]], np.float32)
CONFIDENCE = np.array([[1.5, 3.0], [9.0, 1.5], [2.5, 9.0]], np.float32)


def motion(seed):
    """Give some rigid motion."""
    random = np.random.default_rng(seed)
    return rigid.from_rotation_translation(
        Rotation.random(random_state=random).as_matrix(), random.normal(size=3))


def keyframe(index):
    """Give a small keyframe."""
    return PosedKeyframe(
        index, 10 + index, 'camera', np.full((3, 2, 3), 100, np.uint8), DEPTH, CONFIDENCE,
        np.eye(3), motion(index), 0, True)


def test_poses_follow_every_correction():
    """That of the newest pose at first, then those of loops; the depth follows their scale."""
    record = SessionRecord()
    map_T_odom, shown_T_map = motion(70), motion(71)
    move = Sim3(1.5, Rotation.from_euler('x', 0.3).as_matrix(), np.array([1.0, 2.0, 3.0]))
    for index in range(2):
        record.add(keyframe(index), map_T_odom, max_keyframes=10)
    record.correct(MapCorrection.of([(0, Sim3.identity()), (1, move)]))
    record.show('map', shown_T_map)
    session = record.session()
    assert session.frame == 'map'
    for index, now in enumerate((Sim3.identity(), move)):
        in_map = now @ Sim3.from_rigid(map_T_odom @ keyframe(index).odom_T_camera)
        expected = Sim3.from_rigid(shown_T_map) @ in_map
        restored = list(session.restored())[index]
        np.testing.assert_allclose(restored.odom_T_camera, expected.rigid_part(), atol=1e-12)
        np.testing.assert_allclose(restored.depth[0, 1], 2.0 * expected.scale, rtol=2.0**-10)
        recalled = record.recall(index)
        np.testing.assert_allclose(recalled.map_S_camera.rigid_part(), in_map.rigid_part())
        assert recalled.num_corrections == 1


def test_what_comes_out_is_what_was_published():
    """But for half precision, and JPEG."""
    record = SessionRecord()
    record.add(keyframe(0), np.eye(4), max_keyframes=10)
    restored, = record.session().restored()
    np.testing.assert_array_equal(restored.depth, DEPTH)
    np.testing.assert_array_equal(restored.confidence, CONFIDENCE)
    np.testing.assert_allclose(restored.image.astype(int), 100, atol=2)


def test_a_picture_is_compressed_once_for_all_who_keep_it():
    """The record and the places share the bytes."""
    picture = Picture(np.full((3, 2, 3), 100, np.uint8))
    seen = dataclasses.replace(keyframe(0), picture=picture)
    packed = SessionRecord().add(seen, np.eye(4), max_keyframes=10)
    assert packed.jpeg is picture.jpeg


def test_the_bound_may_change_while_it_runs():
    """Smaller, and off: then the poses alone are remembered."""
    record = SessionRecord()
    for index, bound in enumerate((8, 8, 8, 8, 3, 3, 0)):
        record.add(keyframe(index), np.eye(4), max_keyframes=bound)
    session = record.session()
    assert [kept.id for kept in session.keyframes][::2] == [0, 5]
    assert len(session.keyframes) == 3
    assert record.recall(6) is not None
    record.begin_session()
    assert (record.session().keyframes, record.session().poses) == ((), ())
    assert record.recall(6) is None


def test_corrections_are_counted_over_all_sessions():
    """Who lags behind never takes one of an old session for one of the new."""
    record = SessionRecord()
    correction = MapCorrection.of([(0, Sim3.identity())])
    record.correct(correction)
    record.begin_session()
    record.correct(correction)
    assert record.num_corrections == 2


def test_poses_outlive_pictures_but_are_bounded():
    """Those of kept keyframes stay, and the newest."""
    record, small = SessionRecord(), dataclasses.replace(
        keyframe(0), depth=DEPTH[:1, :1], confidence=None, image=np.zeros((1, 1, 3), np.uint8))
    for index in range(10_002):
        record.add(
            dataclasses.replace(small, id=index), np.eye(4), max_keyframes=4 if index < 9 else 0)
    session = record.session()
    ids = [pose.id for pose in session.poses]
    assert 5000 <= len(ids) < 5010
    assert ids == sorted(ids) and ids[-1] == 10_001
    assert {kept.id for kept in session.keyframes} <= set(ids)


def test_more_poses_are_kept_for_a_longer_path():
    """As many as the path may have; the newest one is kept when they are thinned out."""
    record, small = SessionRecord(), dataclasses.replace(
        keyframe(0), depth=DEPTH[:1, :1], confidence=None, image=np.zeros((1, 1, 3), np.uint8))
    sizes = []
    for index in range(10_002):
        record.add(dataclasses.replace(small, id=index), np.eye(4), max_keyframes=0,
                   max_poses=10_001)
        if index >= 10_000:
            sizes.append(len(record.session().poses))
            assert record.recall(index) is not None
    assert sizes == [10_001, 5002]


def test_the_last_session_stays_until_the_next_has_something():
    """However often one begins meanwhile."""
    record = SessionRecord()
    assert record.last_session().keyframes == ()
    record.add(keyframe(0), np.eye(4), max_keyframes=10)
    assert [kept.id for kept in record.last_session().keyframes] == [0]
    record.begin_session()
    record.begin_session()
    assert record.session().keyframes == ()
    assert [kept.id for kept in record.last_session().keyframes] == [0]
    record.add(keyframe(1), np.eye(4), max_keyframes=10)
    assert [kept.id for kept in record.last_session().keyframes] == [1]
    record.begin_session()
    assert [kept.id for kept in record.last_session().keyframes] == [1]


def test_what_is_kept_is_spread_over_the_whole_session():
    """The first and the newest always, also where only one is asked for."""
    for bound, widest in ((8, 8), (2, 39), (1, 39)):
        record = SessionRecord()
        for index in range(40):
            record.add(keyframe(index), np.eye(4), max_keyframes=bound)
        ids = [kept.id for kept in record.session().keyframes]
        assert len(ids) == max(bound, 2) and (ids[0], ids[-1]) == (0, 39)
        assert np.diff(ids).max() <= widest


def test_a_session_that_ends_is_handed_over():
    """As it was then, corrected; but not where nothing of it could be saved."""
    ended = []
    record = SessionRecord(on_end=ended.append)
    record.begin_session()
    record.add(keyframe(0), np.eye(4), max_keyframes=0)
    record.begin_session()
    assert not ended
    record.add(keyframe(1), np.eye(4), max_keyframes=10)
    expected = record.session()
    record.begin_session()
    record.begin_session()
    session, = ended
    assert session.keyframes == expected.keyframes
    assert session.poses == expected.poses
