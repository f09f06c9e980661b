# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Optimise similarities that relate to each other: windows as nodes, overlaps and loops as edges.

Gauss-Newton with Levenberg's damping on Sim(3) (Strasdat, Montiel, Davison: "Scale drift-aware
large scale monocular SLAM", RSS 2010), over scipy's sparse direct solver. The cost that remains
tells whether a loop fits: it is the squared error in standard deviations, summed.

Arrays have N nodes or E edges first. A node's increment has seven numbers: rotation vector,
translation in its own frame and unit, logarithm of scale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from da3_ros.geometry.arrays import Array
from da3_ros.geometry.sim3 import Sim3
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, dia_array
from scipy.sparse.linalg import spsolve
from scipy.spatial.transform import Rotation

_MAX_ITERATIONS = 30
_CONVERGED = 1e-6
# A prior that is off by more standard deviations pulls no harder: it may be wrong altogether.
_HUBER = 2.0


@dataclass(frozen=True, eq=False)
class Edge:
    """
    A measured relation of two nodes.

    :param first: number of a node.
    :param second: number of another.
    :param first_S_second: the measurement.
    :param length: what one radian of error amounts to in units of ``second``: the typical distance
        of the scene.
    :param camera_sigma: standard deviation of the angles [rad] and of the position over
        ``length``.
    :param scale_sigma: relative standard deviation of the scale.
    """

    first: int
    second: int
    first_S_second: Sim3
    length: float
    camera_sigma: float
    scale_sigma: float

    def reversed(self) -> 'Edge':  # noqa: A003
        """Return the same relation, from the second node to the first."""
        second_S_first = self.first_S_second.inverse()
        return replace(
            self, first=self.second, second=self.first, first_S_second=second_S_first,
            length=self.length / second_S_first.scale)


@dataclass(frozen=True)
class ScalePrior:
    """
    What is known about the unit of a node.

    :param node: its number.
    :param log_scale: logarithm of its scale in the map.
    :param sigma: standard deviation of that.
    """

    node: int
    log_scale: float
    sigma: float


@dataclass(frozen=True, eq=False)
class Solution:
    """
    An optimised graph.

    :param nodes: the similarities, by number.
    :param cost: sum of squared errors, each in standard deviations.
    """

    nodes: dict[int, Sim3]
    cost: float


@dataclass(frozen=True, eq=False)
class _State:
    """All nodes as arrays: (N,), (N, 3, 3), (N, 3)."""

    log_scale: Array
    rotation: Array
    translation: Array

    def moved(self, step: Array) -> '_State':
        """Apply increments, (N, 7)."""
        scale = np.exp(self.log_scale)[:, None]
        return _State(
            self.log_scale + step[:, 6],
            self.rotation @ Rotation.from_rotvec(step[:, :3]).as_matrix(),
            self.translation + scale * _apply(self.rotation, step[:, 3:6]),
        )


def _apply(rotations: Array, vectors: Array) -> Array:
    turned: Array = np.einsum('nij,nj->ni', rotations, vectors)
    return turned


def _huber(errors: Array) -> tuple[Array, Array]:
    """Return what squares to Huber's loss of each error, and its derivative."""
    size = np.maximum(np.abs(errors), _HUBER)
    root = np.sqrt(_HUBER * (2.0 * size - _HUBER))
    is_far = np.abs(errors) > _HUBER
    return np.where(is_far, np.sign(errors) * root, errors), np.where(is_far, _HUBER / root, 1.0)


def _skew(vectors: Array) -> Array:
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)


class _Problem:
    """The measurements as arrays, and their errors at a state."""

    def __init__(
        self, numbers: Sequence[int], edges: Sequence[Edge], priors: Sequence[ScalePrior]
    ) -> None:
        row = {number: i for i, number in enumerate(numbers)}
        self.num_nodes = len(numbers)
        self.first = np.array([row[edge.first] for edge in edges], dtype=np.intp)
        self.second = np.array([row[edge.second] for edge in edges], dtype=np.intp)
        inverses = [edge.first_S_second.inverse() for edge in edges]
        self.inverse_scale = np.array([inverse.scale for inverse in inverses])
        self.inverse_rotation = np.array([inverse.rotation for inverse in inverses])
        self.inverse_translation = np.array([inverse.translation for inverse in inverses])
        self.weights = np.array([
            [1.0 / edge.camera_sigma] * 3 + [1.0 / (edge.camera_sigma * edge.length)] * 3
            + [1.0 / edge.scale_sigma] for edge in edges
        ])
        self.prior_rows = np.array([row[prior.node] for prior in priors], dtype=np.intp)
        self.prior_values = np.array([prior.log_scale for prior in priors])
        self.prior_weights = np.array([1.0 / prior.sigma for prior in priors])

    def _relative(self, state: _State) -> tuple[Array, Array, Array]:
        """Return first_S_second as the state has it: log scale, rotation, translation."""
        inverse = np.swapaxes(state.rotation[self.first], 1, 2)
        offset = state.translation[self.second] - state.translation[self.first]
        log_scale = state.log_scale[self.second] - state.log_scale[self.first]
        scale = np.exp(state.log_scale[self.first])[:, None]
        return log_scale, inverse @ state.rotation[self.second], _apply(inverse, offset) / scale

    def _edge_errors(self, state: _State) -> Array:
        """Return how far every edge is off, (E, 7), in standard deviations."""
        log_scale, rotation, translation = self._relative(state)
        angles = Rotation.from_matrix(self.inverse_rotation @ rotation).as_rotvec()
        positions = self.inverse_scale[:, None] * _apply(self.inverse_rotation, translation)
        scales = np.log(self.inverse_scale) + log_scale
        off = np.concatenate(
            [angles, positions + self.inverse_translation, scales[:, None]], axis=1
        )
        errors: Array = off * self.weights
        return errors

    def residuals(self, state: _State) -> Array:
        """Return all errors in standard deviations in one row: edges, then priors."""
        return np.concatenate([
            self._edge_errors(state).ravel(), _huber(self._prior_errors(state))[0]])

    def _prior_errors(self, state: _State) -> Array:
        """Return how far every prior is off, in standard deviations."""
        errors: Array = self.prior_weights * (
            state.log_scale[self.prior_rows] - self.prior_values)
        return errors

    def jacobian(self, state: _State) -> csc_array:
        """Differentiate ``residuals`` by the increments of all nodes."""
        by_first, by_second = self._edge_jacobians(state)
        num_edges = len(self.first)
        weights = self.weights[:, :, None]
        within = np.arange(7)
        row = np.broadcast_to(
            7 * np.arange(num_edges)[:, None, None] + within[:, None], (num_edges, 7, 7)
        )
        columns = [
            np.broadcast_to(7 * nodes[:, None, None] + within, (num_edges, 7, 7))
            for nodes in (self.first, self.second)
        ]
        prior_row = 7 * num_edges + np.arange(len(self.prior_rows))
        values = np.concatenate([
            (weights * by_first).ravel(), (weights * by_second).ravel(),
            self.prior_weights * _huber(self._prior_errors(state))[1]
        ])
        rows = np.concatenate([row.ravel(), row.ravel(), prior_row])
        cols = np.concatenate([columns[0].ravel(), columns[1].ravel(), 7 * self.prior_rows + 6])
        shape = (7 * num_edges + len(prior_row), 7 * self.num_nodes)
        return coo_array((values, (rows, cols)), shape=shape).tocsc()

    def _edge_jacobians(self, state: _State) -> tuple[Array, Array]:
        """Differentiate unweighted errors by the nodes' increments, twice (E, 7, 7)."""
        log_scale, rotation, translation = self._relative(state)
        count = len(log_scale)
        into_second = self.inverse_scale[:, None, None] * self.inverse_rotation
        by_first, by_second = np.zeros((count, 7, 7)), np.zeros((count, 7, 7))
        by_first[:, :3, :3] = -np.swapaxes(rotation, 1, 2)
        by_first[:, 3:6, :3] = into_second @ _skew(translation)
        by_first[:, 3:6, 3:6] = -into_second
        by_first[:, 3:6, 6] = -_apply(into_second, translation)
        by_first[:, 6, 6] = -1.0
        by_second[:, :3, :3] = np.eye(3)
        by_second[:, 3:6, 3:6] = np.exp(log_scale)[:, None, None] * into_second @ rotation
        by_second[:, 6, 6] = 1.0
        return by_first, by_second


def optimise(
    nodes: Mapping[int, Sim3], edges: Sequence[Edge], priors: Sequence[ScalePrior] = ()
) -> Solution:
    """
    Bring nodes into agreement with edges and priors.

    The first node stays where it is; its unit too, unless priors say what units are.

    :param nodes: estimates to start from, connected by the edges, by number.
    :param edges: at least one.
    :param priors: of some nodes.
    """
    numbers = list(nodes)
    problem = _Problem(numbers, edges, priors)
    state = _State(
        np.log([node.scale for node in nodes.values()]),
        np.array([node.rotation for node in nodes.values()]),
        np.array([node.translation for node in nodes.values()]),
    )
    free = np.arange(6 if priors else 7, 7 * len(numbers))
    damping = 1e-6
    residuals = problem.residuals(state)
    for _ in range(_MAX_ITERATIONS):
        moved = state.moved(_step(problem.jacobian(state), residuals, free, damping))
        new_residuals = problem.residuals(moved)
        gain = _cost(residuals) - _cost(new_residuals)
        if gain < 0.0:
            damping = max(10.0 * damping, 1e-4)
            continue
        state, residuals, damping = moved, new_residuals, 0.1 * damping
        if gain < _CONVERGED * _cost(residuals) + _CONVERGED:
            break
    solved = {
        number: Sim3(float(scale), rotation, translation)
        for number, scale, rotation, translation in zip(
            numbers, np.exp(state.log_scale), state.rotation, state.translation, strict=True
        )
    }
    return Solution(solved, _cost(residuals))


def _cost(residuals: Array) -> float:
    return float(residuals @ residuals)


def _step(jacobian: csc_array, residuals: Array, free: NDArray[np.intp], damping: float) -> Array:
    """Solve the damped normal equations for the free increments, (N, 7)."""
    reduced = jacobian[:, free]
    normal = reduced.T @ reduced
    extra = damping * normal.diagonal() + 1e-12
    damped = normal + dia_array((extra[None], [0]), shape=normal.shape)
    step = np.zeros(jacobian.shape[1])
    step[free] = spsolve(damped.tocsc(), -(reduced.T @ residuals))
    return step.reshape(-1, 7)
