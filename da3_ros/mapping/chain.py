# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Chain windows through the keyframes they share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
import logging

from da3_ros.errors import AlignmentError
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.alignment import align, Alignment, rejection
from da3_ros.mapping.config import AlignmentConfig
from da3_ros.mapping.samples import ViewSamples
import numpy as np
from numpy.typing import NDArray

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Constraint:
    """
    What is known about two windows of the chain.

    :param reference: number of the earlier one.
    :param reference_S_window: how the later one lies to it.
    :param alignment: the fit behind it, or None where the relation is a guess.
    """

    reference: int
    reference_S_window: Sim3
    alignment: Alignment | None


@dataclass(frozen=True, eq=False)
class Link:
    """
    How a window hangs on the chain.

    :param window: number of the window.
    :param chain_S_window: the similarity into the frame and unit of the chain.
    :param segment: number of the unbroken piece of chain.
    :param anchor: (3,) centre of the newest camera that the previous window held too, in the
        chain; where nothing is shared, of the oldest.
    :param alignment: the fit to the previous window, or None where there was none.
    :param rejection: why the fit was not used, so that a new segment begins, or None.
    :param constraint: on the previous window, or None for the first.
    """

    window: int
    chain_S_window: Sim3
    segment: int
    anchor: NDArray[np.float64]
    alignment: Alignment | None = None
    rejection: str | None = None
    constraint: Constraint | None = None


@dataclass(frozen=True, eq=False)
class Tie:
    """
    A window of a new segment that still shares keyframes with the lost one.

    :param chain_S_window: where the window lies if the lost segment is right.
    :param segment: number of the lost segment.
    :param constraint: on the last window of the lost segment.
    """

    chain_S_window: Sim3
    segment: int
    constraint: Constraint


@dataclass(frozen=True, eq=False)
class _Hung:
    """
    A window on the chain, for later ones to be compared with.

    :param window: number of the window.
    :param views: in the window's frame and unit.
    :param chain_S_window: where it hangs.
    :param segment: number of its segment.
    """

    window: int
    views: tuple[ViewSamples, ...]
    chain_S_window: Sim3
    segment: int


class WindowChain:
    """
    Place every window relative to the one before; the first one defines frame and unit.

    A window that cannot be aligned opens a new segment. It continues from the newest camera pose
    and keeps the unit if the depths tell it, but nothing is claimed about how the segments lie to
    each other. ``tie`` finds out, as long as windows share keyframes with the lost segment.

    Two windows are kept, the last one and the last one of the lost segment.
    """

    def __init__(self, config: AlignmentConfig, *, first_segment: int) -> None:
        """
        Start an empty chain.

        :param config: when two windows count as aligned.
        :param first_segment: number of the first segment.
        """
        self._config = config
        self._segment = first_segment
        self._window = -1
        self._last: _Hung | None = None
        self._lost: _Hung | None = None
        self._is_newly_lost = False

    @property
    def segment(self) -> int:
        """Return the number of the current segment."""
        return self._segment

    def link(self, views: tuple[ViewSamples, ...]) -> Link:
        """
        Hang the next window on the chain.

        :param views: of the window, in its own frame and unit.
        """
        self._is_newly_lost = False
        self._window += 1
        link = self._begin(views) if self._last is None else self._join(self._last, views)
        self._last = _Hung(self._window, views, link.chain_S_window, link.segment)
        return link

    def tie(self) -> Tie | None:
        """
        Try to tie the current segment to the one that was lost before it.

        On success the chain continues from the tied place.
        """
        if self._lost is None or self._last is None or self._is_newly_lost:
            return None
        try:
            alignment = align(self._lost.views, self._last.views, self._config)
        except AlignmentError:
            # Nothing is shared any more, and never will be again.
            self._lost = None
            return None
        if rejection(alignment, self._config) is not None:
            return None
        tie = Tie(
            self._lost.chain_S_window @ alignment.reference_S_window, self._lost.segment,
            Constraint(self._lost.window, alignment.reference_S_window, alignment),
        )
        _logger.info('segment %d tied to segment %d', self._segment, tie.segment)
        self._last = replace(self._last, chain_S_window=tie.chain_S_window)
        self._lost = None
        return tie

    def _begin(self, views: Sequence[ViewSamples]) -> Link:
        first_camera = views[0].world_T_camera[:3, 3]
        return Link(self._window, Sim3.identity(), self._segment, first_camera)

    def _join(self, last: _Hung, views: Sequence[ViewSamples]) -> Link:
        try:
            alignment = align(last.views, views, self._config)
        except AlignmentError as error:
            return self._open_segment(last, views, None, str(error))
        problem = rejection(alignment, self._config)
        if problem is not None:
            return self._open_segment(last, views, alignment, problem)
        chain_S_window = last.chain_S_window @ alignment.reference_S_window
        _, ours = _newest_shared(last.views, views)
        anchor = chain_S_window.transform_points(ours.world_T_camera[:3, 3])
        constraint = Constraint(last.window, alignment.reference_S_window, alignment)
        return Link(
            self._window, chain_S_window, self._segment, anchor, alignment, constraint=constraint
        )

    def _open_segment(
        self,
        last: _Hung,
        views: Sequence[ViewSamples],
        alignment: Alignment | None,
        problem: str,
    ) -> Link:
        """Continue from the newest shared camera, or from the newest one of all."""
        self._segment += 1
        _logger.warning('segment %d begins: %s', self._segment, problem)
        if self._lost is None:
            self._lost = last
            self._is_newly_lost = True
        theirs, ours = _newest_shared(last.views, views)
        limit = self._config.max_scale_ratio
        ratio = 1.0 if alignment is None else alignment.reference_S_window.scale
        scale = last.chain_S_window.scale * float(np.clip(ratio, 1.0 / limit, limit))
        chain_T_camera = last.chain_S_window.transform_pose(theirs.world_T_camera)
        chain_S_camera = Sim3.from_rigid(chain_T_camera, scale=scale)
        chain_S_window = chain_S_camera @ Sim3.from_rigid(ours.world_T_camera).inverse()
        guess = Constraint(last.window, last.chain_S_window.inverse() @ chain_S_window, None)
        return Link(
            self._window, chain_S_window, self._segment, chain_T_camera[:3, 3], alignment,
            problem, guess,
        )


def _newest_shared(
    last: Sequence[ViewSamples], views: Sequence[ViewSamples]
) -> tuple[ViewSamples, ViewSamples]:
    """Return the newest keyframe that two windows share, as each saw it."""
    known = {view.id: view for view in last}
    for view in reversed(views):
        if view.id in known:
            return known[view.id], view
    return last[-1], views[0]
