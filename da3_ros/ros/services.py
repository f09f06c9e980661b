# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The node's services."""

from collections.abc import Callable

from da3_ros.mapping.session_record import Session
from da3_ros.ros.output.save_service import SaveService
from da3_ros.ros.output.session_saver import SessionSaver
from da3_ros.ros.parameters.settings import NodeSettings
from da3_ros.ros.processing_line import ProcessingLine
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

_REFUSAL = 'the node is not active'


class Services:
    """
    Offer the services for the life of the node.

    They refuse while it is not active; what was mapped is saved as long as it is configured.
    """

    def __init__(
        self, node: Node, line: Callable[[], ProcessingLine | None], saver: SessionSaver,
        settings: Callable[[], NodeSettings],
    ) -> None:
        """
        Create the services.

        :param node: the node.
        :param line: gives what they act on, or None while the node is not configured.
        :param saver: of sessions.
        :param settings: gives the newest snapshot.
        """
        self._line = line
        node.create_service(Trigger, '~/reset', self._reset)
        node.create_service(Trigger, '~/flush', self._flush)
        node.create_service(SetBool, '~/set_paused', self._set_paused)
        SaveService(node, saver, settings=settings, session=self._session)

    def _active_line(self) -> ProcessingLine | None:
        line = self._line()
        return line if line is not None and line.is_active else None

    def _session(self) -> Session | None:
        line = self._line()
        return None if line is None else line.session()

    def _reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        line = self._active_line()
        if line is not None:
            line.reset('reset by service')
        response.success = line is not None
        response.message = 'a new world begins' if line is not None else _REFUSAL
        return response

    def _flush(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        line = self._active_line()
        if line is not None:
            line.flush()
        response.success = line is not None
        response.message = (
            'all keyframes so far will be published' if line is not None else _REFUSAL)
        return response

    def _set_paused(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        line = self._active_line()
        if line is not None:
            line.set_paused(request.data)
        response.success = line is not None
        state = 'paused' if request.data else 'running'
        response.message = state if line is not None else _REFUSAL
        return response
