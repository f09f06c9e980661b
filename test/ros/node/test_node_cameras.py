# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Cameras as they are in the field, before the real node: what they send comes out, or is told."""

import struct
import time

import cv2
from da3_ros.ros.conversions import to_bytes, to_header
from node_harness import eventually
import numpy as np
from perfect_engine import frames, HEIGHT, INTRINSICS, WIDTH
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from test_node_survival import Counts

# A good one, one of zeros, and one of another lens.
INFOS = (
    {'k': INTRINSICS, 'd': [0.0] * 5}, {'k': np.zeros((3, 3)), 'd': []},
    {'k': INTRINSICS, 'd': [0.0, -50.0, 0.0, 0.0, 0.0]})


def camera_info(k, d):
    """Make a calibration of the camera."""
    return CameraInfo(
        width=WIDTH, height=HEIGHT, distortion_model='plumb_bob', d=d,
        k=[float(value) for value in k.ravel()])


def of_12_bits(frame, frame_id):
    """Make an image as a machine vision camera sends it: 12 bits in 16, one channel."""
    message = Image(header=to_header(frame.stamp_ns, frame_id), encoding='mono16')
    message.height, message.width, message.step = HEIGHT, WIDTH, 2 * WIDTH
    message.data = to_bytes(frame.image[..., 0].astype(np.uint16) * 16 + 8)
    return message


def test_twelve_bits_a_slash_and_camera_infos_that_come_and_go(start_node, peer):
    """All in one session, with the intrinsics of the good CameraInfo; repeats are held back."""
    node = start_node()
    counts = Counts(peer)
    peer.wait_for_camera()
    infos = peer.node.create_publisher(CameraInfo, 'camera_info', QoSProfile(depth=10))
    assert eventually(lambda: infos.get_subscription_count() == 1)
    time.sleep(0.5)
    sent = []
    for index, frame in enumerate(frames(12)):
        infos.publish(camera_info(**INFOS[index % 3]))
        time.sleep(0.05)
        peer.send_raw(of_12_bits(frame, '/front/optical'))
        sent.append(frame.stamp_ns)
        time.sleep(0.05)
    assert eventually(lambda: peer.stamps('depth') == sent)
    assert {message.header.frame_id for (message,) in peer.received['depth'].values()} == {
        'front/optical'}
    for (info,) in peer.received['camera_info'].values():
        np.testing.assert_allclose(np.reshape(info.k, (3, 3)), INTRINSICS, atol=0.6)
    assert eventually(lambda: sent[0] in peer.transform_stamps('front/optical'))
    assert eventually(lambda: counts['images with unusable CameraInfo'] == 8)
    assert counts['sessions'] == 1
    # Four came of each of the unusable ones.
    for text, num_told in (('got K of zeros', 2), ('got D (0.0, -50.0', 2),
                           ('images of 16 bits use 0 to ', 1),
                           ("frame_id '/front/optical', which TF does not take", 1)):
        assert node.output.count(text) == num_told, f'{text} in {node.output}'
    peer.node.destroy_publisher(infos)


def test_files_that_would_take_the_machine(start_node, peer):
    """A header of a gigapixel, and an image that was cut off, are told; the next one comes out."""
    node = start_node({'camera.transport': 'compressed', 'camera.info_wait_s': 0.0})
    counts = Counts(peer)
    images = peer.node.create_publisher(CompressedImage, 'image/compressed', QoSProfile(depth=10))
    assert eventually(lambda: images.get_subscription_count() == 1, 60.0)
    time.sleep(1.0)
    frame, second = frames(2)
    _, png = cv2.imencode('.png', second.image)
    _, jpeg = cv2.imencode('.jpg', frame.image)
    huge = png.tobytes()[:16] + struct.pack('>II', 30000, 30000) + png.tobytes()[24:]
    for data, told in (
            (huge, '30000x30000, 900000000 pixels, expected at most 64000000 (camera.max_pixels)'),
            (jpeg.tobytes()[:-40], 'without the end of the image')):
        images.publish(CompressedImage(
            header=to_header(frame.stamp_ns, 'camera'), format='jpeg', data=data))
        # Another fault is told at once, whatever was told before.
        node.wait_for_output(told)
    images.publish(CompressedImage(
        header=to_header(second.stamp_ns, 'camera'), format='png', data=png.tobytes()))
    assert eventually(lambda: peer.stamps('depth') == [second.stamp_ns])
    assert eventually(lambda: counts['dropped images: unusable message'] == 2)
    peer.node.destroy_publisher(images)
