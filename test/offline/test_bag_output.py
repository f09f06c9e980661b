# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A session as a bag: the node's messages, read back by what others wrote."""

from pathlib import Path
import re
import resource
import signal
import subprocess
import sys

import cv2
from da3_ros.demo.messages import message_class
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.session_record import SessionRecord
from da3_ros.offline import process
from da3_ros.offline.exit_code import ExitCode
from da3_ros.offline.output.session_bag import SessionBag
from da3_ros.offline.settings_file import read_settings
from da3_ros.offline.world_frame import WorldFrame
from da3_ros.ros.conversions import from_transform, stamp_ns
import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability
from sensor_msgs_py.point_cloud2 import read_points
import short_recording
from short_recording import load_steady_engine, NUM_FRAMES, PARAMETERS

OF_KEYFRAMES = {
    '/tf': 'tf2_msgs/msg/TFMessage',
    '/da3/depth/image': 'sensor_msgs/msg/Image',
    '/da3/depth/camera_info': 'sensor_msgs/msg/CameraInfo',
    '/da3/depth/confidence': 'sensor_msgs/msg/Image',
    '/da3/depth/preview': 'sensor_msgs/msg/Image',
    '/da3/depth/preview/compressed': 'sensor_msgs/msg/CompressedImage',
    '/da3/rgb/image': 'sensor_msgs/msg/Image',
    '/da3/rgb/image/compressed': 'sensor_msgs/msg/CompressedImage',
    '/da3/rgb/camera_info': 'sensor_msgs/msg/CameraInfo',
    '/da3/points': 'sensor_msgs/msg/PointCloud2',
    '/da3/odometry': 'nav_msgs/msg/Odometry',
}
AT_THE_END = {
    '/da3/path': 'nav_msgs/msg/Path',
    '/da3/map': 'sensor_msgs/msg/PointCloud2',
    '/da3/grid': 'nav_msgs/msg/OccupancyGrid',
}


ARGUMENTS = [word for each in PARAMETERS for word in ('-p', each)]


@pytest.fixture(scope='module')
def with_bag(short_bag, tmp_path_factory):
    """Give the session's folder, with a bag."""
    out = tmp_path_factory.mktemp('with_bag') / 'out'
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(process, 'load_engine', load_steady_engine)
        assert process.main([str(short_bag), '--out', str(out), '--write', 'bag', 'npz', 'tum',
                             *ARGUMENTS]) == ExitCode.WRITTEN
    assert {path.name for path in out.iterdir() if not path.is_dir()} == {
        'report.html', 'summary.json'}
    (session,) = (path for path in out.iterdir() if path.is_dir())
    return session


def read_as_ros(bag):
    """Give time and message of every topic, made by ROS's own deserialization."""
    found = {}
    with AnyReader([bag]) as reader:
        for connection, time_ns, data in reader.messages():
            message = deserialize_message(bytes(data), message_class(connection.msgtype))
            found.setdefault(connection.topic, []).append((time_ns, message))
    return found


def test_the_topics_are_the_nodes_with_their_types(with_bag):
    """Those of keyframes once for each, the others once, and kept for who comes later."""
    with AnyReader([with_bag / 'bag']) as reader:
        connections = {each.topic: each for each in reader.connections}
    assert {name: each.msgtype for name, each in connections.items()} == (
        OF_KEYFRAMES | AT_THE_END)
    assert {name: each.msgcount for name, each in connections.items()} == (
        dict.fromkeys(OF_KEYFRAMES, NUM_FRAMES) | dict.fromkeys(AT_THE_END, 1))
    assert {name for name, each in connections.items()
            if each.ext.offered_qos_profiles[0].durability == QosDurability.TRANSIENT_LOCAL
            } == set(AT_THE_END)


def test_what_ros_reads_is_what_was_saved(with_bag):
    """Depth, poses and stamps; every message has the stamp of its image."""
    messages = read_as_ros(with_bag / 'bag')
    saved = np.load(with_bag / 'keyframes.npz')
    stamps = saved['stamp_ns'].tolist()
    for topic in OF_KEYFRAMES:
        headers = [each.transforms[0].header if topic == '/tf' else each.header
                   for _, each in messages[topic]]
        assert [stamp_ns(header.stamp) for header in headers] == stamps
        assert [time_ns for time_ns, _ in messages[topic]] == stamps
    for topic in AT_THE_END:
        assert [time_ns for time_ns, _ in messages[topic]] == stamps[-1:]
    depth = [np.frombuffer(image.data, np.float32).reshape(image.height, image.width)
             for _, image in messages['/da3/depth/image']]
    np.testing.assert_array_equal(np.array(depth, np.float16), saved['depth'])
    np.testing.assert_allclose(
        [info.k.reshape(3, 3) for _, info in messages['/da3/depth/camera_info']], saved['K'])
    for _, image in messages['/da3/rgb/image/compressed']:
        assert cv2.imdecode(np.asarray(image.data), cv2.IMREAD_COLOR).shape == (14, 28, 3)


def test_poses_hang_together(with_bag):
    """Transforms, odometry and path say the same, in one frame with the map."""
    messages = read_as_ros(with_bag / 'bag')
    saved = np.load(with_bag / 'keyframes.npz')
    links = [link for _, each in messages['/tf'] for link in each.transforms]
    assert {(link.header.frame_id, link.child_frame_id) for link in links} == {
        ('odom', str(saved['frame_id'][0]))}
    poses = [from_transform(link.transform) for link in links]
    np.testing.assert_allclose(poses, saved['frame_T_camera'], atol=1e-9)
    places = np.array(poses)[:, :3, 3]
    ((_, path),) = messages['/da3/path']
    positions = [[pose.pose.position, odometry.pose.pose.position]
                 for pose, (_, odometry) in zip(path.poses, messages['/da3/odometry'],
                                                strict=True)]
    np.testing.assert_allclose(
        [[(p.x, p.y, p.z) for p in pair] for pair in positions],
        np.stack([places, places], axis=1), atol=1e-9)
    ((_, fused),), ((_, grid),) = messages['/da3/map'], messages['/da3/grid']
    assert {path.header.frame_id, fused.header.frame_id, grid.header.frame_id} == {'odom'}
    assert len(read_points(fused)) == fused.width > 100
    assert grid.info.origin.orientation.w == 1.0
    assert len(grid.data) == grid.info.width * grid.info.height > 0


def test_others_read_it(with_bag):
    """The library of MCAP's authors finds index and definitions, as Foxglove needs them."""
    reader = pytest.importorskip('mcap.reader', reason='needs pip install mcap-ros2-support')
    decoder = pytest.importorskip('mcap_ros2.decoder')
    with (with_bag / 'bag/bag.mcap').open('rb') as file:
        opened = reader.make_reader(file, decoder_factories=[decoder.DecoderFactory()])
        counts = opened.get_summary().statistics.channel_message_counts
        assert sum(counts.values()) == NUM_FRAMES * len(OF_KEYFRAMES) + len(AT_THE_END)
        decoded = list(opened.iter_decoded_messages())
    assert {(channel.topic, schema.name) for schema, channel, _, _ in decoded} == set(
        (OF_KEYFRAMES | AT_THE_END).items())


WITHOUT_ROS = """
import re
import runpy
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if re.match(r'(rclpy|rosidl_|rpyutils|cv_bridge|sensor_msgs_py|tf2_|[a-z]+_msgs'
                    r'|builtin_interfaces)', name):
            raise ModuleNotFoundError(f'{name} is not there')

sys.meta_path.insert(0, Blocked())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def test_without_ros_the_bag_is_the_same(with_bag, short_bag, tmp_path):
    """Byte by byte."""
    out = tmp_path / 'without'
    subprocess.run(
        [sys.executable, '-c', WITHOUT_ROS, short_recording.__file__, str(short_bag), '--out',
         str(out), '--write', 'bag', *ARGUMENTS], check=True)
    (bag,) = out.glob('*/bag')
    for name in ('bag.mcap', 'metadata.yaml'):
        assert (bag / name).read_bytes() == (with_bag / 'bag' / name).read_bytes()
    assert read_as_ros(bag)


@pytest.mark.usefixtures('steady')
def test_a_disk_that_is_full_is_told(short_bag, tmp_path, capfd):
    """In the middle of the bag, by the kernel; nothing half written is called an output."""
    out = tmp_path / 'out'
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        code = process.main([str(short_bag), '--out', str(out), '--write', 'bag', *ARGUMENTS])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert code == ExitCode.OUTPUT
    assert re.search(r"bag: got '.*/bag' \(File too large\), expected a folder with enough room",
                     capfd.readouterr().err)
    assert not out.exists()


@pytest.mark.usefixtures('steady')
def test_a_library_that_is_missing_is_told_before_anything_is_read(tmp_path, monkeypatch, capfd):
    """The recording need not even exist."""
    monkeypatch.setitem(sys.modules, 'trimesh', None)
    out = tmp_path / 'out'
    assert process.main([str(tmp_path / 'none'), '--out', str(out), '--write', 'glb', 'ply']
                        ) == ExitCode.OUTPUT
    assert "glb needs trimesh, which is not installed: pip install 'da3_ros[glb]'" in (
        capfd.readouterr().err)
    assert not list(tmp_path.iterdir())


def keyframe(number, x):
    """Give a keyframe of a flat wall."""
    pose = np.eye(4)
    pose[0, 3] = x
    depth = np.full((6, 8), 2.0, np.float32)
    depth[0, 0] = np.nan
    return PosedKeyframe(
        number, 1000 + number, 'camera', np.zeros((6, 8, 3), np.uint8), depth, None,
        np.array([[8.0, 0, 3.5], [0, 8.0, 2.5], [0, 0, 1]]), pose, 0, False)


@pytest.mark.parametrize(('assignments', 'links', 'frame'), [
    ((), {('odom', 'camera')}, 'odom'),
    (('tf.publish_map:=true',), {('odom', 'camera'), ('map', 'odom')}, 'map'),
    (('tf.mode:=odom_to_base',), {('odom', 'camera')}, 'odom'),
    (('tf.mode:=none',), set(), 'odom'),
])
def test_frames_are_those_that_the_node_is_set_to(assignments, links, frame, tmp_path):
    """Without a robot; the corrected map lies where its transforms say."""
    settings = read_settings(None, assignments)
    record = SessionRecord()
    map_T_odom = np.eye(4)
    map_T_odom[1, 3] = 0.5
    world = WorldFrame(settings, record)
    with SessionBag(tmp_path / 'bag', settings, record) as bag:
        for number in range(3):
            each = keyframe(number, 0.1 * number)
            record.add(each, map_T_odom, max_keyframes=10)
            bag.add(each, each, world.place(each, map_T_odom))
        bag.end(world.newest)
    messages = read_as_ros(tmp_path / 'bag')
    found = [link for _, each in messages.get('/tf', []) for link in each.transforms]
    assert {(link.header.frame_id, link.child_frame_id) for link in found} == links
    ((_, path),) = messages['/da3/path']
    assert path.header.frame_id == frame
    in_map = frame == 'map'
    assert path.poses[1].pose.position.x == pytest.approx(0.1)
    assert path.poses[1].pose.position.y == pytest.approx(0.5 if in_map else 0.0)
    ((_, fused),) = messages['/da3/map']
    assert read_points(fused)['y'].max() == pytest.approx(
        2.0 * 2.5 / 8.0 + (0.5 if in_map else 0.0), abs=0.05)


def test_a_bag_that_is_written_again_is_the_same(tmp_path):
    """So that a run that goes on gives the bytes of one that never ended."""
    for name in 'ab':
        (tmp_path / name).mkdir()
        record, settings, first = SessionRecord(), read_settings(None), keyframe(0, 0.0)
        placed = WorldFrame(settings, record).place(first, np.eye(4))
        with SessionBag(tmp_path / name / 'bag', settings, record) as bag:
            record.add(first, np.eye(4), max_keyframes=10)
            bag.add(first, first, placed)
            bag.end(placed)
    a, b = (Path(tmp_path / name / 'bag/bag.mcap').read_bytes() for name in 'ab')
    assert a == b


def test_messages_survive_ros_both_ways(with_bag):
    """What ROS reads, it writes again with the same content: no field is out of its range."""
    for messages in read_as_ros(with_bag / 'bag').values():
        for _, message in messages:
            assert deserialize_message(serialize_message(message), type(message)) == message
