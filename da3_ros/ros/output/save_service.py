# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The service that writes the session to the disk."""

from collections.abc import Callable
import functools

from da3_ros.mapping.session_record import Session
from da3_ros.ros.output.session_saver import Answer, SessionSaver
from da3_ros.ros.parameters.settings import NodeSettings
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger


class SaveService:
    """
    Have a session saved, and answer when it is done; the executor goes on meanwhile.

    One call is served at a time. What is saved is the session at the time of the call, whatever
    becomes of the node meanwhile.
    """

    def __init__(
        self, node: Node, saver: SessionSaver, *, settings: Callable[[], NodeSettings],
        session: Callable[[], Session | None],
    ) -> None:
        """
        Offer the service for the life of the node.

        :param node: the node.
        :param saver: does it.
        :param settings: gives the newest snapshot.
        :param session: gives what is to be saved, or None while the node is not configured.
        """
        self._node = node
        self._saver = saver
        self._settings = settings
        self._session = session
        self._is_saving = False
        # Of its own: while an answer is awaited, the callbacks of the node's group would wait too.
        node.create_service(
            Trigger, '~/save', self._save, callback_group=ReentrantCallbackGroup())

    async def _save(
        self, _request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        session, settings = self._session(), self._settings()
        if session is None:
            response.message = 'the node is not configured'
        elif self._is_saving:
            response.message = 'save: got a call while another is under way, expected its end'
        elif settings.save.max_keyframes == 0:
            response.message = (
                'save.max_keyframes: got 0, expected more: nothing is remembered that could be '
                'saved')
        else:
            done: Future = Future()
            self._saver.save(session, settings, functools.partial(self._answer, done))
            self._is_saving = True
            response.success, response.message = await done
            self._is_saving = False
        return response

    def _answer(self, done: Future, answer: Answer) -> None:
        done.set_result(answer)
        executor = self._node.executor
        if executor is not None:
            # It sleeps, and does not look at futures that other threads fulfil.
            executor.wake()
