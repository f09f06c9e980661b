# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Run the node in a process of its own, and talk to it from another."""

from collections import defaultdict
from collections.abc import Callable, Sequence
import contextlib
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from da3_ros.ros.conversions import stamp_ns, to_bytes, to_header
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from spun_graph import SpunGraph
from tf2_msgs.msg import TFMessage
from tf2_ros import Buffer, TransformListener

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENGINE_NODE = (str(HERE / 'engine_node.py'),)
REAL_NODE = ('-m', 'da3_ros.node')
FRAME_ID = 'camera_optical_frame'

OUTPUTS = {
    'depth': (Image, '/da3/depth/image'),
    'camera_info': (CameraInfo, '/da3/depth/camera_info'),
    'rgb': (Image, '/da3/rgb/image'),
    'rgb_camera_info': (CameraInfo, '/da3/rgb/camera_info'),
    'confidence': (Image, '/da3/depth/confidence'),
    'points': (PointCloud2, '/da3/points'),
    'odometry': (Odometry, '/da3/odometry'),
}
"""Everything that goes out once per keyframe."""


def eventually(condition: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    """Wait until a condition holds; tell whether it did."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


class NodeProcess:
    """A node in a process of its own."""

    def __init__(
        self, program: Sequence[str], log: Path, domain_id: int, parameters: dict[str, object],
        arguments: Sequence[str] = (),
    ) -> None:
        """Start the program with parameters; its output goes to a file."""
        values = []
        for name, value in parameters.items():
            values += ['-p', f'{name}:={json.dumps(value)}']
        paths = [str(ROOT), str(ROOT / 'test/unit/mapping'), os.environ.get('PYTHONPATH', '')]
        environment = os.environ | {
            'PYTHONPATH': os.pathsep.join(paths), 'ROS_DOMAIN_ID': str(domain_id),
            'PYTHONUNBUFFERED': '1',
        }
        self._log = log
        with log.open('wb') as output:
            self._process = subprocess.Popen(
                [sys.executable, *program, *arguments, '--ros-args', *values],
                stdout=output, stderr=subprocess.STDOUT, env=environment,
            )

    @property
    def output(self) -> str:
        """Return what the program printed so far."""
        return self._log.read_text(errors='replace')

    @property
    def is_alive(self) -> bool:
        """Tell whether the process runs."""
        return self._process.poll() is None

    def wait_for_output(self, text: str, timeout_s: float = 120.0) -> None:
        """Wait until the program prints something."""
        found = eventually(lambda: text in self.output or not self.is_alive, timeout_s)
        assert found and text in self.output, f'{text!r} is not in:\n{self.output}'

    def send_signal(self, number: int) -> None:
        """Send a signal and do not wait."""
        self._process.send_signal(number)

    def interrupt(self, number: int = signal.SIGINT, timeout_s: float = 20.0) -> int:
        """Send a signal and return the exit code."""
        self._process.send_signal(number)
        return self._process.wait(timeout_s)

    def close(self) -> None:
        """End the process if it still runs; a killed one would haunt the graph for a while."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self.is_alive:
                self.interrupt()
        self._process.kill()
        self._process.wait()


class Peer(SpunGraph):
    """A camera and a listener: the other side of all topics and services of the node."""

    def __init__(self, domain_id: int) -> None:
        """Join the graph."""
        super().__init__(domain_id)
        self.node = Node('peer', context=self.context)
        self.received: dict[str, dict[int, list]] = defaultdict(lambda: defaultdict(list))
        self.transforms: list = []
        self.buffer = Buffer()
        self._listener = TransformListener(self.buffer, self.node)
        for name, (message_type, topic) in OUTPUTS.items():
            self.listen(name, message_type, topic)
        self.node.create_subscription(
            TFMessage, '/tf', lambda message: self.transforms.extend(message.transforms), 100)
        reliable = QoSProfile(depth=10)
        self._images = self.node.create_publisher(Image, 'image', reliable)
        self._infos = self.node.create_publisher(CameraInfo, 'camera_info', reliable)
        self.spin(self.node)

    def listen(self, name: str, message_type: type, topic: str) -> None:
        """Collect the messages of a topic by their stamp."""
        def store(message) -> None:
            self.received[name][stamp_ns(message.header.stamp)].append(message)

        self.node.create_subscription(message_type, topic, store, QoSProfile(depth=100))

    def wait_for_camera(self, timeout_s: float = 60.0) -> None:
        """Wait until the node subscribes to the images and its outputs are matched."""
        assert eventually(
            lambda: self._infos.get_subscription_count() > 0, timeout_s), 'no CameraInfo awaited'
        self.wait_for_images(timeout_s)

    def wait_for_images(self, timeout_s: float = 60.0) -> None:
        """Do so where CameraInfo comes from another publisher."""
        assert eventually(
            lambda: self._images.get_subscription_count() > 0
            and all(self.node.count_publishers(topic) for _, topic in OUTPUTS.values()),
            timeout_s), 'the node did not subscribe'
        # Discovery is not symmetric: give the node time to see our subscriptions too.
        time.sleep(1.0)

    def send(
        self, frame, *, encoding: str = 'rgb8', frame_id: str = FRAME_ID, publisher=None
    ) -> None:
        """Publish an image, as the camera or as another one."""
        message = Image(header=to_header(frame.stamp_ns, frame_id), encoding=encoding)
        message.height, message.width = frame.image.shape[:2]
        message.step = frame.image[0].nbytes
        message.data = to_bytes(frame.image)
        (publisher or self._images).publish(message)

    def send_raw(self, message: Image) -> None:
        """Publish an image message as it is."""
        self._images.publish(message)

    def send_camera_info_raw(self, message: CameraInfo) -> None:
        """Publish a calibration as it is."""
        self._infos.publish(message)

    def send_camera_info(self, frame, *, frame_id: str = FRAME_ID, publisher=None) -> None:
        """Publish the calibration of an image."""
        message = CameraInfo(header=to_header(frame.stamp_ns, frame_id))
        message.height, message.width = frame.image.shape[:2]
        message.k = [float(value) for value in frame.intrinsics.ravel()]
        message.distortion_model = 'plumb_bob'
        message.d = [0.0] * 5
        (publisher or self._infos).publish(message)

    def stamps(self, name: str) -> list[int]:
        """Return the stamps of an output, in order of arrival."""
        return list(self.received[name])

    def transform_stamps(self, child: str = FRAME_ID) -> list[int]:
        """Return the stamps of the transforms of a frame."""
        return [
            stamp_ns(transform.header.stamp) for transform in list(self.transforms)
            if transform.child_frame_id == child
        ]

    def call(self, service_type: type, name: str, request, timeout_s: float = 30.0):
        """Call a service and return its response."""
        client = self.node.create_client(service_type, name)
        try:
            assert client.wait_for_service(timeout_s), f'no service {name}'
            future = client.call_async(request)
            assert eventually(future.done, timeout_s), f'{name} did not answer'
            return future.result()
        finally:
            self.node.destroy_client(client)

    def change_state(self, transition: int, timeout_s: float = 30.0) -> bool:
        """Ask for a transition and return whether it succeeded."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.call(ChangeState, '/da3/change_state', request, timeout_s).success

    def begin_transition(self, transition: int) -> None:
        """Ask for a transition and do not wait for its end."""
        client = self.node.create_client(ChangeState, '/da3/change_state')
        assert client.wait_for_service(30.0)
        client.call_async(ChangeState.Request(transition=Transition(id=transition)))

    def knows_node(self) -> bool:
        """Tell whether the node is in the graph."""
        return 'da3' in self.node.get_node_names()

    def state(self) -> str:
        """Return the node's lifecycle state."""
        return self.call(GetState, '/da3/get_state', GetState.Request()).current_state.label


def assert_all_came_once(peer: Peer, sent: list[int]) -> None:
    """Check that every output came exactly once for every image that was sent."""
    for name in OUTPUTS:
        assert eventually(lambda name=name: len(peer.stamps(name)) >= len(sent)), name
    time.sleep(0.5)
    for name in OUTPUTS:
        assert peer.stamps(name) == sent, name
        assert {len(messages) for messages in peer.received[name].values()} == {1}, name
