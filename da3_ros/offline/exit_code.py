# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How the processing of a recording ended, as a number for the shell."""

from enum import IntEnum

from da3_ros.errors import Da3Error, InputError, MemoryBudgetError, SaveError, WeightsError
from da3_ros.offline.journal import Interrupted, JournalFault


class ExitCode(IntEnum):
    """What the program says when it ends; the page of its help has the meanings."""

    WRITTEN = 0
    FAULT = 1
    ARGUMENTS = 2
    INPUT = 3
    NETWORK = 4
    OUTPUT = 5
    PARTLY = 6
    INTERRUPTED = 130

    @staticmethod
    def of(error: Exception) -> 'ExitCode':
        """
        Say what an error means.

        :param error: that ended ``process_recording``.
        :returns: ``FAULT`` for one that nobody expects.
        """
        if isinstance(error, JournalFault):
            is_full = isinstance(error.__cause__, SaveError)
            return ExitCode.OUTPUT if is_full else ExitCode.ARGUMENTS
        for kinds, code in _CODES:
            if isinstance(error, kinds):
                return code
        return ExitCode.FAULT


# The first that fits.
_CODES: tuple[tuple[tuple[type[Exception], ...], ExitCode], ...] = (
    ((Interrupted,), ExitCode.INTERRUPTED),
    ((InputError,), ExitCode.INPUT),
    ((WeightsError, MemoryBudgetError), ExitCode.NETWORK),
    ((SaveError, OSError), ExitCode.OUTPUT),
    ((ValueError, Da3Error), ExitCode.ARGUMENTS),
)
