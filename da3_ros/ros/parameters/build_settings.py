# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Values of parameters become settings; needs no ROS."""

from collections.abc import Mapping
import dataclasses
from typing import Any

from da3_ros.ros.parameters.parameter_table import PARAMETERS, Value
from da3_ros.ros.parameters.settings import NodeSettings


def build_settings(values: Mapping[str, Value]) -> NodeSettings:
    """
    Turn values into settings.

    :param values: by parameter name; what is missing gets its default.
    :raises ValueError: if a value, or a combination of values, is not allowed.
    """
    groups: dict[str, dict[str, Any]] = {}
    for spec in PARAMETERS:
        if spec.name not in values:
            continue
        complaint = spec.complaint(values[spec.name])
        if complaint is not None:
            raise ValueError(complaint)
        group, _, field = spec.name.rpartition('.')
        value = values[spec.name]
        groups.setdefault(group, {})[field] = tuple(value) if isinstance(value, list) else value
    defaults = NodeSettings()
    built: dict[str, Any] = dict(groups.pop('', {}))
    for group, fields in groups.items():
        built[group] = dataclasses.replace(getattr(defaults, group), **fields)
    return dataclasses.replace(defaults, **built)
