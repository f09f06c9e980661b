# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The way into the node's lifecycle, for the service and for the node itself."""

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

# From here on they are the ends of transitions, which the node reports and nobody asks for.
_FIRST_INTERNAL = Transition.TRANSITION_ON_CONFIGURE_SUCCESS


class Transitions:
    """
    Refuse what the state does not allow.

    rclpy raises there, through the executor, which ends the process; rclcpp answers no. It comes
    about without anybody's fault, when a manager configures a node that has brought itself up.
    """

    def __init__(self, node: LifecycleNode) -> None:
        """
        Answer the node's service from now on.

        :param node: the node.
        """
        self._node = node
        # rclpy has no public way to the service, nor to the states.
        service = node._service_change_state
        self._change_state = service.callback
        service.callback = self._answer
        self._machine = node._state_machine

    def bring_up(self) -> bool:
        """
        Configure and activate.

        :returns: whether the node is active or, brought up by somebody else, will be.
        """
        for trigger in (self._node.trigger_configure, self._node.trigger_activate):
            try:
                if trigger() != TransitionCallbackReturn.SUCCESS:
                    return False
            except RuntimeError:
                self._node.get_logger().info('somebody else brings the node up: autostart ends')
                return True
        return True

    def _answer(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        if self._is_possible(request.transition):
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
