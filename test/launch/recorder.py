# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Runs a launch file where launch is not installed, and records what it constructs."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
import runpy
import sys
from types import ModuleType
from unittest import mock

MODULES = (
    'launch', 'launch.actions', 'launch.conditions', 'launch.launch_description_sources',
    'launch.substitutions', 'launch_ros', 'launch_ros.actions', 'launch_ros.descriptions',
    'launch_ros.event_handlers', 'launch_ros.events', 'launch_ros.events.lifecycle',
    'launch_ros.parameter_descriptions', 'launch_ros.substitutions',
)


class Recorded:
    """
    One call of a class of launch.

    :param kind: name of the class.
    """

    def __init__(self, kind: str, *args: object, **kwargs: object) -> None:
        self.kind = kind
        self.args = args
        self.kwargs = kwargs

    def perform(self, context: 'Context') -> str:
        """Give a launch argument as the user gave it, as a substitution does."""
        return context.launch_configurations.get(self.args[0], '')

    def find(self, *kinds: str) -> list['Recorded']:
        """List the calls of some classes among this one and its arguments, in order."""
        return [call for call in walk(self) if call.kind in kinds]


class Context:
    """
    What launch hands to functions.

    :param launch_configurations: the arguments that the user gave.
    """

    def __init__(self, launch_configurations: dict[str, str]) -> None:
        self.launch_configurations = launch_configurations


def walk(value: object) -> Iterator[Recorded]:
    """Yield all calls in nested arguments."""
    if isinstance(value, Recorded):
        yield value
        value = [value.args, value.kwargs]
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, type({}.items()))):
        for item in value:
            yield from walk(item)


def record(path: Path, **arguments: str) -> Recorded:
    """Run the launch file against modules that only record; functions of it run too."""
    modules = {name: ModuleType(name) for name in MODULES}
    for module in modules.values():
        module.__getattr__ = lambda kind: partial(Recorded, kind)
    with mock.patch.dict(sys.modules, modules):
        description = runpy.run_path(str(path))['generate_launch_description']()
        default = str(path.parents[1] / 'config' / 'da3_rig.yaml')
        for call in description.find('OpaqueFunction'):
            function = call.kwargs['function']
            if function.__name__ != 'check':
                call.args = (function(Context({'params_file': default} | arguments)),)
    return description
