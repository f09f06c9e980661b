# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A diagnostic_msgs/DiagnosticStatus that is easy to fill."""

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue


class DiagnosticStatusWrapper(DiagnosticStatus):
    """Level, message and values of one task."""

    def summary(self, *args: DiagnosticStatus | bytes | str) -> None:
        """Set level and message: from ``(level, message)`` or from another status."""
        self.level, self.message = _level_and_message(*args)

    def clearSummary(self) -> None:
        """Set the level to OK and the message to nothing."""
        self.summary(DiagnosticStatus.OK, '')

    def mergeSummary(self, *args: DiagnosticStatus | bytes | str) -> None:
        """Keep the worse level; join the messages where both are OK or neither is."""
        level, message = _level_and_message(*args)
        if (level > DiagnosticStatus.OK) == (self.level > DiagnosticStatus.OK):
            self.message = f'{self.message}; {message}' if self.message else message
        elif level > self.level:
            self.message = message
        self.level = max(level, self.level)

    def add(self, key: str, val: str) -> None:
        """Add a value, which the caller has made a string."""
        self.values.append(KeyValue(key=key, value=val))


def _level_and_message(*args: DiagnosticStatus | bytes | str) -> tuple[bytes, str]:
    if len(args) == 1:
        return args[0].level, args[0].message
    return args[0], str(args[1])
