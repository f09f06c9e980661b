# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The lifecycle node: wiring, and nothing else."""

from collections.abc import Callable, Sequence
import contextlib
import functools
import time
import traceback

from da3_ros.errors import Da3Error
from da3_ros.model.hub import Report
from da3_ros.ros.engine_loading import load_engine, LoadedEngine, ModelIdentity
from da3_ros.ros.insight.counters import Counters
from da3_ros.ros.insight.diagnostics import Diagnostics
from da3_ros.ros.insight.health import Health
from da3_ros.ros.insight.log_bridge import LogBridge
from da3_ros.ros.insight.status import StatusPublisher
from da3_ros.ros.loading import Loading
from da3_ros.ros.output.session_saver import SessionSaver
from da3_ros.ros.parameters.settings import NodeSettings
from da3_ros.ros.parameters.snapshot import NodeParameters
from da3_ros.ros.parameters.start_values import describe_unused_qos
from da3_ros.ros.process import run
from da3_ros.ros.processing_line import ProcessingLine
from da3_ros.ros.services import Services
from da3_ros.ros.transitions import Transitions
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

_SUCCESS = TransitionCallbackReturn.SUCCESS
_FAILURE = TransitionCallbackReturn.FAILURE
_CLEANUP_TIMEOUT_S = 60.0
# Five seconds after a SIGINT launch sends a SIGTERM: this for what is computed, and meanwhile a
# session may be saved; then what is left of it is taken away.
_EXIT_TIMEOUT_S = 2.0
_EXIT_SAVE_S = 3.0
_EXIT_TIDY_S = 1.0
_CLOSING_STEP_S = 0.2

Transition = Callable[['Da3Node', LifecycleState], TransitionCallbackReturn]


def _reported(transition: Transition) -> Transition:
    """Log what a transition raises, which rclpy swallows, and let it fail."""
    @functools.wraps(transition)
    def run(node: 'Da3Node', state: LifecycleState) -> TransitionCallbackReturn:
        name = transition.__name__
        try:
            return transition(node, state)
        except (Da3Error, ValueError) as error:
            node.get_logger().error(f'{name}: {error}')
        except Exception:
            node.get_logger().error(f'{name}: unexpected error\n{traceback.format_exc()}')
        return _FAILURE
    return run


class Da3Node(LifecycleNode):
    """
    Depth, points and poses of a camera's images.

    ``configure`` loads the network, ``activate`` subscribes, ``deactivate`` stops at once,
    ``cleanup`` frees the GPU. All callbacks run in one thread, loading and inference in others.
    """

    def __init__(
        self, *, engine_loader: Callable[[NodeSettings], LoadedEngine] | None = None
    ) -> None:
        """
        Create the node, unconfigured.

        :param engine_loader: gives the engine that settings ask for; None: the network's.
        """
        super().__init__('da3')
        self._engine_loader = engine_loader
        self._is_interrupted = False
        self._has_been_active = False
        self._log_bridge = LogBridge(self.get_logger())
        self._counters = Counters()
        self._health = Health(lambda: self.get_clock().now().nanoseconds)
        self._line: ProcessingLine | None = None
        self._loading: Loading | None = None
        self._params = NodeParameters(
            self, is_configured=lambda: self._line is not None or self._loading is not None)
        Diagnostics(
            self, self._counters, self._health,
            settings=lambda: self._params.settings,
            num_publishers=lambda: self._line.num_image_publishers if self._line else 0,
            cameras=lambda: self._line.camera_counters if self._line else {},
            identity=self._identity,
            busy_s=lambda: self._line.busy_s if self._line else 0.0,
            problems=self._problems,
            loading=self._loading_text,
        )
        self._transitions = Transitions(self, self._load)
        StatusPublisher(
            self, self._counters, self._health, state=lambda: self._transitions.state,
            problems=self._problems, settings=lambda: self._params.settings,
            loading=self._loading_text)
        self._saver = SessionSaver(self._counters, lambda: self._params.settings)
        Services(self, lambda: self._line, self._saver, lambda: self._params.settings)
        if self.get_parameter('autostart').value:
            # The steady clock: simulated time may not have begun.
            self._autostart_timer = self.create_timer(
                0.0, self._autostart, callback_group=self._transitions.callbacks,
                clock=Clock(clock_type=ClockType.STEADY_TIME))
        else:
            self.get_logger().info('unconfigured, and autostart is false: waiting for configure')

    @_reported
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """
        Create the outputs, and the engine where it was not loaded before the transition.

        :param state: before.
        """
        loading, self._loading = self._loading, None
        loaded = self._engine(self._params.read()) if loading is None else loading.result()
        if self._is_interrupted:
            return _FAILURE
        self._line = ProcessingLine(
            self, loaded, settings=lambda: self._params.settings, counters=self._counters,
            health=self._health, on_session_end=self._saver.session_ended,
        )
        identity = loaded.identity
        self.get_logger().info(f'configured: {identity.name} on {identity.device}')
        return super().on_configure(state)

    @_reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """
        Subscribe.

        :param state: before.
        """
        assert self._line is not None
        result = super().on_activate(state)
        self._line.activate()
        self._tell_of_unused_qos()
        self.get_logger().info(f'active: waiting for {", ".join(self._line.image_topics)}')
        return result

    @_reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """
        Stop receiving and publishing; an inference that is under way ends by itself.

        :param state: before.
        """
        assert self._line is not None
        self._line.deactivate()
        self.get_logger().info('inactive')
        return super().on_deactivate(state)

    @_reported
    def on_cleanup(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """
        Give everything back.

        :param _state: before.
        """
        return self._close_line(_CLEANUP_TIMEOUT_S)

    @_reported
    def on_shutdown(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """
        Give everything back, from any state.

        :param _state: before.
        """
        if self._loading is not None:
            self._loading.give_up()
        return self._close_line(_CLEANUP_TIMEOUT_S)

    @_reported
    def on_error(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """
        Give everything back, so that the node can be configured again.

        :param _state: before.
        """
        return self._close_line(_CLEANUP_TIMEOUT_S)

    def interrupt(self) -> None:
        """Wait no longer for what takes long; from a signal's handler."""
        self._is_interrupted = True

    def close(self) -> bool:
        """
        Give everything back before the node is destroyed.

        :returns: False if an engine is still being loaded, an inference is under way, or a
            session is still being written.
        """
        deadline_s = time.monotonic() + _EXIT_SAVE_S + _EXIT_TIDY_S
        self._saver.end(_EXIT_SAVE_S)
        is_done = self._close_line(_EXIT_TIMEOUT_S) == _SUCCESS
        is_done = self._saver.close(max(deadline_s - time.monotonic(), 0.0)) and is_done
        is_done = is_done and not (self._loading is not None and self._loading.is_alive)
        self._log_bridge.detach()
        return is_done

    def _close_line(self, timeout_s: float) -> TransitionCallbackReturn:
        deadline_s = time.monotonic() + timeout_s
        was_interrupted = self._is_interrupted
        while self._line is not None:
            if self._line.close(min(timeout_s, _CLOSING_STEP_S)):
                self._line = None
            elif self._is_interrupted and not was_interrupted:
                return _FAILURE
            elif time.monotonic() >= deadline_s:
                self._tell_of_inference(timeout_s)
                return _FAILURE
        return _SUCCESS

    def _tell_of_inference(self, timeout_s: float) -> None:
        text = f'the inference under way did not end within {timeout_s} s'
        if self._is_interrupted:
            self.get_logger().info(text)
        else:
            self.get_logger().error(text)

    def _tell_of_unused_qos(self) -> None:
        """Once: all topics exist now, and those that can be overridden have said so."""
        unused = '' if self._has_been_active else describe_unused_qos(self)
        self._has_been_active = True
        if unused:
            self.get_logger().warning(f'qos_overrides that no topic takes, ignored: {unused}')

    def _problems(self) -> Sequence[str]:
        return self._line.problems if self._line else ()

    def _loading_text(self) -> str:
        """Say what is being loaded; empty if nothing is."""
        return self._loading.text if self._loading and self._transitions.may_configure else ''

    async def _load(self) -> bool:
        """
        Load the engine for configure; whoever comes meanwhile waits for the same one.

        :returns: whether it is the caller who configures.
        """
        if self._loading is None:
            with contextlib.suppress(ValueError):
                settings = self._params.read()
                self.get_logger().info(f'loading {settings.model.name}')
                self._loading = Loading(
                    self, settings.model.name, lambda report: self._engine(settings, report))
        loading = self._loading
        if loading is not None:
            await loading.is_over
        # Where parameters are wrong, configure says so.
        return loading is self._loading

    def _engine(self, settings: NodeSettings, report: Report | None = None) -> LoadedEngine:
        if self._engine_loader is not None:
            return self._engine_loader(settings)
        return load_engine(settings, report=report)

    def _identity(self) -> ModelIdentity | None:
        return None if self._line is None else self._line.identity

    async def _autostart(self) -> None:
        self._autostart_timer.cancel()
        if not await self._transitions.bring_up() and not self._is_interrupted:
            self.get_logger().error(
                'autostart failed; when the cause is mended: ros2 lifecycle set '
                f'{self.get_fully_qualified_name()} configure, and activate')


def main(args: Sequence[str] | None = None) -> None:
    """
    Run the node.

    :param args: of the command line.
    """
    run(Da3Node, args)


if __name__ == '__main__':
    main()
