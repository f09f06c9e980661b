# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Processes in place of the packages that our launch files start beside the node.

Each subscribes as its original does, through the remappings that launch gives it, and says when
it has everything of a keyframe. The originals do not run in our tests.
"""

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
import sys

from da3_ros.ros.conversions import stamp_ns
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from peer_contracts import Contract, CONTRACTS
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.time import Time
from tf2_ros import Buffer, TransformListener

WHOLE = 'whole keyframe'
BRING_UP = (
    (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE),
    (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE),
)
EXECUTABLES = {
    'rtabmap_slam': 'rtabmap', 'nvblox_ros': 'nvblox_node', 'nav2_costmap_2d': 'nav2_costmap_2d',
    'nav2_lifecycle_manager': 'lifecycle_manager', 'rclcpp_components': 'component_container',
    'rviz2': 'rviz2',
}


def install(prefix: Path, package: str) -> None:
    """Put the stand-in of a package into an install space, or its name alone."""
    (prefix / 'share' / 'ament_index' / 'resource_index' / 'packages' / package).touch()
    if package not in EXECUTABLES:
        return
    folder = prefix / 'lib' / package
    folder.mkdir(parents=True)
    script = folder / EXECUTABLES[package]
    script.write_text(
        f'#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n'
        f'from standin_peer import main\nmain({package!r})\n')
    script.chmod(0o755)


class Subscriber:
    """The subscriptions of a contract in a node, which needs the transform of each keyframe."""

    def __init__(self, node: Node, contract: Contract) -> None:
        self._node = node
        self._topics = set(contract.topics)
        self._needs_tf = contract.needs_tf
        self._whole: dict[int, dict[str, object]] = defaultdict(dict)
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, node)
        qos = QoSProfile(depth=10, reliability=contract.reliability)
        for topic, message_type in contract.topics.items():
            node.create_subscription(message_type, topic, partial(self._store, topic), qos)
        node.create_timer(0.1, self._look)

    def _store(self, topic: str, message) -> None:
        self._whole[stamp_ns(message.header.stamp)][topic] = message

    def _look(self) -> None:
        """Say which keyframes have everything by now."""
        for time_ns, messages in list(self._whole.items()):
            if set(messages) == self._topics and self._has_transforms(messages, time_ns):
                self._node.get_logger().info(f'{WHOLE} {time_ns}')
                del self._whole[time_ns]

    def _has_transforms(self, messages: dict[str, object], time_ns: int) -> bool:
        frames = {message.header.frame_id for message in messages.values()}
        return not self._needs_tf or all(
            self._buffer.can_transform('odom', frame, Time(nanoseconds=time_ns))
            for frame in frames)


def contract_of(package: str) -> Contract | None:
    """Find what a package subscribes to."""
    return next((each for each in CONTRACTS if each.package == package), None)


def offer_to_load(container: Node, add_node: Callable[[Node], None]) -> None:
    """Load components as a container does."""
    from composition_interfaces.srv import LoadNode

    def load(request, response):
        rules = [word for rule in request.remap_rules for word in ('-r', rule)]
        node = Node(
            request.node_name, namespace=request.node_namespace, use_global_arguments=False,
            cli_args=['--ros-args', *rules])
        Subscriber(node, contract_of(request.package_name))
        add_node(node)
        response.success, response.unique_id = True, 1
        response.full_node_name = node.get_fully_qualified_name()
        return response

    container.create_service(LoadNode, '~/_container/load_node', load)


class Manager:
    """Bring nodes up as Nav2's does: one call after the other, each checked by the state."""

    def __init__(self, node: Node) -> None:
        self._node = node
        names = node.declare_parameter('node_names', ['']).value
        assert node.declare_parameter('autostart', False).value
        # What the original waits for after it has activated a node, and none of these has.
        assert node.declare_parameter('bond_timeout', 4.0).value == 0.0, 'no bond was formed'
        self._clients = {
            name: (node.create_client(ChangeState, f'{name}/change_state'),
                   node.create_client(GetState, f'{name}/get_state')) for name in names}
        self._steps = [(name, *step) for step in BRING_UP for name in names]
        self._timer = node.create_timer(0.1, self._begin)

    def _begin(self) -> None:
        if all(client.service_is_ready() for pair in self._clients.values() for client in pair):
            self._timer.cancel()
            self._next()

    def _next(self) -> None:
        if not self._steps:
            self._node.get_logger().info('Managed nodes are active')
            return
        name, transition, goal = self._steps.pop(0)
        change_state, get_state = self._clients[name]

        def look(_) -> None:
            get_state.call_async(GetState.Request()).add_done_callback(check)

        def check(future) -> None:
            state = future.result().current_state
            assert state.id == goal, f'Failed to change state for node: {name}'
            self._next()

        request = ChangeState.Request(transition=Transition(id=transition))
        change_state.call_async(request).add_done_callback(look)


def create_node(package: str) -> Node:
    """Create the node of a package: the costmap's has a lifecycle, which the manager drives."""
    if package == 'nav2_costmap_2d':
        return LifecycleNode('costmap')
    return Node(EXECUTABLES[package])


def main(package: str) -> None:
    """Be one of the packages until told to end."""
    rclpy.init()
    node = create_node(package)
    executor = rclpy.get_global_executor()
    executor.add_node(node)
    contract = contract_of(package)
    if contract is not None:
        Subscriber(node, contract)
    if package == 'nav2_lifecycle_manager':
        Manager(node)
    if package == 'rclcpp_components':
        offer_to_load(node, executor.add_node)
    node.get_logger().info(f'{package} with {sys.argv[1:]}')
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        executor.spin()
    rclpy.try_shutdown()
