# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Several cameras in one joint window, through the whole node and real DDS."""

from da3_ros.geometry import rigid
from da3_ros.ros.conversions import from_transform, to_transform
from engine_node import mounts, rig_poses
from node_harness import eventually
import numpy as np
from perfect_engine import INTRINSICS
import pytest
from rclpy.duration import Duration
from rclpy.time import Time
from rig_peer import CAMERAS, frame_of, number_of, OF_A_CAMERA, RIG, RigPeer
from test_node_survival import Counts
from test_node_tf import BASE_T_CAMERA, children
from tf2_ros import StaticTransformBroadcaster

NUM_INSTANTS = 14


@pytest.fixture
def rig(domain_id):
    """Give the other side of the node."""
    peer = RigPeer(domain_id)
    yield peer
    peer.close()


def look_up(peer, target, source, stamp_ns):
    """Ask the peer's buffer at the very stamp of an image, (4, 4)."""
    found = peer.buffer.lookup_transform(
        target, source, Time(nanoseconds=stamp_ns), Duration(seconds=5))
    return from_transform(found.transform)


def assert_one_world(peer, stamps_of, *, unit=None):
    """Check by TF that all images lie as in the truth, after one similarity or rigid motion."""
    images = [(camera, stamp) for camera, stamps in stamps_of.items() for stamp in stamps]
    found = np.stack([look_up(peer, 'odom', frame_of(camera), s) for camera, s in images])
    truth = rig_poses(len(CAMERAS))[[number_of(camera, stamp) for camera, stamp in images]]
    found, truth = rigid.inverse(found[0]) @ found, rigid.inverse(truth[0]) @ truth
    far = np.argmax(np.linalg.norm(truth[:, :3, 3], axis=1))
    length = np.linalg.norm(truth[far, :3, 3])
    unit = np.linalg.norm(found[far, :3, 3]) / length if unit is None else unit
    np.testing.assert_allclose(found[:, :3, :3], truth[:, :3, :3], atol=2e-3)
    np.testing.assert_allclose(found[:, :3, 3], unit * truth[:, :3, 3], atol=5e-3)


def wait_for(peer, sent, name='points'):
    """Wait until the images of all cameras came out."""
    for camera, stamps in sent.items():
        topic = f'{camera}/{name}'
        assert eventually(lambda t=topic, s=stamps: set(s) <= set(peer.stamps(t))), topic


def mount_cameras(peer, cameras=CAMERAS):
    """Say where the cameras sit, as a robot_state_publisher does."""
    broadcaster = StaticTransformBroadcaster(peer.node)
    broadcaster.sendTransform([
        to_transform(BASE_T_CAMERA @ first_T_camera, time_ns=0, parent='base_link',
                     child=frame_of(camera))
        for camera, first_T_camera in zip(CAMERAS, mounts(len(CAMERAS)), strict=True)
        if camera in cameras
    ])
    return broadcaster


def test_every_camera_comes_out_whole_and_once_in_one_world(start_node, rig):
    """Exact stamps, the right frames, and poses as the truth; one camera is not calibrated."""
    node = start_node(RIG)
    rig.wait_for_rig()
    sent = rig.stream(NUM_INSTANTS, uncalibrated=['right'])
    # Its first images wait for a CameraInfo.
    wait_for(rig, sent | {'right': sent['right'][-1:]})
    came_out = {camera: sorted(rig.stamps(f'{camera}/points')) for camera in CAMERAS}
    assert sent | {'right': came_out['right']} == came_out
    assert set(came_out['right']) <= set(sent['right'])
    assert len(came_out['right']) > NUM_INSTANTS // 2
    for camera, stamps in came_out.items():
        for name in OF_A_CAMERA:
            messages = rig.received[f'{camera}/{name}']
            assert eventually(lambda m=messages, s=stamps: sorted(m) == s), (camera, name)
            assert {len(m) for m in messages.values()} == {1}
            assert {m[0].header.frame_id for m in messages.values()} == {frame_of(camera)}
        assert eventually(lambda c=camera, s=stamps: sorted(
            rig.transform_stamps(frame_of(c))) == s)
    assert_one_world(rig, came_out)
    outputs = {
        name for name, _ in rig.node.get_publisher_names_and_types_by_node('da3', '/')}
    assert {'/da3/right/points', '/da3/right/rgb/camera_info', '/da3/odometry'} <= outputs
    assert not {'/da3/points', '/da3/depth/image', '/da3/rgb/image'} & outputs
    assert node.output.count('da3.right]: no CameraInfo') == 1
    # Of each instant the first camera only.
    assert sorted(rig.stamps('odometry')) == sent['front']
    info = rig.received['left/camera_info'][sent['left'][0]][0]
    np.testing.assert_allclose(np.reshape(info.k, (3, 3)), INTRINSICS)


def test_one_base_for_all_cameras_and_one_camera_without_a_place(start_node, rig):
    """
    TF is there at the stamp of every image; what cannot be placed comes out all the same.

    The distance between the cameras gives metres.
    """
    broadcaster = mount_cameras(rig, ['front', 'left'])
    node = start_node(
        RIG | {'tf.mode': 'odom_to_base', 'tf.timeout_s': 0.1, 'scale.source': 'rig',
               'window.min_views': 6})
    counts = Counts(rig)
    rig.wait_for_rig()
    sent = rig.stream(NUM_INSTANTS)
    wait_for(rig, sent)
    placed = {camera: sent[camera] for camera in ('front', 'left')}
    assert eventually(lambda: len(rig.transform_stamps('base_link')) == 2 * NUM_INSTANTS)
    assert sorted(rig.transform_stamps('base_link')) == sorted(sent['front'] + sent['left'])
    assert children(rig) == {('odom', 'base_link')}
    # How the robot moves is known from its second instant on.
    assert_one_world(rig, placed | {'left': sent['left'][1:]}, unit=1.0)
    np.testing.assert_allclose(
        look_up(rig, 'odom', 'base_link', sent['front'][0]), np.eye(4), atol=1e-6)
    assert rig.stamps('odometry') == sent['front']
    assert node.output.count('no pose is published: base_link from right_camera') == 1
    assert eventually(
        lambda: counts['keyframes without the robot transform'] == NUM_INSTANTS)
    del broadcaster


def test_a_camera_that_dies_is_missed_and_told_and_comes_back(start_node, rig):
    """The others go on in the same world, and so does it when it is back."""
    node = start_node(RIG | {'camera.max_gap_s': 2.0})
    counts = Counts(rig)
    rig.wait_for_rig()
    parts = [
        rig.stream(6), rig.stream(30, first=6, silent=['front']), rig.stream(6, first=36)]
    sent = {camera: [s for part in parts for s in part[camera]] for camera in CAMERAS}
    wait_for(rig, sent)
    assert_one_world(rig, sent)
    node.wait_for_output('da3.front]: no image within 0.05 s of the other cameras')
    node.wait_for_output('da3.front]: the windows have its images again')
    assert eventually(
        lambda: counts['front: missed instants'] == 30)
    assert (counts['front: keyframes'], counts['left: keyframes']) == (12, 42)
    assert counts['sessions'] == 1
    # The next camera takes the lead.
    assert sorted(rig.stamps('odometry')) == sorted(
        parts[0]['front'] + parts[1]['left'] + parts[2]['front'])
