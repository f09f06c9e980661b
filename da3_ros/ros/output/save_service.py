# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The service that writes the session to the disk."""

from collections.abc import Callable
import logging
import threading

from da3_ros.errors import SaveError
from da3_ros.export.save import save_session
from da3_ros.mapping.session_record import Session
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.parameters.settings import NodeSettings
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

_logger = logging.getLogger(__name__)

_MIB = 2**20


class SaveService:
    """
    Save in a thread, and answer when it is done; the executor goes on meanwhile.

    One session is saved at a time. What is saved is the session at the time of the call, whatever
    becomes of the node meanwhile.
    """

    def __init__(
        self, node: Node, counters: Counters, *, settings: Callable[[], NodeSettings],
        session: Callable[[], Session | None],
    ) -> None:
        """
        Offer the service for the life of the node.

        :param node: the node.
        :param counters: of the node.
        :param settings: gives the newest snapshot.
        :param session: gives what is to be saved, or None while the node is not configured.
        """
        self._node = node
        self._counters = counters
        self._settings = settings
        self._session = session
        self._is_ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_saving = False
        # Of its own: while an answer is awaited, the callbacks of the node's group would wait too.
        node.create_service(
            Trigger, '~/save', self._save, callback_group=ReentrantCallbackGroup())

    def close(self, timeout_s: float) -> None:
        """
        Give up a saving that is under way.

        :param timeout_s: longest wait until nothing of it is left on the disk.
        """
        self._is_ending.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

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
            self._thread = threading.Thread(
                target=self._run, args=(session, settings, done), name='da3_save', daemon=True)
            self._thread.start()
            self._is_saving = True
            response.success, response.message = await done
            self._is_saving = False
        return response

    def _run(self, session: Session, settings: NodeSettings, done: Future) -> None:
        try:
            answer = (True, self._written(session, settings))
            self._counters.add(Event.SAVED)
            _logger.info(answer[1])
        except SaveError as error:
            answer = (False, str(error))
            self._counters.add(Event.SAVE_FAILED)
            _logger.error(answer[1])
        except Exception as error:
            # A fault in a format must not leave the caller without an answer.
            answer = (False, f'save: unexpected error: {error}')
            self._counters.add(Event.EXCEPTIONS)
            _logger.exception('save: unexpected error')
        done.set_result(answer)
        executor = self._node.executor
        if executor is not None:
            # It sleeps, and does not look at futures that other threads fulfil.
            executor.wake()

    def _written(self, session: Session, settings: NodeSettings) -> str:
        saved = save_session(
            session, settings.save.folder, frozenset(settings.save.formats), settings.map,
            settings.grid, is_cancelled=self._is_ending.is_set)
        return (f'{saved.num_keyframes} keyframes and {saved.num_poses} poses saved to '
                f'{saved.path} ({saved.num_bytes / _MIB:.1f} MiB)')
