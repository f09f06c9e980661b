# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The node's state on ~/status, for programs."""

from collections.abc import Callable, Sequence

from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.insight.health import Health
from da3_ros.ros.insight.latency import Stage
from da3_ros.ros.parameters.settings import NodeSettings
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

_PERIOD_S = 1.0


class StatusPublisher:
    """
    Publish what has changed, for those who come later too, in every lifecycle state.

    The type is a standard one: a package of Python alone cannot bring its own.
    """

    def __init__(
        self, node: Node, counters: Counters, health: Health, *, state: Callable[[], str],
        problems: Callable[[], Sequence[str]], settings: Callable[[], NodeSettings],
        loading: Callable[[], str],
    ) -> None:
        """
        Begin, for the life of the node.

        :param node: the node.
        :param counters: of the node.
        :param health: of the node.
        :param state: names the state of the node's lifecycle.
        :param problems: what is wrong with the streams, in words.
        :param settings: gives the newest snapshot.
        :param loading: what is being loaded, or nothing.
        """
        self._counters = counters
        self._health = health
        self._state = state
        self._problems = problems
        self._settings = settings
        self._loading = loading
        self._name = node.get_fully_qualified_name()
        self._last: DiagnosticStatus | None = None
        self._publisher = node.create_publisher(
            DiagnosticStatus, '~/status',
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        # The steady clock: simulated time may stand still.
        node.create_timer(
            _PERIOD_S, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _publish(self) -> None:
        status = self._status()
        if status != self._last:
            self._last = status
            self._publisher.publish(status)

    def _status(self) -> DiagnosticStatus:
        loading, problems = self._loading(), list(self._problems())
        state = 'loading' if loading else self._state()
        values = {'state': state} | self._world() | self._counts()
        if values['metric'] == 'false' and not self._settings().wants_no_metres:
            problems.append('lengths are not metres')
        return DiagnosticStatus(
            level=DiagnosticStatus.WARN if problems else DiagnosticStatus.OK,
            name=self._name, hardware_id='none',
            message='; '.join([f'{state} {loading}'.rstrip(), *problems]),
            values=[KeyValue(key=key, value=value) for key, value in values.items()])

    def _world(self) -> dict[str, str]:
        """Tell of the last window; what is not known yet is empty."""
        report = self._health.report()
        window = report.window
        total = [each for each in report.latencies
                 if each.stage is Stage.TOTAL and each.is_of_one_clock]
        scale = None if window is None else window.placement.scale
        return {
            'metric': '' if report.is_metric is None else str(report.is_metric).lower(),
            'scale': '' if scale is None else f'{scale.metres_per_unit:.6g}',
            'scale_sigma': '' if scale is None else f'{scale.sigma:.4f}',
            'segment': '' if window is None else str(window.segment),
            'window_views': '' if window is None else str(window.num_views),
            'window_max_views': '' if window is None else str(window.max_views),
            'inference_s': '' if window is None else f'{window.inference_s:.3f}',
            'latency_s': f'{total[0].median_s:.2f}' if total else '',
        }

    def _counts(self) -> dict[str, str]:
        """Count; what was dropped, by its reason."""
        events = {
            'sessions': Event.SESSIONS, 'images': Event.RECEIVED, 'keyframes': Event.KEYFRAMES,
            'published': Event.PUBLISHED,
        } | {
            f'dropped.{event.name.lower()}': event for event in Event
            if event.value.startswith('dropped ')
        }
        return {key: str(self._counters[event]) for key, event in events.items()}
