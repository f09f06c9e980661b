# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The log of a command that runs without ROS."""

from collections.abc import Iterator
from contextlib import contextmanager
import logging


@contextmanager
def logged(handler: logging.Handler | None = None, level: int = logging.INFO) -> Iterator[None]:
    """
    Show the log while a command runs, and leave logging as it was for whoever called it.

    :param handler: where it goes; None: to standard error, texts only.
    :param level: from which on the package's lines are told; of other libraries, warnings are.
    """
    handler = logging.StreamHandler() if handler is None else handler
    root, package = logging.getLogger(), logging.getLogger('da3_ros')
    earlier = package.level
    root.addHandler(handler)
    package.setLevel(level)
    try:
        yield
    finally:
        package.setLevel(earlier)
        root.removeHandler(handler)
