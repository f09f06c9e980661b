# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""``da3 process`` gives what the node gives of the same images over DDS: to the last bit."""

import time

from da3_ros.demo.film import Film
from da3_ros.demo.film_bag import film_bag
from da3_ros.offline.input.recordings import Recording
from da3_ros.offline.job import Job, process_recording
from da3_ros.offline.settings_file import read_settings
from da3_ros.ros.conversions import stamp_ns
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.sensor import Sensor
from node_harness import assert_all_came_once, eventually, REAL_NODE
import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import Reader
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

NUM_FRAMES = 9
FILM = Film(num_frames=NUM_FRAMES, rate_hz=5.0, lens=Lens(168, 112, 75.0),
            sensor=Sensor(num_samples=1))
PARAMETERS = {
    'model.name': 'da3-tiny', 'model.device': 'cpu', 'preprocess.size': 112, 'window.size': 4,
    'window.stride': 2, 'keyframe.mode': 'time', 'keyframe.min_interval_s': 0.0,
    # Of the same keyframes, however slow this machine is.
    'window.max_age_s': 1000.0, 'queue.size': NUM_FRAMES,
}
# Of the same images, too: none is lost or overtaken by its calibration.
ON_THE_WAY = {
    'camera.info_wait_s': 60.0, 'qos_overrides./image.subscription.depth': 2 * NUM_FRAMES,
    'qos_overrides./camera_info.subscription.depth': 2 * NUM_FRAMES,
}


@pytest.fixture
def bag(tmp_path):
    """Give a recording of the demo's room."""
    return film_bag(FILM, tmp_path / 'film', say=[].append)


def replay(bag, peer):
    """Publish images and calibrations as they were recorded; give the stamps of the images."""
    sent = []
    with Reader(bag) as reader:
        topics = {each.topic: each for each in reader.connections}
        for _, _, data in reader.messages([topics['/camera/camera_info']]):
            peer.send_camera_info_raw(deserialize_message(data, CameraInfo))
        for _, _, data in reader.messages([topics['/camera/image']]):
            image = deserialize_message(data, Image)
            time.sleep(0.2)
            peer.send_raw(image)
            sent.append(stamp_ns(image.header.stamp))
    return sent


def test_depth_poses_and_stamps_are_those_of_the_node(bag, start_node, peer, tmp_path):
    """What is published, and what is saved: byte by byte."""
    node = start_node(
        PARAMETERS | ON_THE_WAY | {'save.directory': str(tmp_path / 'saved')}, program=REAL_NODE)
    node.wait_for_output('active: waiting for')
    peer.wait_for_camera()
    sent = replay(bag, peer)
    assert len(sent) == NUM_FRAMES
    # The last one may wait for a window.
    assert eventually(lambda: len(peer.stamps('odometry')) >= NUM_FRAMES - 1), node.output
    assert peer.call(Trigger, '/da3/flush', Trigger.Request()).success
    assert_all_came_once(peer, sent)
    assert peer.call(Trigger, '/da3/save', Trigger.Request()).success

    settings = read_settings(None, [f'{name}:={value}' for name, value in PARAMETERS.items()])
    out = process_recording(Job(Recording(bag), settings, tmp_path / 'out')).out
    saved = np.load(next(out.glob('*/keyframes.npz')))
    assert saved['stamp_ns'].tolist() == sent
    for index, stamp in enumerate(sent):
        depth = peer.received['depth'][stamp][0]
        values = np.frombuffer(depth.data, np.float32).reshape(depth.height, depth.width)
        np.testing.assert_array_equal(saved['depth'][index], values.astype(np.float16))
        pose = peer.received['odometry'][stamp][0].pose.pose
        found = [pose.position.x, pose.position.y, pose.position.z]
        np.testing.assert_array_equal(saved['frame_T_camera'][index, :3, 3], found)
        q = pose.orientation
        np.testing.assert_allclose(
            saved['frame_T_camera'][index, :3, :3],
            # A quaternion is normal, the network's rotations are to float32.
            Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), atol=1e-6)
    assert np.isfinite(saved['depth']).all()
    of_node, of_bag = (session_files(folder) for folder in (tmp_path / 'saved', out))
    assert of_node.keys() == of_bag.keys()
    assert [name for name in of_node if of_node[name] != of_bag[name]] == []


def session_files(folder):
    """Give the content of all files of the one session that was saved there."""
    session, = (path for path in folder.iterdir() if path.is_dir())
    return {str(path.relative_to(session)): path.read_bytes()
            for path in session.rglob('*') if path.is_file()}
