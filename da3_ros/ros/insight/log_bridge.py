# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Bring the log of the layers below into ROS's."""

import logging

from da3_ros.ros.insight.repetition import Repetition, with_count
from rclpy.impl.rcutils_logger import RcutilsLogger

_PACKAGE = 'da3_ros'


class LogBridge(logging.Handler):
    """
    Hand records of the package's Python loggers to a node's logger.

    ROS decides about severities, so that ``--log-level`` holds for all. Lines that come again and
    again, with other numbers, are told ever more seldom; ``debug`` shows each of them.
    """

    def __init__(self, logger: RcutilsLogger, repetition: Repetition | None = None) -> None:
        """
        Attach to the package's logger.

        :param logger: of the node.
        :param repetition: decides which lines are told; None: one that goes by real time.
        """
        super().__init__(logging.DEBUG)
        self._ros_logger = logger
        self._repetition = Repetition() if repetition is None else repetition
        package = logging.getLogger(_PACKAGE)
        package.addHandler(self)
        package.setLevel(logging.DEBUG)
        package.propagate = False

    def detach(self) -> None:
        """Stop handing over; needed before the node is destroyed."""
        package = logging.getLogger(_PACKAGE)
        package.removeHandler(self)
        # What others in this process made of the package's log holds again.
        package.propagate = not any(isinstance(h, LogBridge) for h in package.handlers)

    def emit(self, record: logging.LogRecord) -> None:
        """
        Log one record.

        One call per severity: rclpy refuses a call site whose severity changes.

        :param record: of a Python logger.
        """
        text = self.format(record)
        num_held = 0 if record.levelno < logging.INFO else self._repetition.num_held(_kind(record))
        if num_held is None:
            self._ros_logger.debug(text)
            return
        text = with_count(text, num_held)
        if record.levelno >= logging.CRITICAL:
            self._ros_logger.fatal(text)
        elif record.levelno >= logging.ERROR:
            self._ros_logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._ros_logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._ros_logger.info(text)
        else:
            self._ros_logger.debug(text)


def _kind(record: logging.LogRecord) -> tuple[object, ...]:
    """Return what lines have in common that differ in what happened to whom."""
    return record.name, record.levelno, record.msg, record.exc_info and record.exc_info[0]
