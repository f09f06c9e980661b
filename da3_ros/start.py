# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The node's command: quiet also where it is stopped before it has come up."""

from collections.abc import Sequence
import os
import signal
from types import FrameType


def main(args: Sequence[str] | None = None) -> None:
    """
    Run the node.

    :param args: of the command line.
    """
    # Importing torch and ROS takes seconds, in which Python answers a signal with a traceback.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    from da3_ros import node
    node.main(args)


def _end(_number: int, _frame: FrameType | None) -> None:
    """End at once: nothing has begun."""
    os._exit(0)


if __name__ == '__main__':
    main()
