# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Stand-in for diagnostic_updater, for environments without it: the calls da3_ros makes."""

from diagnostic_updater.status import DiagnosticStatusWrapper
from diagnostic_updater.updater import DiagnosticTask, FunctionDiagnosticTask, Updater

__all__ = ['DiagnosticStatusWrapper', 'DiagnosticTask', 'FunctionDiagnosticTask', 'Updater']
