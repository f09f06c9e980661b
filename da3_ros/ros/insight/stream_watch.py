# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Say what is wrong where an active node receives nothing, or nothing that it can use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
import time
from typing import Any

from da3_ros.mapping.keyframe import NS_PER_S
from da3_ros.ros.conversions import stamp_ns
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.insight.health import Health
from da3_ros.ros.insight.latency import MAX_AGE_S
from da3_ros.ros.insight.publishers import explain_silence, Input
from rclpy.node import Node
from rclpy.subscription import Subscription

_SILENCE_S = 5.0
# Told again after a minute, then ever more seldom.
_AGAIN_S = 60.0
_NUM_EQUAL = 10


@dataclass
class _Stream:
    """
    What came on a topic.

    :param is_image: images, as against CameraInfo.
    :param begun_s: since when it is listened to.
    :param input: the topic, and what the node asks of it; None until there is a subscription.
    :param heard_s: when the last message came, or None.
    :param stamp_ns: of that message.
    :param num_equal: messages in a row with that stamp.
    """

    is_image: bool
    begun_s: float
    input: Input | None = None  # noqa: A003
    heard_s: float | None = None
    stamp_ns: int = 0
    num_equal: int = 0


@dataclass
class _Told:
    """
    A problem that is in the log.

    :param at_s: when it was told last.
    :param pause_s: so long it is not told again.
    """

    at_s: float
    pause_s: float = field(default=_AGAIN_S)


class StreamWatch:
    """
    Look at the streams of an active node, once per second.

    Everything runs in the executor's thread.
    """

    def __init__(
        self, node: Node, counters: Counters, cameras: Mapping[str, Counters], health: Health, *,
        tolerance_s: float, now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Listen to nothing yet.

        :param node: the node.
        :param counters: of the node.
        :param cameras: counters of every camera by its name.
        :param health: of the node.
        :param tolerance_s: images of two cameras that are this close belong to one instant.
        :param now_s: tells real time.
        """
        self._node = node
        self._counters = counters
        self._cameras = cameras
        self._health = health
        self._tolerance_s = tolerance_s
        self._now_s = now_s
        self._streams: dict[tuple[str, bool], _Stream] = {}
        self._told: dict[str, _Told] = {}
        self._counts = {event: counters[event] for event in Event}
        self._num_absent = {name: each[Event.ABSENT] for name, each in cameras.items()}
        self.problems: tuple[str, ...] = ()

    def heard(
        self, camera: str, callback: Callable[[Any], None], *, is_image: bool
    ) -> Callable[[Any], None]:
        """
        Watch over a topic.

        :param camera: name of the camera.
        :param callback: of the subscription.
        :param is_image: whether images come there, or CameraInfo.
        :returns: the callback to subscribe with.
        """
        stream = self._streams[camera, is_image] = _Stream(is_image, self._now_s())

        def note(message: Any) -> None:
            time_ns = stamp_ns(message.header.stamp)
            stream.num_equal = stream.num_equal + 1 if time_ns == stream.stamp_ns else 1
            stream.heard_s, stream.stamp_ns = self._now_s(), time_ns
            callback(message)

        return note

    def begin(self, camera: str, subscription: Subscription, *, is_image: bool) -> None:
        """
        Take note of a subscription.

        :param camera: name of the camera.
        :param subscription: with the callback from ``heard``.
        :param is_image: as there.
        """
        self._streams[camera, is_image].input = Input.of(subscription)

    def look(self) -> None:
        """Find what is wrong, and say so in the log where it is new or lasts."""
        now_s = self._now_s()
        found: dict[str, str] = {}
        for stream in self._streams.values():
            if stream.input is not None:
                found |= (self._silence(stream, stream.input, now_s)
                          or self._stamps(stream, stream.input.topic))
        found |= self._drops() | self._absence()
        self.problems = tuple(found.values())
        for key, text in found.items():
            told = self._told.get(key)
            if told is None:
                self._told[key] = _Told(now_s)
            elif now_s - told.at_s >= told.pause_s:
                self._told[key] = _Told(now_s, 2.0 * told.pause_s)
            else:
                continue
            self._node.get_logger().warning(text)
        for key in self._told.keys() - found.keys():
            # What comes and goes is not told each time.
            if now_s - self._told[key].at_s >= self._told[key].pause_s:
                del self._told[key]

    def _silence(self, stream: _Stream, input_: Input, now_s: float) -> dict[str, str]:
        since_s = stream.begun_s if stream.heard_s is None else stream.heard_s
        is_latched = not stream.is_image and stream.heard_s is not None
        if now_s - since_s < _SILENCE_S or is_latched:
            return {}
        what = 'image' if stream.is_image else 'CameraInfo'
        wait = f'no {what} on {input_.topic} for {now_s - since_s:.0f} s'
        return {f'silence {input_.topic}': f'{wait}: {explain_silence(self._node, input_)}'}

    def _stamps(self, stream: _Stream, topic: str) -> dict[str, str]:
        if stream.heard_s is None or not stream.is_image:
            return {}
        if stream.num_equal >= _NUM_EQUAL:
            return {f'stamps {topic}': (
                f'all stamps on {topic} are {stream.stamp_ns / NS_PER_S:g} s: images are told '
                'apart by their stamps, so all but the first are dropped; the driver must set '
                'header.stamp')}
        age_s = (self._node.get_clock().now().nanoseconds - stream.stamp_ns) / NS_PER_S
        if abs(age_s) <= MAX_AGE_S:
            return {}
        side = 'behind' if age_s > 0.0 else 'ahead of'
        return {f'stamps {topic}': (
            f'stamps on {topic} are {_duration(abs(age_s))} {side} the clock of the node: replay '
            'bags with --clock and use_sim_time: true, or synchronise the clocks')}

    def _drops(self) -> dict[str, str]:
        num = self._counters[Event.QUEUE_FULL] - self._counts[Event.QUEUE_FULL]
        self._counts[Event.QUEUE_FULL] += num
        if not num:
            return {}
        return {'drops': (
            'keyframes are dropped: they come faster than they are inferred; raise '
            'keyframe.min_interval_s, or lower window.size or preprocess.size')}

    def _absence(self) -> dict[str, str]:
        """Name the cause where the images of free-running cameras do not fall together."""
        found = {}
        rates_hz = self._health.report().image_rates_hz
        for name, counters in self._cameras.items():
            num = counters[Event.ABSENT] - self._num_absent[name]
            self._num_absent[name] += num
            half_period_s = 0.5 / rates_hz[name] if rates_hz.get(name, 0.0) > 0.0 else 0.0
            if num and self._tolerance_s < half_period_s < 1.0:
                found[f'absence {name}'] = (
                    f'camera {name} is missing in instants: camera.sync_tolerance_s '
                    f'{self._tolerance_s:g} s is below half the period of its images '
                    f'({half_period_s:.3f} s), too little for cameras that run free; raise it, or '
                    'trigger the cameras together')
        return found


def _duration(seconds: float) -> str:
    return f'{seconds / 86400.0:.1f} days' if seconds > 86400.0 else f'{seconds / 3600.0:.1f} h'
