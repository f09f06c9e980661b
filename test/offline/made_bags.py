# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Bags that rosbags' own writer makes, and what is read of them."""

from da3_ros.demo.messages import MessageCodec
from da3_ros.offline.input.bag import BagPart, open_bag
from da3_ros.ros.parameters.settings import CameraSettings
import numpy as np
from rosbags.rosbag2 import Writer
from rosbags.typesys import get_typestore, Stores


def shots(path, **options):
    """Give the pictures of a bag, and what was lost."""
    topics = {name: (options.pop(name),) for name in ('image', 'camera_info') if name in options}
    with open_bag(path, BagPart(**topics, **options), CameraSettings()) as source:
        return list(source.shots()), source.losses.lines()


def write_bag(path, messages, **options):
    """Write messages (topic, time, message) with rosbags' own writer."""
    store = get_typestore(Stores.ROS2_JAZZY)
    with Writer(path, version=9, **options) as writer:
        made = {}
        for topic, time_ns, message in messages:
            if topic not in made:
                made[topic] = writer.add_connection(
                    topic, message.__msgtype__, typestore=store)
            writer.write(made[topic], time_ns, store.serialize_cdr(message, message.__msgtype__))
    return path


def pictures(sizes):
    """Make messages of images of some sizes, a tenth of a second apart."""
    codec = MessageCodec()
    for index, (width, height) in enumerate(sizes):
        image = np.full((height, width, 3), index, np.uint8)
        yield '/cam/image', index * 10**8, codec.image(image, index * 10**8, 'cam')
