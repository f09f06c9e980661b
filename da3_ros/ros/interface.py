# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Topics of the node."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain

from da3_ros.ros.input.kept_camera_info import KeptCameraInfo
from da3_ros.ros.output.kept_output import KeptOutput
from da3_ros.ros.topic_names import camera_topic, OF_CAMERAS, TRANSPORTS
from nav_msgs.msg import OccupancyGrid, Odometry, Path
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import DurabilityPolicy, QoSPresetProfiles, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

_DEPTH = 10
_RAW = {
    'depth': Image, 'camera_info': CameraInfo, 'rgb': Image, 'rgb_camera_info': CameraInfo,
    'confidence': Image, 'preview': Image, 'points': PointCloud2,
}
_KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True, eq=False)
class CameraPublishers:
    """One publisher per output that every camera has."""

    depth: LifecyclePublisher
    compressed_depth: LifecyclePublisher
    camera_info: LifecyclePublisher
    rgb: LifecyclePublisher
    compressed_rgb: LifecyclePublisher
    rgb_camera_info: LifecyclePublisher
    confidence: LifecyclePublisher
    preview: LifecyclePublisher
    compressed_preview: LifecyclePublisher
    points: LifecyclePublisher


@dataclass(frozen=True, eq=False)
class Publishers:
    """
    One publisher per output, all active with the node only.

    :param cameras: those of every camera, by its name.
    """

    cameras: Mapping[str, CameraPublishers]
    odometry: LifecyclePublisher
    path: KeptOutput
    map: LifecyclePublisher  # noqa: A003
    grid: LifecyclePublisher

    @property
    def all(self) -> tuple[LifecyclePublisher, ...]:  # noqa: A003
        """Return every one of them."""
        of_cameras = (vars(camera).values() for camera in self.cameras.values())
        return (*chain.from_iterable(of_cameras), self.odometry, self.path.publisher, self.map,
                self.grid)


def create_publishers(
    node: LifecycleNode, cameras: Sequence[str], *,
    on_map_subscriber: Callable[[], None] | None = None,
) -> Publishers:
    """
    Create the outputs: reliable, path, map and grid also for those who come later.

    :param node: being configured.
    :param cameras: names of the cameras.
    :param on_map_subscriber: called when somebody subscribes to map or grid, or stops doing so.
    """
    def create(
        message_type: type, name: str, qos: QoSProfile | None = None,
        callbacks: PublisherEventCallbacks | None = None,
    ) -> LifecyclePublisher:
        publisher = node.create_lifecycle_publisher(
            message_type, name if name.startswith('/') else f'~/{name}',
            QoSProfile(depth=_DEPTH) if qos is None else qos,
            event_callbacks=callbacks,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        created.callback(node.destroy_lifecycle_publisher, publisher)
        return publisher

    on_match = None if on_map_subscriber is None else PublisherEventCallbacks(
        matched=lambda _: on_map_subscriber())

    def create_for(camera: str) -> CameraPublishers:
        raw = {
            output: create(message_type, camera_topic(camera, OF_CAMERAS[output]))
            for output, message_type in _RAW.items()}
        # The suffix goes behind the remapped name, as image_transport does it.
        compressed = {
            f'compressed_{output}': create(
                CompressedImage, f'{raw[output].topic_name}/{transport}')
            for output, transport in TRANSPORTS.items()}
        return CameraPublishers(**raw, **compressed)

    with ExitStack() as created:
        publishers = Publishers(
            cameras={camera: create_for(camera) for camera in cameras},
            odometry=create(Odometry, 'odometry'),
            path=KeptOutput(lambda callbacks: create(Path, 'path', _KEPT, callbacks)),
            map=create(PointCloud2, 'map', _KEPT, on_match),
            grid=create(OccupancyGrid, 'grid', _KEPT, on_match),
        )
        # Only where one of them cannot be created do those before it go again.
        created.pop_all()
    return publishers


def destroy_publishers(node: LifecycleNode, publishers: Publishers) -> None:
    """
    Take the outputs back.

    :param node: that they belong to.
    :param publishers: of it.
    """
    for publisher in publishers.all:
        node.destroy_lifecycle_publisher(publisher)


@dataclass(frozen=True, eq=False)
class Subscriptions:
    """The inputs of a camera, which exist while the node is active."""

    image: Subscription
    camera_info: Subscription
    kept_camera_info: KeptCameraInfo


def create_subscriptions(
    node: LifecycleNode,
    camera: str,
    *,
    is_compressed: bool,
    on_image: Callable[[Image | CompressedImage], None],
    on_camera_info: Callable[[CameraInfo], None],
) -> Subscriptions:
    """
    Subscribe as to a sensor: best effort.

    :param node: being activated.
    :param camera: name of the camera.
    :param is_compressed: subscribe to ``image/compressed`` instead of ``image``.
    :param on_image: gets every image.
    :param on_camera_info: gets every calibration.
    """
    def create(message_type: type, name: str, callback: Callable[..., None]) -> Subscription:
        qos = QoSPresetProfiles.SENSOR_DATA.value
        subscription = node.create_subscription(
            message_type, name, callback,
            QoSProfile(depth=_DEPTH, reliability=qos.reliability, durability=qos.durability),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        created.callback(node.destroy_subscription, subscription)
        return subscription

    # The suffix goes behind the remapped name, as image_transport does it.
    image = node.resolve_topic_name(camera_topic(camera, 'image'))
    with ExitStack() as created:
        camera_info = create(CameraInfo, camera_topic(camera, 'camera_info'), on_camera_info)
        subscriptions = Subscriptions(
            image=create(CompressedImage, f'{image}/compressed', on_image) if is_compressed else (
                create(Image, camera_topic(camera, 'image'), on_image)),
            camera_info=camera_info,
            kept_camera_info=KeptCameraInfo(node, camera_info.topic_name, on_camera_info),
        )
        created.pop_all()
    return subscriptions


def destroy_subscriptions(node: LifecycleNode, subscriptions: Subscriptions) -> None:
    """
    Stop listening.

    :param node: that they belong to.
    :param subscriptions: of it.
    """
    node.destroy_subscription(subscriptions.image)
    node.destroy_subscription(subscriptions.camera_info)
    subscriptions.kept_camera_info.close()
