# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What users do to a node: remap it, name it, change it while it runs."""

import time

import cv2
from da3_ros.ros.conversions import stamp_ns, to_header
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from nav_msgs.msg import Path
from node_harness import eventually, ROOT
import numpy as np
from perfect_engine import frames
import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, qos_profile_sensor_data, QoSProfile
from scipy.spatial import cKDTree
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from sensor_msgs_py import point_cloud2
from test_node_outputs import stream


def set_parameter(peer, name, value):
    """Set a parameter as ``ros2 param set`` does."""
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    return peer.call(SetParameters, '/da3/set_parameters', request).results[0]


def test_live_parameters_take_effect_with_the_next_keyframe(start_node, peer):
    """A stride of two leaves a quarter of the points."""
    start_node()
    peer.wait_for_camera()
    before = stream(peer, 6)
    assert eventually(lambda: len(peer.stamps('points')) == len(before))
    assert set_parameter(peer, 'points.stride', 2).successful
    after = stream(peer, 6, first=10)
    assert eventually(lambda: set(after) <= set(peer.stamps('points')))
    widths = [peer.received['points'][stamps[-1]][0].width for stamps in (before, after)]
    assert widths[0] == 4 * widths[1]


def test_other_parameters_are_refused_while_it_runs(start_node, peer):
    """With the reason, and it keeps running."""
    start_node()
    peer.wait_for_camera()
    result = set_parameter(peer, 'window.size', 4)
    assert not result.successful
    assert result.reason == (
        'window.size cannot change while the node is configured: clean up first')
    sent = stream(peer, 4)
    assert eventually(lambda: set(sent) <= set(peer.stamps('points')))


def test_namespace_and_remapping(start_node, peer):
    """Topics follow both."""
    start_node(arguments=['--ros-args', '-r', '__ns:=/robot', '-r', 'image:=/front/image_raw',
                          '-r', 'camera_info:=/front/camera_info', '--'])
    images = peer.node.create_publisher(Image, '/front/image_raw', qos_profile_sensor_data)
    assert eventually(lambda: images.get_subscription_count() == 1, 60)
    peer.listen('robot', PointCloud2, '/robot/da3/points')
    assert eventually(lambda: peer.node.count_publishers('/robot/da3/points') == 1)
    time.sleep(0.5)
    for frame in frames(6):
        message = Image(header=to_header(frame.stamp_ns, 'camera'), encoding='rgb8')
        message.height, message.width = frame.image.shape[:2]
        message.step = frame.image[0].nbytes
        message.data = frame.image.tobytes()
        images.publish(message)
        time.sleep(0.1)
    assert eventually(lambda: len(peer.stamps('robot')) >= 4)


def test_compressed_images(start_node, peer):
    """PNG keeps the pixels, so the engine finds its truth."""
    start_node({'camera.transport': 'compressed', 'camera.info_wait_s': 0.0})
    images = peer.node.create_publisher(
        CompressedImage, 'image/compressed', qos_profile_sensor_data)
    assert eventually(lambda: images.get_subscription_count() == 1, 60)
    time.sleep(0.5)
    sent = []
    for frame in frames(6):
        _, data = cv2.imencode('.png', frame.image[..., ::-1])
        images.publish(CompressedImage(
            header=to_header(frame.stamp_ns, 'camera'), format='png', data=data.tobytes()))
        sent.append(frame.stamp_ns)
        time.sleep(0.1)
    assert eventually(lambda: peer.stamps('rgb') == sent)
    rgb = peer.received['rgb'][sent[-1]][0]
    np.testing.assert_array_equal(
        np.frombuffer(rgb.data, np.uint8).reshape(frame.image.shape), frame.image)


def test_late_subscriber_gets_the_map(start_node, peer):
    """All keyframes fused, in the frame of the poses, although nobody listened before."""
    voxel = 0.1
    start_node({'map.voxel_m': voxel, 'map.period_s': 0.2, 'points.frame': 'world'})
    peer.wait_for_camera()
    sent = stream(peer, 8)
    assert eventually(lambda: len(peer.stamps('points')) == len(sent))
    maps = []
    peer.node.create_subscription(PointCloud2, '/da3/map', maps.append, QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    assert eventually(lambda: maps and stamp_ns(maps[-1].header.stamp) == sent[-1])
    assert maps[-1].header.frame_id == 'odom'
    published = np.concatenate([
        point_cloud2.read_points_numpy(messages[0], ['x', 'y', 'z'])
        for messages in peer.received['points'].values()])
    cells = np.unique(np.floor(published / voxel), axis=0)
    # A point near the border of two voxels may fall into either, by rounding.
    assert maps[-1].width == pytest.approx(len(cells), rel=0.05)
    fused = point_cloud2.read_points_numpy(maps[-1], ['x', 'y', 'z'])
    distance, _ = cKDTree(published).query(fused)
    assert distance.max() < voxel


def test_late_subscriber_gets_the_path(start_node, peer):
    """The last poses, as many as asked for, although nobody listened when they came."""
    start_node({'path.max_size': 3})
    peer.wait_for_camera()
    sent = stream(peer, 8)
    assert eventually(lambda: len(peer.stamps('depth')) == len(sent))
    paths = []
    peer.node.create_subscription(Path, '/da3/path', paths.append, QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    assert eventually(lambda: len(paths) == 1)
    assert [pose.header.stamp.nanosec for pose in paths[0].poses] == [
        stamp % 10**9 for stamp in sent[-3:]]


def test_a_late_subscriber_gets_the_status(start_node, peer):
    """The state, in every state of the lifecycle, as docs/interface.md lists it."""
    start_node({'autostart': False, 'scale.source': 'fixed'}, arguments=['--load-s', '3'])
    statuses = []
    peer.node.create_subscription(DiagnosticStatus, '/da3/status', statuses.append, QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))

    def values():
        return {value.key: value.value for value in statuses[-1].values} if statuses else {}

    assert eventually(lambda: values().get('state') == 'unconfigured', 60.0)
    assert (statuses[-1].name, statuses[-1].level) == ('/da3', DiagnosticStatus.OK)
    assert values()['metric'] == values()['segment'] == ''
    peer.begin_transition(Transition.TRANSITION_CONFIGURE)
    assert eventually(lambda: values()['state'] == 'loading')
    assert statuses[-1].message == 'loading da3-small'
    assert eventually(lambda: values()['state'] == 'inactive')
    assert peer.change_state(Transition.TRANSITION_ACTIVATE)
    peer.wait_for_camera()
    sent = stream(peer, 6)
    late = []
    assert eventually(lambda: values().get('published') == str(len(sent)))
    peer.node.create_subscription(DiagnosticStatus, '/da3/status', late.append, QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    assert eventually(lambda: late)
    told = {value.key: value.value for value in late[0].values}
    assert told['state'] == 'active'
    assert told['metric'] == 'true'
    assert (told['sessions'], told['images']) == ('1', '6')
    assert told['segment'].isdigit()
    assert float(told['scale']) == 1.0
    assert float(told['scale_sigma']) < 0.05
    assert 0 < int(told['window_views']) <= int(told['window_max_views']) == 6
    assert told['dropped.queue_full'] == told['dropped.bad_image'] == '0'
    page = (ROOT / 'docs' / 'interface.md').read_text()
    assert [key for key in told if f'`{key.partition(".")[0]}' not in page] == []
