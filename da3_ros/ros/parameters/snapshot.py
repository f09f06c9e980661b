# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Keep the node's parameters and its immutable settings in step."""

from collections.abc import Callable, Sequence
import sys

from da3_ros.ros.parameters.build_settings import build_settings
from da3_ros.ros.parameters.parameter_table import Change, PARAMETERS, ParameterSpec, Value
from da3_ros.ros.parameters.settings import NodeSettings
from da3_ros.ros.parameters.start_values import describe_unknown, start_values
from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter


class NodeParameters:
    """
    Declare the table on a node and keep an immutable snapshot of it.

    A start value that ROS refuses does not end the process: the parameter keeps its default and
    ``read`` complains until it is set.
    """

    def __init__(self, node: Node, *, is_configured: Callable[[], bool]) -> None:
        """
        Declare all parameters.

        :param node: the node.
        :param is_configured: whether the node holds resources made from the parameters.
        """
        self._node = node
        self._is_configured = is_configured
        self._specs = {spec.name: spec for spec in PARAMETERS}
        self._refused: dict[str, str] = {}
        for spec in PARAMETERS:
            self._declare(spec)
        self._tell_of_bad_start_values()
        self._settings = NodeSettings()
        node.add_on_set_parameters_callback(self._validate)
        node.add_post_set_parameters_callback(self._accept)

    @property
    def settings(self) -> NodeSettings:
        """Return the newest snapshot; the defaults before the first ``read``."""
        return self._settings

    def read(self) -> NodeSettings:
        """
        Take a new snapshot.

        :raises ValueError: if start values were refused or do not fit together.
        """
        problems = list(self._refused.values())
        try:
            self._settings = build_settings(self._values())
        except ValueError as error:
            problems.append(str(error))
        if problems:
            raise ValueError('; '.join(problems))
        return self._settings

    def _declare(self, spec: ParameterSpec) -> None:
        try:
            self._node.declare_parameter(spec.name, spec.default, spec.descriptor())
        except ParameterException as error:
            self._refused[spec.name] = str(error).removesuffix(f': {spec.name}')
            self._node.declare_parameter(
                spec.name, spec.default, spec.descriptor(), ignore_override=True
            )

    def _tell_of_bad_start_values(self) -> None:
        """Say at once what configure will refuse, and what nobody will ever read."""
        for problem in self._refused.values():
            self._node.get_logger().error(f'start value refused: {problem}')
        unknown = describe_unknown(start_values(self._node), self._specs, sys.argv)
        if unknown:
            self._node.get_logger().warning(f'unknown parameters, ignored: {unknown}')

    def _values(self) -> dict[str, Value]:
        return {name: self._node.get_parameter(name).value for name in self._specs}

    def _validate(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        """Refuse what cannot be set; change nothing."""
        changed = {p.name: p.value for p in parameters if p.name in self._specs}
        for name in changed:
            if self._specs[name].change is Change.UNCONFIGURED and self._is_configured():
                return SetParametersResult(successful=False, reason=(
                    f'{name} cannot change while the node is configured: clean up first'))
        try:
            if changed:
                build_settings(self._values() | changed)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _accept(self, parameters: Sequence[Parameter]) -> None:
        """Swap the snapshot."""
        changed = [p.name for p in parameters if p.name in self._specs]
        for name in changed:
            self._refused.pop(name, None)
        if changed:
            self._settings = build_settings(self._values())
