# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""CameraInfo of publishers that send it once and keep it for whom comes later."""

from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo

_PERIOD_S = 0.5


class KeptCameraInfo:
    """
    A second subscription to CameraInfo, made when a publisher is found that keeps messages.

    Only a subscription that asks for what was kept gets it, and every publisher that keeps nothing
    warns of such a subscription: so that there is none without need.
    """

    def __init__(self, node: Node, topic: str, callback: Callable[[CameraInfo], None]) -> None:
        """
        Look for such publishers from now on.

        :param node: being activated.
        :param topic: full name.
        :param callback: gets every calibration.
        """
        self._node = node
        self._topic = topic
        self._callback = callback
        self._subscription: Subscription | None = None
        # The steady clock: simulated time may not have begun.
        self._timer = node.create_timer(
            _PERIOD_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._look()

    def close(self) -> None:
        """Stop looking and listening."""
        self._node.destroy_timer(self._timer)
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)

    def _look(self) -> None:
        kept = DurabilityPolicy.TRANSIENT_LOCAL
        if not any(info.qos_profile.durability == kept
                   for info in self._node.get_publishers_info_by_topic(self._topic)):
            return
        self._timer.cancel()
        self._subscription = self._node.create_subscription(
            CameraInfo, self._topic, self._callback, QoSProfile(depth=1, durability=kept),
            # Others on the topic may not fit it, and that is no fault.
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False))
