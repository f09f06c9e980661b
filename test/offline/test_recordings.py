# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Bags, films and folders: what is read, and what is said of what cannot be."""

from pathlib import Path
import shutil

import cv2
from da3_ros.demo.messages import MessageCodec
from da3_ros.errors import InputError
from da3_ros.offline.input.bag import BagPart, open_bag
from da3_ros.offline.input.camera_info import CameraInfo
from da3_ros.offline.input.frames import FrameMaker
from da3_ros.offline.input.recordings import open_recording, Recording
from da3_ros.offline.input.topics import choose_camera
from da3_ros.ros.parameters.settings import CameraSettings, NodeSettings
from made_bags import pictures, shots, write_bag
import numpy as np
import pytest
from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores
from short_recording import NUM_FRAMES

# Made by other people's tools.
BAGS = Path(__file__).parents[3] / 'shared' / 'data' / 'bags'
TYPES = {'image': 'sensor_msgs/msg/Image', 'compressed': 'sensor_msgs/msg/CompressedImage',
         'info': 'sensor_msgs/msg/CameraInfo', 'scan': 'sensor_msgs/msg/LaserScan'}


def connections(**kinds):
    """Make the connections of a bag: name=(kind, count), __ stands for a slash."""
    return [Connection(number, '/' + name.replace('__', '/'), TYPES[kind], None, '', count, None,
                       None) for number, (name, (kind, count)) in enumerate(kinds.items())]


@pytest.mark.parametrize(('held', 'options', 'expected'), [
    ({'a__image_raw': ('image', 3)}, {}, ['/a/image_raw']),
    ({'a__image': ('image', 3), 'a__camera_info': ('info', 1)}, {},
     ['/a/image', '/a/camera_info']),
    ({'a__image__compressed': ('compressed', 3), 'a__camera_info': ('info', 1)}, {},
     ['/a/image/compressed', '/a/camera_info']),
    # One camera: what lost nothing.
    ({'a__image': ('image', 3), 'a__image__compressed': ('compressed', 3)}, {}, ['/a/image']),
    ({'a__image': ('image', 3), 'd__depth__image': ('image', 3)}, {}, ['/a/image']),
    ({'a__image': ('image', 3), 'b__image': ('image', 3)}, {'image': '/b/image'}, ['/b/image']),
    ({'a__image': ('image', 3), 'info': ('info', 1)}, {'camera_info': '/info'},
     ['/a/image', '/info']),
    ({'a__image': ('image', 3), 'b__image': ('image', 0)}, {}, ['/a/image']),
])
def test_the_camera_is_found_where_there_is_one_choice(held, options, expected):
    chosen = choose_camera(connections(**held), **options)
    assert [c.topic for c in (*chosen.image, *chosen.camera_info)] == expected


@pytest.mark.parametrize(('held', 'options', 'complaint'), [
    ({'a__image': ('image', 3), 'b__image': ('image', 4)}, {},
     r'several cameras; name one .*: /a/image \(sensor_msgs/msg/Image, 3 messages\), /b/image'),
    ({'scan': ('scan', 3)}, {}, r'the bag has /scan \(sensor_msgs/msg/LaserScan, 3 messages\)'),
    ({}, {}, 'the bag has no messages'),
    ({'a__image': ('image', 3)}, {'image': '/b'}, r'image: got /b, .*the bag has /a/image'),
    ({'a__image': ('image', 3)}, {'camera_info': '/a/image'}, 'camera_info: got /a/image'),
])
def test_topics_are_listed_with_their_types_where_there_is_none_or_more(held, options, complaint):
    with pytest.raises(InputError, match=complaint):
        choose_camera(connections(**held), **options)


@pytest.mark.skipif(not BAGS.exists(), reason='needs the recorded bags')
@pytest.mark.parametrize(('name', 'options', 'has_info'), [
    ('fiducials_aruco_images.bag', {}, True),
    ('mvtb_test_ros2', {'image': '/camera/raw'}, False),
    ('mvtb_test_ros2', {'image': '/camera/compressed'}, False),
    ('ros_numpy_test_400b915.bag', {'image': '/image'}, False),
    ('ros_numpy_test_400b915.bag', {'image': '/compressedimage'}, False),
])
def test_bags_of_other_tools(name, options, has_info):
    """ROS 1 and 2, raw and compressed, with and without CameraInfo."""
    found, losses = shots(BAGS / name, **options)
    assert not losses
    assert found
    assert all((shot.camera_info is not None) == has_info for shot in found)
    assert all(shot.image.dtype == np.uint8 and shot.image.ndim == 3 for shot in found)


@pytest.mark.parametrize('options', [
    {'storage_plugin': StoragePlugin.SQLITE3}, {'storage_plugin': StoragePlugin.MCAP}])
@pytest.mark.parametrize('mode', [None, CompressionMode.FILE, CompressionMode.MESSAGE])
def test_storages_and_compressions(tmp_path, options, mode):
    class Compressed(Writer):
        """A writer that compresses."""

    path = tmp_path / 'bag'
    store = get_typestore(Stores.ROS2_JAZZY)
    writer = Compressed(path, version=9, **options)
    if mode is not None:
        if options['storage_plugin'] is StoragePlugin.MCAP and mode is CompressionMode.FILE:
            pytest.skip('rosbags writes no MCAP that is compressed as a file')
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection('/cam/image', TYPES['image'], typestore=store)
        for _, time_ns, message in pictures([(8, 6)] * 3):
            writer.write(connection, time_ns, store.serialize_cdr(message, TYPES['image']))
    found, losses = shots(path)
    assert [int(shot.image[0, 0, 0]) for shot in found] == [0, 1, 2]
    assert not losses


def test_a_part_of_the_time(short_bag):
    """From the beginning of the bag."""
    found, _ = shots(short_bag, start_s=0.3, end_s=0.9)
    assert len(found) == 3
    assert found[0].camera_info is not None


def test_a_broken_image_is_left_out_and_counted(tmp_path):
    messages = list(pictures([(8, 6)] * 3))
    messages[1][2].data = messages[1][2].data[:10]
    found, losses = shots(write_bag(tmp_path / 'bag', messages,
                                    storage_plugin=StoragePlugin.SQLITE3))
    assert len(found) == 2
    assert losses[0].startswith('1 image lost: ')


def test_many_broken_images_make_no_long_list(tmp_path):
    """One line for each kind of fault, with the first of its kind."""
    messages = list(pictures([(8, 6)] * 30))
    for index, (_, _, message) in enumerate(messages[:20]):
        message.data = message.data[:10 + index]
    found, losses = shots(write_bag(tmp_path / 'bag', messages,
                                    storage_plugin=StoragePlugin.SQLITE3))
    assert len(found) == 10
    assert len(losses) == 1
    assert losses[0].startswith('20 images lost, the first: ')
    assert '10' in losses[0]


def test_a_calibration_of_another_size_is_said_and_not_used(tmp_path):
    codec = MessageCodec()
    info = codec.camera_info(np.array([[50.0, 0, 20], [0, 50, 15], [0, 0, 1]]), 0, 'cam',
                             width=40, height=30)
    messages = [('/cam/camera_info', 0, info), *pictures([(80, 56)] * 2)]
    bag = write_bag(tmp_path / 'bag', messages, storage_plugin=StoragePlugin.MCAP)
    with open_bag(bag, BagPart(), CameraSettings()) as source:
        frames = list(FrameMaker(NodeSettings(), source.losses).frames(source))
    assert [frame.intrinsics for frame in frames] == [None, None]
    assert source.losses.lines() == [
        'CameraInfo: got one for 40x30 pixels, expected 80x56 as the image; the network '
        'estimates the intrinsics']


def test_images_are_sorted_by_number_and_stamped_by_name(tmp_path):
    for names, stamps in ((('10.png', '9.png', '2.png'), [0, 10**8, 2 * 10**8]),
                          (('1.5.png', '1.25.png', '0.1.png'),
                           [10**8, 1_250_000_000, 1_500_000_000])):
        folder = tmp_path / names[0]
        folder.mkdir()
        for name in names:
            value = int(float(name.removesuffix('.png')) * 10)
            cv2.imwrite(str(folder / name), np.full((6, 8, 3), value, np.uint8))
        (folder / 'notes.txt').write_text('no image')
        with open_recording(Recording(folder), CameraSettings()) as source:
            found = list(source.shots())
        assert [shot.stamp_ns for shot in found] == stamps
        values = [int(shot.image[0, 0, 0]) for shot in found]
        assert values == sorted(values)


def test_a_broken_file_among_images(tmp_path):
    cv2.imwrite(str(tmp_path / '1.jpg'), np.zeros((6, 8, 3), np.uint8))
    (tmp_path / '2.jpg').write_bytes(b'no image')
    with open_recording(Recording(tmp_path), CameraSettings()) as source:
        assert len(list(source.shots())) == 1
    assert source.losses.lines()[0].startswith('1 image lost: 2.jpg: ')


@pytest.mark.parametrize(('name', 'content', 'complaint'), [
    ('notes.txt', b'text', "ends with '.txt', expected a bag"),
    ('film.mp4', b'no film', 'expected a film'),
    ('empty', None, 'without metadata.yaml and without images'),
    ('old.bag', b'#ROSBAG V2.0\n', 'the bag cannot be opened'),
    ('new.db3', b'SQLite format 3\0', 'the bag cannot be opened'),
])
def test_what_is_no_recording_is_told(tmp_path, name, content, complaint):
    path = tmp_path / name
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with (pytest.raises(InputError, match=complaint),
          open_recording(Recording(path), CameraSettings()) as source):
        list(source.shots())


@pytest.mark.parametrize('text', [
    'image_width: 8', 'a: [', '[1, 2]',
    'image_width: 8\nimage_height: 6\ncamera_matrix: {data: [1, 2]}'])
def test_a_file_that_is_no_calibration_is_told(tmp_path, text, short_bag):
    path = tmp_path / 'camera.yaml'
    path.write_text(text)
    folder = tmp_path / 'images'
    folder.mkdir()
    cv2.imwrite(str(folder / '1.jpg'), np.zeros((6, 8, 3), np.uint8))
    with (pytest.raises(InputError, match='calibration: got '),
          open_recording(Recording(folder, calibration=path), CameraSettings())):
        pass
    with (pytest.raises(InputError, match='with a bag, whose calibration is its CameraInfo'),
          open_recording(Recording(short_bag, calibration=path), CameraSettings())):
        pass


def test_a_bag_gives_the_frames_that_were_rendered(short_bag):
    found, losses = shots(short_bag)
    assert len(found) == NUM_FRAMES
    assert not losses
    assert isinstance(found[0].camera_info, CameraInfo)
    moved = shutil.copytree(short_bag, short_bag.parent / 'moved')
    with open_recording(Recording(moved), CameraSettings()) as source:
        assert source.num_images == NUM_FRAMES
