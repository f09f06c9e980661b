# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Start values that no parameter takes: ROS ignores them, the node names them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
import os
from pathlib import Path
import sys

from rclpy.node import Node
import yaml

QOS_PREFIX = 'qos_overrides.'
# Parameters of rclpy and diagnostic_updater, which declare them themselves, some of them later.
_FOREIGN_PREFIXES = (
    'use_sim_time', QOS_PREFIX, 'diagnostic_updater.', 'start_type_description_service')
# launch copies parameter files to such ones; its own launch files name the original.
_COPY_OF_LAUNCH = 'launch_params_'
_ORIGINAL = 'DA3_PARAMS_FILE'


def start_values(node: Node) -> Mapping[str, object]:
    """
    Return what the command line and parameter files set, by parameter name.

    :param node: the node.
    """
    # rclpy has no public way to ask for values that no declared parameter took.
    values: Mapping[str, object] = getattr(node, '_parameter_overrides', {})
    return values


def describe_unknown(
    names: Collection[str], known: Collection[str], arguments: Sequence[str]
) -> str:
    """
    Name start values that nobody reads; empty if there are none.

    :param names: of the start values.
    :param known: names of the parameters.
    :param arguments: of the process.
    """
    files = _names_by_file(arguments)
    return ', '.join(
        _describe(name, known, [path for path, inside in files.items() if name in inside])
        for name in sorted(names) if name not in known and not name.startswith(_FOREIGN_PREFIXES))


def describe_unused_qos(node: Node, arguments: Sequence[str] = ()) -> str:
    """
    Name ``qos_overrides`` that no topic has taken; empty if there are none.

    :param node: all of whose topics exist.
    :param arguments: of the process.
    """
    names = [name for name in start_values(node)
             if name.startswith(QOS_PREFIX) and not node.has_parameter(name)]
    known = [name for name in node._parameters if name.startswith(QOS_PREFIX)]
    files = _names_by_file(arguments or sys.argv)
    return ', '.join(
        _describe(name, known, [path for path, inside in files.items() if name in inside])
        for name in sorted(names))


def _describe(name: str, known: Collection[str], files: Sequence[Path]) -> str:
    group = [other for other in known if other.startswith(f'{name}.')]
    close = get_close_matches(name, known, n=1)
    hint = f'did you mean {close[0]}?' if close else ''
    if group:
        hint = f'a group: {group[0]} and so on'
    notes = [*(str(path) for path in files), *([hint] if hint else [])]
    return f'{name} ({"; ".join(notes)})' if notes else name


def _parameter_files(arguments: Sequence[str]) -> Iterator[Path]:
    for flag, value in pairwise(arguments):
        if flag == '--params-file':
            yield Path(value)


def _names_by_file(arguments: Sequence[str]) -> dict[Path, set[str]]:
    """Return the names of the parameters in every file, by the path that the user knows."""
    original = os.environ.get(_ORIGINAL)
    files: dict[Path, set[str]] = {}
    for path in _parameter_files(arguments):
        shown = Path(original) if original and path.name.startswith(_COPY_OF_LAUNCH) else path
        files.setdefault(shown, set()).update(_names_in(path))
    return files


def _names_in(path: Path) -> set[str]:
    """Return the names of all parameters in a file, whatever node they are for."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return set()
    return {name for node in _values(content) for name in _flat(node.get('ros__parameters', {}))}


def _values(content: object) -> Iterator[dict[str, object]]:
    """Yield the mappings that hold ``ros__parameters``, at any depth of namespaces."""
    if isinstance(content, dict):
        if 'ros__parameters' in content:
            yield content
        for value in content.values():
            yield from _values(value)


def _flat(values: object, prefix: str = '') -> Iterator[str]:
    if not isinstance(values, dict):
        yield prefix.removesuffix('.')
        return
    for key, value in values.items():
        yield from _flat(value, f'{prefix}{key}.')
