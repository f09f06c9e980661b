# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""An output that is kept for those who come later, and costs nothing until they come."""

from collections.abc import Callable
import threading
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks
from rclpy.lifecycle import LifecyclePublisher


class KeptOutput:
    """
    Send the newest message to who listens, and to who begins to.

    The middleware alone would keep it as well, but only what was sent: a path of a thousand poses
    costs as much as all images of a keyframe, and usually nobody looks at it.
    """

    def __init__(self, create: Callable[[PublisherEventCallbacks], LifecyclePublisher]) -> None:
        """
        Create the publisher.

        :param create: it, transient local, with these callbacks.
        """
        self._lock = threading.Lock()
        self._unsent: Any = None
        self.publisher = create(PublisherEventCallbacks(matched=lambda _: self._send()))

    def publish(self, message: object) -> None:
        """
        Send a message, now or when somebody listens, unless there is a newer one by then.

        :param message: the newest.
        """
        with self._lock:
            self._unsent = message
        self._send()

    def _send(self) -> None:
        with self._lock:
            if self._unsent is not None and self.publisher.get_subscription_count() > 0:
                message, self._unsent = self._unsent, None
                self.publisher.publish(message)
