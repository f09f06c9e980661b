# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Who publishes what on the topics that the node listens to, and why nothing of it arrives."""

from contextlib import suppress
from dataclasses import dataclass
from difflib import SequenceMatcher

from rclpy.node import Node, NodeNameNonExistentError
from rclpy.qos import qos_check_compatible, QoSCompatibility, QoSProfile
from rclpy.subscription import Subscription

_IMAGE = 'sensor_msgs/msg/Image'
_COMPRESSED = 'sensor_msgs/msg/CompressedImage'
_SUFFIX = '/compressed'
_MAX_HINTS = 4


@dataclass(frozen=True)
class Input:
    """
    A topic that the node listens to.

    :param topic: its full name.
    :param type_name: of its messages, such as ``sensor_msgs/msg/Image``.
    :param qos: of the subscription.
    """

    topic: str
    type_name: str
    qos: QoSProfile

    @classmethod
    def of(cls, subscription: Subscription) -> 'Input':
        """
        Describe a subscription.

        :param subscription: of the node.
        """
        message = subscription.msg_type
        package = message.__module__.partition('.')[0]
        return cls(
            subscription.topic_name, f'{package}/msg/{message.__name__}',
            subscription.qos_profile)

    @property
    def is_image(self) -> bool:
        """Tell images from CameraInfo."""
        return self.type_name in (_IMAGE, _COMPRESSED)


def explain_silence(node: Node, input_: Input) -> str:
    """
    Say why nothing arrives on a topic, and what could be done.

    :param node: that listens.
    :param input_: the topic.
    """
    reasons = []
    for info in node.get_publishers_info_by_topic(input_.topic):
        name = _full_name(info.node_namespace, info.node_name)
        compatibility, reason = qos_check_compatible(info.qos_profile, input_.qos)
        if info.topic_type != input_.type_name:
            reasons.append(f'{name} publishes {info.topic_type}, expected {input_.type_name}')
        elif compatibility == QoSCompatibility.ERROR:
            what = reason.strip().removeprefix('ERROR: ').rstrip('.;')
            reasons.append(
                f'the QoS of {name} does not fit ({what}); set '
                f'qos_overrides.{input_.topic}.subscription')
        else:
            reasons.append(f'{name} publishes there, but sends nothing')
    hints = [hint for hint in (_transport_hint(node, input_), _similar(node, input_)) if hint]
    return '; '.join([*(reasons or ['nobody publishes there']), *hints])


def _transport_hint(node: Node, input_: Input) -> str:
    """Point to the same images on their other transport."""
    if not input_.is_image:
        return ''
    is_raw = input_.type_name == _IMAGE
    other = f'{input_.topic}{_SUFFIX}' if is_raw else input_.topic.removesuffix(_SUFFIX)
    wanted = _COMPRESSED if is_raw else _IMAGE
    if not node.count_publishers(other) or not any(
            name == other and wanted in types for name, types in node.get_topic_names_and_types()):
        return ''
    return f'{other} is there: set camera.transport: {"compressed" if is_raw else "raw"}'


def _similar(node: Node, input_: Input) -> str:
    """List topics of the right type that somebody else publishes, the most similar first."""
    own = f'{node.get_fully_qualified_name()}/'
    others = [
        name for name, types in node.get_topic_names_and_types()
        if input_.type_name in types and name != input_.topic and not name.startswith(own)
        and node.count_publishers(name)]
    others.sort(key=lambda name: -SequenceMatcher(None, name, input_.topic).ratio())
    if not others:
        return ''
    names = ', '.join(f'{name} ({_publisher(node, name)})' for name in others[:_MAX_HINTS])
    return f'did you mean {names}?'


def _publisher(node: Node, topic: str) -> str:
    # rclpy asks for the publishers of a topic by its name after remapping; this one is not ours.
    for name, namespace in node.get_node_names_and_namespaces():
        with suppress(NodeNameNonExistentError):
            if topic in dict(node.get_publisher_names_and_types_by_node(name, namespace)):
                return _full_name(namespace, name)
    return 'an unknown node'


def _full_name(namespace: str, name: str) -> str:
    if 'UNKNOWN' in name:
        # What the middleware says of a node that it has not discovered yet.
        return 'an unknown node'
    return f'{namespace.rstrip("/")}/{name}'
