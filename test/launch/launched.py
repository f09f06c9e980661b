# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The package as ament finds it, made of the sources, and a view of what a launch started."""

from collections.abc import Callable, Sequence
import os
from pathlib import Path
import sys
import tempfile
import time

from da3_ros.ros.conversions import to_bytes
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription, RegisterEventHandler
from launch.event_handlers import OnProcessStart
from launch.events.process import ProcessStarted
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_testing.actions import ReadyToTest
from lifecycle_msgs.srv import GetState
import numpy as np
from rcl_interfaces.srv import GetParameters
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from standin_peer import install

ROOT = Path(__file__).resolve().parents[2]
NODE = '/robot1/da3'
PREFIX = 'da3_launch_'
# The smallest real work: random weights, and images of a few patches.
PARAMETERS = """
/**:
  ros__parameters:
    autostart: false
    model:
      name: $(env DA3_TEST_MODEL da3-small)
      weights: random
    preprocess:
      size: 56
    camera:
      info_wait_s: 0.0
    keyframe:
      mode: time
      min_sharpness: 0.0
    window:
      size: 4
      stride: 2
      max_age_s: 0.3
    path:
      max_size: 7
      max_sise: 8
"""


def describe(
    name: str, *, standins: Sequence[str] = (), **arguments: str
) -> tuple[LaunchDescription, dict]:
    """
    Describe a test of one of our launch files, in namespace robot1 and with small work.

    :param name: of the launch file.
    :param standins: packages for which something else starts.
    :returns: the description, and for the tests ``started``: an event of each process.
    """
    started: list[ProcessStarted] = []
    return LaunchDescription([
        RegisterEventHandler(OnProcessStart(
            on_start=lambda event, _context: started.append(event))),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(ROOT / 'launch' / f'{name}.launch.py')),
            launch_arguments={**link_package(standins), **arguments}.items()),
        ReadyToTest(),
    ]), {'started': started, 'name': name}


def link_package(standins: Sequence[str] = ()) -> dict[str, str]:
    """
    Make an install space of links to the sources, and let ament find it first.

    :param standins: packages that are put into it too.
    :returns: launch arguments: a namespace, and parameters for small work.
    """
    prefix = Path(tempfile.mkdtemp(prefix=PREFIX))
    index = prefix / 'share' / 'ament_index' / 'resource_index' / 'packages'
    share = prefix / 'share' / 'da3_ros'
    for folder in (index, share / 'launch', share / 'config', prefix / 'lib' / 'da3_ros'):
        folder.mkdir(parents=True)
    (index / 'da3_ros').touch()
    for path in [*ROOT.glob('launch/*.py'), *ROOT.glob('config/*')]:
        # The files, not their folder: ros2 launch does not look into a linked one.
        (share / path.parent.name / path.name).symlink_to(path)
    script = prefix / 'lib' / 'da3_ros' / 'node'
    script.write_text(f'#!{sys.executable}\nfrom da3_ros.start import main\nmain()\n')
    script.chmod(0o755)
    for package in standins:
        install(prefix, package)
    # Without the stand-ins of the tests before.
    others = [path for path in os.environ['AMENT_PREFIX_PATH'].split(os.pathsep)
              if not Path(path).name.startswith(PREFIX)]
    os.environ['AMENT_PREFIX_PATH'] = os.pathsep.join([str(prefix), *others])
    params_file = prefix / 'test.yaml'
    params_file.write_text(PARAMETERS)
    return {'namespace': 'robot1', 'params_file': str(params_file)}


class Probe:
    """A node that looks at the one under test from outside."""

    def __init__(self) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node('probe', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._images = None
        self._random = np.random.default_rng(0)

    def send_images(self, count: int = 5) -> None:
        """Publish noise as the camera's images, for half a second."""
        if self._images is None:
            self._images = self.node.create_publisher(Image, '/robot1/image', QoSProfile(depth=10))
        for _ in range(count):
            message = Image(encoding='rgb8', height=48, width=64, step=192, data=to_bytes(
                self._random.integers(0, 256, (48, 192), np.uint8)))
            message.header.frame_id = 'camera_optical_frame'
            message.header.stamp = self.node.get_clock().now().to_msg()
            self._images.publish(message)
            time.sleep(0.1)

    def close(self) -> None:
        """Leave."""
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def state(self) -> str:
        """Name the state of the node's lifecycle."""
        return self._call(GetState, 'get_state', GetState.Request()).current_state.label

    def parameters(self, *names: str) -> list:
        """Read parameters of the node."""
        request = GetParameters.Request(names=list(names))
        values = self._call(GetParameters, 'get_parameters', request).values
        return [parameter_value_to_python(value) for value in values]

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait for something, and fail if it does not come."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, 'not in time'
            time.sleep(0.1)

    def _call(self, service_type: type, name: str, request: object) -> object:
        client = self.node.create_client(service_type, f'{NODE}/{name}')
        deadline = time.monotonic() + 60.0
        future = None
        # Asked again and again: for a while DDS still knows the services of a killed process.
        while future is None or not future.done():
            assert time.monotonic() < deadline, f'{name} does not answer'
            future = client.call_async(request)
            self._executor.spin_until_future_complete(future, timeout_sec=2.0)
        self.node.destroy_client(client)
        return future.result()
