# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The node's parameters from its own file, without a node."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from da3_ros.ros.parameters.build_settings import build_settings
from da3_ros.ros.parameters.parameter_table import PARAMETERS, ParameterSpec
from da3_ros.ros.parameters.settings import NodeSettings
import yaml

_PARAMETERS = 'ros__parameters'
# Names under which a file may keep the parameters, the more special ones later.
_NODES = ('/**', 'da3', '/da3')
_TYPES = {bool: 'true or false', int: 'a whole number', float: 'a number with a point',
          str: 'a text', list: 'a list of texts'}


def read_settings(
    path: Path | None, assignments: Sequence[str] = (), *, has_poses: bool = False
) -> NodeSettings:
    """
    Read the parameters of a node.

    :param path: of a parameter file of ROS 2 such as config/da3.yaml, or None for the defaults.
    :param assignments: as ``window.size:=8``, which outdo the file.
    :param has_poses: somebody gives the poses of the camera; metres come from them then, as
        ``scale.source`` ``pose`` unless it is ``tf``.
    :raises ValueError: if a value, or their combination, is not allowed.
    """
    values = {} if path is None else _read(path)
    for assignment in assignments:
        name, separator, text = assignment.partition(':=')
        if not separator:
            raise ValueError(f'parameter: got {assignment!r}, expected NAME:=VALUE')
        values[name] = yaml.safe_load(text)
    specs = {spec.name: spec for spec in PARAMETERS}
    unknown = sorted(set(values) - set(specs) - {'use_sim_time'})
    if unknown:
        raise ValueError(f'parameters: got {", ".join(unknown)}, which there are not')
    checked = {name: _checked(specs[name], value)
               for name, value in values.items() if name in specs}
    if has_poses:
        if checked.get('scale.source') not in ('tf', 'pose'):
            checked['scale.source'] = 'pose'
        # The poses are those of the camera itself, which no robot carries.
        checked['tf.mode'] = 'none'
    return build_settings(checked)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f'parameters: got {path} ({error}), expected a YAML file') from error
    groups = [content.get(node) for node in _NODES] if isinstance(content, dict) else []
    found = [each[_PARAMETERS] for each in groups
             if isinstance(each, dict) and isinstance(each.get(_PARAMETERS), dict)]
    if not found:
        raise ValueError(
            f'parameters: got {path}, expected {_PARAMETERS} below {" or ".join(_NODES)}')
    values: dict[str, Any] = {}
    for group in found:
        values.update(_flat(group))
    return values


def _flat(group: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Name nested values as ROS does."""
    values: dict[str, Any] = {}
    for name, value in group.items():
        if isinstance(value, dict):
            values.update(_flat(value, f'{prefix}{name}.'))
        else:
            values[f'{prefix}{name}'] = value
    return values


def _checked(spec: ParameterSpec, value: Any) -> Any:
    """Check what rclpy checks in the node: type and range."""
    kind = type(spec.default)
    is_text = not isinstance(value, list) or all(isinstance(each, str) for each in value)
    if type(value) is not kind or not is_text:
        raise ValueError(f'{spec.name}: got {value!r}, expected {_TYPES[kind]}')
    _check_range(spec, value)
    return value


def _check_range(spec: ParameterSpec, value: Any) -> None:
    if spec.limits is not None and isinstance(value, (int, float)):
        low, high = spec.limits
        if not low <= value <= high:
            raise ValueError(f'{spec.name}: got {value}, expected {low} to {high}')
