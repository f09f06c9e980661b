# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A keyframe becomes the messages that somebody listens to, all with its stamp."""

from dataclasses import replace

from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.session_record import SessionRecord
from da3_ros.mapping.update import WindowUpdate
from da3_ros.ros.conversions import stamp_ns
from da3_ros.ros.insight.counters import Counters
from da3_ros.ros.insight.health import Health
from da3_ros.ros.interface import create_publishers
from da3_ros.ros.output.depth_mask import mask_depth
from da3_ros.ros.output.grid_output import GridOutput
from da3_ros.ros.output.keyframe_publisher import KeyframePublisher
from da3_ros.ros.output.map_publisher import MapPublisher
from da3_ros.ros.output.placement import KeyframePlacer
from da3_ros.ros.parameters.settings import (
    DepthSettings,
    NodeSettings,
    SaveSettings,
    TfSettings,
)
from nav_msgs.msg import Path
from node_harness import eventually
import numpy as np
import pytest
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

STAMP_NS = 1_700_000_000_123_456_789
DEPTH = np.array([[1.0, 2.0], [np.nan, np.inf], [5.0, 9.0]], np.float32)
SETTINGS = NodeSettings(tf=TfSettings(mode='none'))
WINDOW = WindowUpdate(0, np.eye(4))
CONFIDENCE = np.array([[1.0, 3.0], [9.0, 1.0], [2.0, 9.0]], np.float32)


def keyframe(**fields):
    """Give a small keyframe."""
    values = {
        'id': 0, 'stamp_ns': STAMP_NS, 'frame_id': 'camera',
        'image': np.zeros((*DEPTH.shape, 3), np.uint8), 'depth': DEPTH, 'confidence': CONFIDENCE,
        'intrinsics': np.eye(3), 'odom_T_camera': np.eye(4), 'segment': 0, 'is_metric': True,
    }
    return PosedKeyframe(**values | fields)


@pytest.fixture
def node(domain_id):
    """Give a lifecycle node."""
    context = Context()
    context.init(domain_id=domain_id)
    node = LifecycleNode('da3', context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


@pytest.fixture
def record():
    """Give a record of the session."""
    return SessionRecord()


@pytest.fixture
def publisher(node, record):
    """Give a publisher of keyframes without transforms."""
    publishers = create_publishers(node, [''])
    fused = MapPublisher(
        publishers.map, Counters(), record, SETTINGS.map,
        GridOutput(publishers.grid, record, lambda: SETTINGS.grid))
    publisher = KeyframePublisher(
        publishers, None, lambda: KeyframePlacer(SETTINGS.tf, None, Counters()), record, fused,
        Health(lambda: STAMP_NS))
    publisher.note(WINDOW)
    yield publisher
    assert fused.stop(5.0)


def prepare(publisher, of=None):
    """Make the messages of a keyframe."""
    return publisher.prepare(keyframe() if of is None else of, WINDOW, SETTINGS)


def test_nothing_is_made_for_nobody(publisher):
    """No subscriber, no message."""
    assert prepare(publisher).outputs == ()


def test_only_what_somebody_listens_to_is_made(publisher, node):
    """Two subscribers, two messages, with the stamp to the nanosecond."""
    node.create_subscription(Image, '/da3/depth/image', lambda _: None, 1)
    node.create_subscription(CameraInfo, '/da3/depth/camera_info', lambda _: None, 1)
    assert eventually(lambda: len(prepare(publisher).outputs) == 2, 5.0)
    messages = [message for _, message in prepare(publisher).outputs]
    assert {type(message) for message in messages} == {Image, CameraInfo}
    assert {stamp_ns(message.header.stamp) for message in messages} == {STAMP_NS}
    assert {(message.width, message.height) for message in messages} == {(2, 3)}


def test_compressed_images_are_made_for_who_asks_for_them(publisher, node):
    """Under the names of image_transport; and without the raw ones."""
    for name in ('depth/image/compressedDepth', 'rgb/image/compressed'):
        node.create_subscription(CompressedImage, f'/da3/{name}', lambda _: None, 1)
    assert eventually(lambda: len(prepare(publisher).outputs) == 2, 5.0)
    messages = [message for _, message in prepare(publisher).outputs]
    assert {message.format for message in messages} == {
        '32FC1; compressedDepth png', 'rgb8; jpeg compressed bgr8'}
    assert {stamp_ns(message.header.stamp) for message in messages} == {STAMP_NS}


def test_the_preview_is_made_for_who_looks_at_it(publisher, node):
    """Raw and as JPEG, of the depth as it goes out: what is unknown is black."""
    node.create_subscription(Image, '/da3/depth/preview', lambda _: None, 1)
    node.create_subscription(
        CompressedImage, '/da3/depth/preview/compressed', lambda _: None, 1)
    assert eventually(lambda: len(prepare(publisher).outputs) == 2, 5.0)
    raw, compressed = (message for _, message in prepare(publisher).outputs)
    assert (raw.encoding, raw.width, raw.height) == ('rgb8', 2, 3)
    assert {stamp_ns(message.header.stamp) for message in (raw, compressed)} == {STAMP_NS}
    picture = np.frombuffer(raw.data, np.uint8).reshape(3, 2, 3)
    np.testing.assert_array_equal(picture.any(axis=-1), ~np.isnan(DEPTH))
    assert compressed.format == 'rgb8; jpeg compressed bgr8'
    publisher.begin_session()
    assert len(prepare(publisher).outputs) == 2


@pytest.mark.parametrize(('wanted', 'size'), [('network', (2, 3)), ('image', (4, 6))])
def test_images_are_of_the_size_that_is_wanted(publisher, node, wanted, size):
    """All four with the CameraInfo that fits them."""
    for name in ('depth/image', 'depth/confidence', 'depth/preview', 'rgb/image'):
        node.create_subscription(Image, f'/da3/{name}', lambda _: None, 1)
    node.create_subscription(CameraInfo, '/da3/rgb/camera_info', lambda _: None, 1)
    large = keyframe(source=np.zeros((6, 4, 3), np.uint8))
    settings = replace(SETTINGS, depth=DepthSettings(size=wanted))
    assert eventually(lambda: len(publisher.prepare(large, WINDOW, settings).outputs) == 5, 5.0)
    messages = [message for _, message in publisher.prepare(large, WINDOW, settings).outputs]
    assert {(message.width, message.height) for message in messages} == {size}
    (info,) = (message for message in messages if isinstance(message, CameraInfo))
    assert info.k[0] == pytest.approx(size[0] / 2)


@pytest.mark.parametrize(('depth', 'save', 'is_kept'), [
    ({'size': 'image'}, {}, True), ({}, {}, False),
    ({'size': 'image'}, {'max_keyframes': 0}, False),
    ({'size': 'image'}, {'formats': ('ply', 'npz')}, False)])
def test_images_of_the_camera_are_kept_for_colmap_alone(publisher, record, depth, save, is_kept):
    """At the size that is wanted; what the network saw is kept in any case."""
    large = keyframe(source=np.zeros((6, 4, 3), np.uint8))
    settings = replace(SETTINGS, depth=DepthSettings(**depth), save=SaveSettings(**save))
    publisher.publish(publisher.prepare(large, WINDOW, settings))
    kept = record.session().keyframes
    assert len(kept) == (0 if save.get('max_keyframes') == 0 else 1)
    sizes = [(seen.camera_image.width, seen.camera_image.height) for seen in kept
             if seen.camera_image is not None]
    assert sizes == ([(4, 6)] if is_kept else [])


def test_no_pose_no_confidence(publisher, node):
    """Monocular networks give depth and points alone."""
    for name in ('depth/image', 'depth/confidence'):
        node.create_subscription(Image, f'/da3/{name}', lambda _: None, 1)
    mono = keyframe(confidence=None, has_pose=False)
    assert eventually(lambda: len(prepare(publisher, mono).outputs) == 1, 5.0)
    prepared = prepare(publisher, mono)
    assert prepared.placed is None
    publisher.publish(prepared)


def test_the_end_of_a_world_takes_its_path_away_from_who_comes_late(publisher, node):
    """At once, and not only when the next world has one."""
    node.trigger_configure()
    node.trigger_activate()
    publisher.publish(prepare(publisher))
    publisher.begin_session()
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    seen = []
    node.create_subscription(Path, '/da3/path', seen.append, QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    assert eventually(lambda: executor.spin_once(0.1) or seen)
    assert [len(path.poses) for path in seen] == [0]


def test_a_keyframe_of_a_world_that_has_ended_begins_no_other(publisher):
    """Its messages were being made when it ended; the next world starts at its own first one."""
    publisher.begin_session()
    late = prepare(publisher, keyframe(odom_T_camera=np.full((4, 4), 7.0)))
    assert late.placed is None
    publisher.note(WindowUpdate(1, np.eye(4)))
    first = publisher.prepare(keyframe(), WindowUpdate(1, np.eye(4)), SETTINGS)
    np.testing.assert_allclose(first.placed.world_T_camera, np.eye(4))


def test_a_new_world_begins_where_its_own_first_camera_was(node):
    """The base is at the origin again, wherever the old world left the camera."""
    publishers, record = create_publishers(node, ['']), SessionRecord()
    fused = MapPublisher(
        publishers.map, Counters(), record, SETTINGS.map,
        GridOutput(publishers.grid, record, lambda: SETTINGS.grid))
    tf = TfSettings(mode='odom_to_base')
    publisher = KeyframePublisher(
        publishers, None, lambda: KeyframePlacer(tf, None, Counters()), record, fused,
        Health(lambda: STAMP_NS))
    for session in range(2):
        far = np.eye(4)
        far[:3, 3] = 100.0 * session
        window = WindowUpdate(session, np.eye(4))
        publisher.note(window)
        placed = publisher.prepare(
            keyframe(odom_T_camera=far, base_T_camera=np.eye(4)), window, SETTINGS).placed
        np.testing.assert_allclose(placed.world_T_body, np.eye(4))
    assert fused.stop(5.0)


def test_masks_follow_rep_118():
    """Unknown is NaN, beyond the range is infinite, the rest is left alone."""
    masked = mask_depth(DEPTH, CONFIDENCE, DepthSettings(min_confidence=2.5, max_m=8.0))
    np.testing.assert_array_equal(
        masked, [[np.nan, 2.0], [np.nan, np.inf], [np.nan, np.inf]])
    np.testing.assert_array_equal(mask_depth(DEPTH, None, DepthSettings()), DEPTH)
    assert masked is not DEPTH
