# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""Any bag with a camera can be replayed; others are told what is missing."""

from pathlib import Path
import sys

from da3_ros.demo import topics
from da3_ros.demo.bag_topics import choose_topics, open_bag
from da3_ros.demo.child import Child, DemoError
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

# Made by other people's tools.
BAGS = Path(__file__).parents[3] / 'shared' / 'data' / 'bags'
TYPES = {'image': 'sensor_msgs/msg/Image', 'compressed': 'sensor_msgs/msg/CompressedImage',
         'info': 'sensor_msgs/msg/CameraInfo', 'tf': 'tf2_msgs/msg/TFMessage',
         'scan': 'sensor_msgs/msg/LaserScan'}


def write_bag(path, content):
    """Write a bag of topics with a kind and a number of (unreadable) messages."""
    store = get_typestore(Stores.ROS2_JAZZY)
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        for topic, (kind, count) in content.items():
            connection = writer.add_connection(topic, TYPES[kind], typestore=store)
            for index in range(count):
                writer.write(connection, index, bytes(8))
    return path


def chosen(path, **options):
    """Give the names of what is replayed."""
    with open_bag(path) as reader:
        return [connection.topic for connection in choose_topics(reader, **options).all]


def test_a_film_is_replayed_without_its_truth(small_bag):
    """So that the node cannot see it."""
    assert chosen(small_bag) == [topics.STATIC_TF, topics.CAMERA_INFO, topics.IMAGE]


@pytest.mark.parametrize(('content', 'options', 'expected'), [
    ({'/usb_cam/image_raw': ('image', 3)}, {}, ['/usb_cam/image_raw']),
    ({'/a/image_raw/compressed': ('compressed', 3), '/a/camera_info': ('info', 1),
      '/a/image_raw': ('image', 0), '/tf': ('tf', 2)}, {},
     ['/tf', '/a/camera_info', '/a/image_raw/compressed']),
    ({'/a/image': ('image', 9), '/b/image': ('image', 3), '/b/camera_info': ('info', 3)}, {},
     ['/b/camera_info', '/b/image']),
    ({'/a/image': ('image', 9), '/b/image': ('image', 3), '/b/camera_info': ('info', 3)},
     {'image': '/a/image'}, ['/a/image']),
    ({'/d/color/image': ('image', 3), '/d/depth/image': ('image', 9),
      '/d/depth/camera_info': ('info', 9), '/d/depth/x/compressedDepth': ('compressed', 9)}, {},
     ['/d/color/image']),
    ({'/a/image': ('image', 3), '/a/camera_info': ('scan', 3)}, {}, ['/a/image']),
    ({'/d/depth/image': ('image', 9)}, {'image': '/d/depth/image'}, ['/d/depth/image']),
])
def test_the_camera_is_found_by_type(tmp_path, content, options, expected):
    """With its CameraInfo, if it has one; depth is no camera unless it is asked for."""
    assert chosen(write_bag(tmp_path / 'bag', content), **options) == expected


@pytest.mark.parametrize(('content', 'options', 'complaint'), [
    ({'/scan': ('scan', 3), '/tf': ('tf', 1)}, {},
     r'topic of sensor_msgs/msg/Image or .*has /scan \(sensor_msgs/msg/LaserScan, 3 .*, /tf'),
    ({'/a/image': ('image', 0), '/tf': ('tf', 1)}, {},
     r'has /tf \(tf2_msgs/msg/TFMessage, 1 messages\)$'),
    ({'/a/image': ('image', 3)}, {'image': '/b/image'},
     'image: got /b/image, expected .* has /a/image'),
])
def test_what_a_bag_lacks_is_told(tmp_path, content, options, complaint):
    """With what it has."""
    bag = write_bag(tmp_path / 'bag', content)
    with pytest.raises(DemoError, match=complaint):
        chosen(bag, **options)


def test_what_is_no_bag_is_told(tmp_path):
    """Nothing, an empty folder, and a bag of ROS 1."""
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'old.bag').write_bytes(b'#ROSBAG V2.0\n')
    for name, complaint in (('none', 'expected the folder of a ROS 2 bag'),
                            ('empty', 'expected the folder of a ROS 2 bag'),
                            ('old.bag', 'rosbags-convert makes one of a ROS 1 bag')):
        with pytest.raises(DemoError, match=complaint):
            chosen(tmp_path / name)


@pytest.mark.skipif(not BAGS.exists(), reason='needs the recorded bags')
def test_a_bag_of_another_tool():
    """A robot's, with raw and encoded images and no CameraInfo."""
    assert len(chosen(BAGS / 'mvtb_test_ros2')) >= 1


def test_the_program_says_so_in_one_line(tmp_path):
    """And ends with status 1, without a traceback."""
    pytest.importorskip('rclpy')
    bag = write_bag(tmp_path / 'bag', {'/scan': ('scan', 1)})
    log = tmp_path / 'log.txt'
    child = Child('replay', [sys.executable, '-m', 'da3_ros.demo.replay', str(bag)], log)
    try:
        with pytest.raises(DemoError, match='ended with status 1'):
            child.wait_for('ready', 60.0)
        assert len(log.read_text().strip().splitlines()) == 1
    finally:
        child.stop()
