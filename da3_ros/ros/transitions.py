# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The way into the node's lifecycle, for the service and for the node itself."""

from collections.abc import Awaitable, Callable

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

# From here on they are the ends of transitions, which the node reports and nobody asks for.
_FIRST_INTERNAL = Transition.TRANSITION_ON_CONFIGURE_SUCCESS
_CONFIGURE = Transition(id=Transition.TRANSITION_CONFIGURE)


class Transitions:
    """
    Refuse what the state does not allow.

    rclpy raises there, through the executor, which ends the process; rclcpp answers no. It comes
    about without anybody's fault, when a manager configures a node that has brought itself up.

    What takes long is done before a transition, while the node is in the state before it: rclpy
    runs a transition in one piece, and no other callback meanwhile.
    """

    def __init__(self, node: LifecycleNode, prepare: Callable[[], Awaitable[bool]]) -> None:
        """
        Answer the node's service from now on.

        :param node: the node.
        :param prepare: does what configure needs and takes long; tells whether it may begin.
        """
        self.callbacks = ReentrantCallbackGroup()
        """Those that wait for a transition, while others go on, in the same thread."""
        self._node = node
        self._prepare = prepare
        # rclpy has no public way to the service, nor to the states.
        service = node._service_change_state
        self._change_state = service.callback
        service.callback = self._answer
        service.callback_group = self.callbacks
        self.callbacks.add_entity(service)
        self._machine = node._state_machine

    @property
    def state(self) -> str:
        """Name the state of the node."""
        _, label = self._machine.current_state
        return str(label)

    @property
    def may_configure(self) -> bool:
        """Tell whether the state allows to configure."""
        return self._is_possible(_CONFIGURE)

    async def bring_up(self) -> bool:
        """
        Configure and activate.

        :returns: whether the node is active or, brought up by somebody else, will be.
        """
        if self.may_configure and not await self._prepare():
            return True
        for trigger in (self._node.trigger_configure, self._node.trigger_activate):
            try:
                if trigger() != TransitionCallbackReturn.SUCCESS:
                    return False
            except RuntimeError:
                self._node.get_logger().info('somebody else brings the node up: autostart ends')
                return True
        return True

    async def _answer(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        wanted = request.transition
        may_begin = self._is_possible(wanted)
        if may_begin and _is_configure(wanted):
            may_begin = await self._prepare()
        if may_begin and self._is_possible(wanted):
            return self._change_state(request, response)
        response.success = False
        self._node.get_logger().warning(self._refusal(request.transition))
        return response

    def _is_possible(self, wanted: Transition) -> bool:
        # As in rclpy and rclcpp, a label goes first.
        return any(
            wanted.label == label if wanted.label else wanted.id == number
            for number, label in self._possible())

    def _possible(self) -> list[tuple[int, str]]:
        """List what may be asked for in this state."""
        return [(number, label) for number, label, *_ in self._machine.available_transitions
                if number < _FIRST_INTERNAL]

    def _refusal(self, wanted: Transition) -> str:
        expected = ', '.join(f'{label} ({number})' for number, label in self._possible())
        return (
            f'transition refused: got {wanted.label or wanted.id} in state '
            f'{self._machine.current_state[1]}, expected {expected or "none in this state"}')


def _is_configure(wanted: Transition) -> bool:
    return wanted.label == 'configure' if wanted.label else wanted.id == _CONFIGURE.id
