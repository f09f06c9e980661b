# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The other side of a node with several cameras."""

from dataclasses import replace
import time

from engine_node import SHIFTS
from node_harness import eventually, OUTPUTS, Peer
from perfect_engine import frames
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image

CAMERAS = ('front', 'left', 'right')
OF_A_CAMERA = [name for name in OUTPUTS if name != 'odometry']
RELIABLE = {
    f'qos_overrides./{camera}/{topic}.subscription.reliability': 'reliable'
    for camera in CAMERAS for topic in ('image', 'camera_info')
}
RIG = {'camera.names': list(CAMERAS), 'window.size': 9, 'window.stride': 2} | RELIABLE
FIRST_STAMP_NS = 10**18 + 123_456_789
PERIOD_NS = 100_000_000
OFFSETS_NS = {
    camera: round(shift * PERIOD_NS) for camera, shift in zip(CAMERAS, SHIFTS, strict=True)}
"""The cameras run freely, at one rate."""
PACE_S = 0.02


def frame_of(camera: str) -> str:
    """Name the optical frame of a camera."""
    return f'{camera}_camera_optical_frame'


class RigPeer(Peer):
    """Three cameras, and a listener to what comes out for each."""

    def __init__(self, domain_id: int) -> None:
        """Join the graph."""
        super().__init__(domain_id)
        reliable = QoSProfile(depth=10)
        self._cameras = {
            camera: (self.node.create_publisher(Image, f'{camera}/image', reliable),
                     self.node.create_publisher(CameraInfo, f'{camera}/camera_info', reliable))
            for camera in CAMERAS
        }
        for camera in CAMERAS:
            for name in OF_A_CAMERA:
                message_type, topic = OUTPUTS[name]
                self.listen(
                    f'{camera}/{name}', message_type, topic.replace('/da3', f'/da3/{camera}'))

    def wait_for_rig(self, timeout_s: float = 60.0) -> None:
        """Wait until the node subscribes to all images and its outputs are matched."""
        assert eventually(
            lambda: all(publisher.get_subscription_count()
                        for pair in self._cameras.values() for publisher in pair)
            and self.node.count_publishers('/da3/odometry')
            and all(self.node.count_publishers(f'/da3/{camera}/points') for camera in CAMERAS),
            timeout_s), 'the node did not subscribe'
        # Discovery is not symmetric: give the node time to see our subscriptions too.
        time.sleep(1.0)

    def stream(self, num_instants: int, *, first=0, silent=(), uncalibrated=()):
        """Send what the cameras see, by their stamps; return these by camera."""
        sent = {camera: [] for camera in CAMERAS}
        for frame in rig_frames(num_instants, first=first):
            images, infos = self._cameras[frame.camera]
            if frame.camera in silent:
                continue
            if frame.camera not in uncalibrated:
                self.send_camera_info(frame, frame_id=frame.frame_id, publisher=infos)
            self.send(frame, frame_id=frame.frame_id, publisher=images)
            sent[frame.camera].append(frame.stamp_ns)
            time.sleep(PACE_S)
        return sent


def rig_frames(num_instants: int, *, first=0):
    """Give the frames of all cameras; every one names its number in the truth."""
    stream = []
    num_frames = num_instants * len(CAMERAS)
    for index, frame in enumerate(frames(num_frames, first=first * len(CAMERAS))):
        instant, number = divmod(index, len(CAMERAS))
        camera = CAMERAS[number]
        stamp_ns = FIRST_STAMP_NS + (first + instant) * PERIOD_NS + OFFSETS_NS[camera]
        stream.append(replace(
            frame, camera=camera, frame_id=frame_of(camera), stamp_ns=stamp_ns))
    return sorted(stream, key=lambda frame: frame.stamp_ns)


def number_of(camera: str, stamp_ns: int) -> int:
    """Return the number of a frame in the truth."""
    instant = (stamp_ns - FIRST_STAMP_NS - OFFSETS_NS[camera]) // PERIOD_NS
    return instant * len(CAMERAS) + CAMERAS.index(camera)
