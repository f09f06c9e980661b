# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The node's state on /diagnostics."""

from collections.abc import Callable, Mapping, Sequence

from da3_ros.ros.engine_loading import ModelIdentity
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.insight.health import Health, HealthReport
from da3_ros.ros.insight.latency import Latency, Stage
from da3_ros.ros.parameters.settings import NodeSettings
from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_updater import DiagnosticStatusWrapper, Updater
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

_PROBLEMS = (
    Event.EXCEPTIONS, Event.BAD_IMAGE, Event.WRONG_STAMP, Event.FOREIGN,
    Event.INFERENCE_FAILED, Event.NO_INTRINSICS, Event.UNPUBLISHED, Event.OUT_OF_MEMORY,
    Event.QUEUE_FULL, Event.BAD_CAMERA_INFO, Event.TF_MISSING, Event.TF_NOT_FINITE,
    Event.TF_CONFLICT, Event.MAP_BEHIND, Event.SAVE_FAILED, Event.LIVE_FAILED,
)
_LONG_INFERENCE_S = 30.0
_FULL_NAME = 'diagnostic_updater.use_fqn'
# What is told of every camera of a rig.
_OF_A_CAMERA = (
    Event.RECEIVED, Event.KEYFRAMES, Event.ABSENT, Event.BAD_IMAGE, Event.DUPLICATE, Event.LATE,
    Event.WRONG_STAMP, Event.FOREIGN, Event.NO_CAMERA_INFO, Event.BAD_CAMERA_INFO,
)


class Diagnostics:
    """Four statuses: the stream of images, the network, the world, the latency."""

    def __init__(
        self, node: Node, counters: Counters, health: Health, *,
        settings: Callable[[], NodeSettings], num_publishers: Callable[[], int],
        cameras: Callable[[], Mapping[str, Counters]],
        identity: Callable[[], ModelIdentity | None], busy_s: Callable[[], float],
        problems: Callable[[], Sequence[str]] = tuple,
        loading: Callable[[], str] = str,
    ) -> None:
        """
        Begin to publish, for the life of the node.

        :param node: the node.
        :param counters: of the node.
        :param health: of the node.
        :param settings: gives the newest snapshot.
        :param num_publishers: how many publish images of one camera to this node.
        :param cameras: counters of every camera by its name; none while not configured.
        :param identity: the network, or None while there is none.
        :param busy_s: how long the inference under way has taken so far.
        :param problems: what is wrong with the streams, in words.
        :param loading: what is being loaded, or nothing.
        """
        self._counters = counters
        self._health = health
        self._settings = settings
        self._num_publishers = num_publishers
        self._cameras = cameras
        self._identity = identity
        self._busy_s = busy_s
        self._problems = problems
        self._loading = loading
        self._told: dict[tuple[str, Event], int] = {}
        # Two nodes of one name are told apart by their namespaces.
        node.declare_parameter(_FULL_NAME, True, ParameterDescriptor(
            description='Name the node with its namespace on /diagnostics. Changes at start.'))
        updater = Updater(node)
        if node.get_parameter(_FULL_NAME).value:
            # The updater itself puts two slashes before a node without a namespace.
            updater.node_name = node.get_fully_qualified_name()
        updater.setHardwareID('none')
        updater.add('stream', self._stream)
        updater.add('model', self._model)
        updater.add('world', self._world)
        updater.add('latency', self._latency)

    def _stream(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        report = self._health.report()
        new = self._new_problems()
        rates_hz = {name: report.image_rates_hz.get(name, 0.0) for name in self._cameras()}
        rates = ', '.join(f'{name} {rate:.1f}'.lstrip() for name, rate in rates_hz.items())
        status.summary(DiagnosticStatus.OK, f'{rates or 0.0} images per second')
        for problem in self._problems():
            status.mergeSummary(DiagnosticStatus.WARN, problem)
        if new:
            status.mergeSummary(DiagnosticStatus.WARN, '; '.join(new))
        if self._num_publishers() > 1:
            status.mergeSummary(
                DiagnosticStatus.WARN, f'{self._num_publishers()} publishers of images')
        for name, rate_hz in rates_hz.items():
            status.add(f'{_label(name)}image rate [Hz]', f'{rate_hz:.2f}')
        for event in Event:
            status.add(event.value, str(self._counters[event]))
        for name, counters in self._cameras().items():
            for event in _OF_A_CAMERA if name else ():
                status.add(f'{_label(name)}{event.value}', str(counters[event]))
        return status

    def _new_problems(self) -> list[str]:
        """Name the problems that occurred since the last call."""
        counts = {('', event): self._counters[event] for event in _PROBLEMS}
        for name, counters in self._cameras().items():
            counts[name, Event.ABSENT] = counters[Event.ABSENT]
        new = [
            f'{_label(name)}{event.value}: {count - self._told.get((name, event), 0)}'
            for (name, event), count in counts.items() if count > self._told.get((name, event), 0)
        ]
        self._told = counts
        return new

    def _model(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        identity = self._identity()
        if identity is None:
            loading = self._loading()
            status.summary(
                DiagnosticStatus.OK, f'loading {loading}' if loading else 'not configured')
            return status
        status.summary(DiagnosticStatus.OK, f'{identity.name} on {identity.device}')
        if identity.is_random:
            status.summary(DiagnosticStatus.WARN, 'RANDOM WEIGHTS: the outputs mean nothing')
        busy_s = self._busy_s()
        if busy_s > _LONG_INFERENCE_S:
            status.mergeSummary(
                DiagnosticStatus.WARN, f'an inference has not ended for {busy_s:.0f} s')
        for name in ('name', 'weights', 'licence', 'device'):
            status.add(name, getattr(identity, name))
        status.add('times that memory was short', str(identity.num_shortages()))
        window = self._health.report().window
        if window is not None:
            if window.max_views < identity.num_views:
                status.mergeSummary(
                    DiagnosticStatus.WARN, f'memory is short: {window.max_views} views at most')
            status.add('views of the last window', str(window.num_views))
            status.add('new views of the last window', str(window.num_new))
            status.add('views that fit', str(window.max_views))
            status.add('views in time', str(window.paced_views))
            status.add('inference [s]', f'{window.inference_s:.3f}')
        return status

    def _world(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        report = self._health.report()
        settings = self._settings()
        status.summary(DiagnosticStatus.OK, _metres(report, is_set=settings.wants_no_metres))
        if report.is_metric is None:
            status.summary(DiagnosticStatus.OK, 'no keyframe yet')
        elif not report.is_metric and not settings.wants_no_metres:
            status.summary(DiagnosticStatus.WARN, (
                'not metric: positions do not fit the robot in metres' if settings.tf.is_of_a_robot
                else _metres(report)))
        _add_window(status, report)
        return status

    def _latency(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        report = self._health.report()
        status.summary(DiagnosticStatus.OK, 'no keyframe yet')
        for latency in report.latencies:
            if latency.stage is Stage.TOTAL and latency.is_of_one_clock:
                status.summary(
                    DiagnosticStatus.OK, f'{latency.median_s:.2f} s from stamp to publication')
            _add_latency(status, latency, latency.stage.value)
        for latency in report.live_latencies:
            _add_latency(status, latency, f'live: {latency.stage.value}')
        return status


def _label(camera: str) -> str:
    return f'{camera}: ' if camera else ''


def _add_latency(status: DiagnosticStatusWrapper, latency: Latency, name: str) -> None:
    if not latency.is_of_one_clock:
        status.add(name, 'unknown: the stamps are of another clock (use_sim_time?)')
        return
    status.add(f'{name}: median [s]', f'{latency.median_s:.4f}')
    status.add(f'{name}: 95 % [s]', f'{latency.p95_s:.4f}')
    status.add(f'{name}: max [s]', f'{latency.max_s:.4f}')


def _metres(report: HealthReport, *, is_set: bool = False) -> str:
    """Say whether lengths are metres, and whether there are poses."""
    has_poses = report.window is None or report.window.placement.window is not None
    without = 'not metres, as set (scale.source: none)' if is_set else 'not metric'
    if has_poses:
        return 'metric' if report.is_metric else without
    if report.is_metric:
        return 'metric, without poses'
    return f'{without}: every window has a unit of its own; without poses'


def _add_window(status: DiagnosticStatusWrapper, report: HealthReport) -> None:
    window = report.window
    if window is None:
        return
    placement = window.placement
    if placement.window is not None:
        status.add('segment', str(window.segment))
    status.add('scale [m per unit of the windows]', f'{placement.scale.metres_per_unit:.4f}')
    status.add('relative sigma of the scale', f'{placement.scale.sigma:.4f}')
    if placement.rejection is not None:
        status.mergeSummary(
            DiagnosticStatus.WARN, f'the last window could not be joined: {placement.rejection}')
    if placement.tied_segment is not None:
        status.add('joined to segment', str(placement.tied_segment))
    if window.alignment is not None:
        alignment = window.alignment
        status.add('residual of the last join', f'{alignment.residual:.4f}')
        status.add('inlier share of the last join', f'{alignment.inlier_share:.3f}')
