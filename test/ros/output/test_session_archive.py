# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What is remembered for saving is what was published, as it is known now."""

from da3_ros.geometry import rigid
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.ros.output.placement import PlacedKeyframe
from da3_ros.ros.output.session_archive import SessionArchive
from da3_ros.ros.parameters.settings import DepthSettings, NodeSettings, SaveSettings
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

DEPTH = np.array([[1.0, 2.0], [np.nan, np.inf], [5.0, 9.0]], np.float32)
CONFIDENCE = np.array([[1.5, 3.0], [9.0, 1.5], [2.5, 9.0]], np.float32)


def motion(seed):
    """Give some rigid motion."""
    random = np.random.default_rng(seed)
    return rigid.from_rotation_translation(
        Rotation.random(random_state=random).as_matrix(), random.normal(size=3))


def placed(path_T_map=None):
    """Place a keyframe."""
    return PlacedKeyframe(
        'odom', np.eye(4), 'camera', np.eye(4), (), path_frame='map',
        path_T_map=np.eye(4) if path_T_map is None else path_T_map)


def keyframe(index):
    """Give a small keyframe."""
    return PosedKeyframe(
        index, 10 + index, 'camera', np.full((3, 2, 3), 100, np.uint8), DEPTH, CONFIDENCE,
        np.eye(3), motion(index), 0, True)


@pytest.fixture
def settings():
    """Give settings that a test may change."""
    return {'now': NodeSettings(depth=DepthSettings(min_confidence=2.0, max_m=8.0))}


@pytest.fixture
def archive(settings):
    """Give an archive."""
    return SessionArchive(lambda: settings['now'])


def test_poses_follow_every_correction(archive):
    """That of the newest pose at first, then those of loops; the depth follows their scale."""
    map_T_odom, path_T_map = motion(70), motion(71)
    move = Sim3(1.5, Rotation.from_euler('x', 0.3).as_matrix(), np.array([1.0, 2.0, 3.0]))
    for index in range(2):
        archive.add(keyframe(index), map_T_odom, placed())
    archive.correct(MapCorrection.of([(0, Sim3.identity()), (1, move)]), placed(path_T_map))
    session = archive.session()
    assert session.frame == 'map'
    for index, now in enumerate((Sim3.identity(), move)):
        expected = Sim3.from_rigid(path_T_map) @ now @ Sim3.from_rigid(
            map_T_odom @ keyframe(index).odom_T_camera)
        restored = list(session.restored())[index]
        np.testing.assert_allclose(restored.odom_T_camera, expected.rigid_part(), atol=1e-12)
        np.testing.assert_allclose(restored.depth[0, 1], 2.0 * expected.scale, rtol=2.0**-10)
        pose = session.frame_S_camera(session.poses[index])
        np.testing.assert_allclose(pose.rigid_part(), expected.rigid_part(), atol=1e-12)


def test_the_depth_is_that_of_the_published_image(archive):
    """With the limits that were in force."""
    archive.add(keyframe(0), np.eye(4), placed())
    restored, = archive.session().restored()
    np.testing.assert_array_equal(
        restored.depth, np.array([[np.nan, 2.0], [np.nan, np.inf], [5.0, np.inf]], np.float32))
    np.testing.assert_array_equal(restored.confidence, CONFIDENCE)
    np.testing.assert_allclose(restored.image.astype(int), 100, atol=2)


def test_the_bound_may_change_while_it_runs(archive, settings):
    """Smaller, and off."""
    for index, bound in enumerate((8, 8, 8, 8, 3, 3, 0)):
        settings['now'] = NodeSettings(save=SaveSettings(max_keyframes=bound))
        archive.add(keyframe(index), np.eye(4), placed())
    session = archive.session()
    assert [kept.pose.id for kept in session.keyframes][::2] == [0, 5]
    assert len(session.keyframes) == 3
    archive.begin_session()
    assert archive.session().keyframes == ()
    assert archive.session().poses == ()
