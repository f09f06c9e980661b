# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The one continuous world that all windows are placed in."""

from collections.abc import Sequence
from dataclasses import dataclass
import logging

from da3_ros.errors import AlignmentError
from da3_ros.geometry import rigid
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.alignment import align, Alignment, rejection, sample_view, ViewSamples
from da3_ros.mapping.config import AlignmentConfig
from da3_ros.mapping.view import View
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_logger = logging.getLogger(__name__)

# The first camera: at the origin, level, looking along x (REP-103).
FIRST_CAMERA: Array = rigid.from_rotation_translation(rigid.BODY_R_OPTICAL, np.zeros(3))
FIRST_CAMERA.setflags(write=False)


@dataclass(frozen=True, eq=False)
class Placement:
    """
    Where a window lies.

    :param odom_S_window: the similarity from the window's frame and unit.
    :param segment: number of the continuous piece of world.
    :param alignment: the fit to the previous window, or None where there was none.
    :param rejection: why the fit was not used, or None.
    """

    odom_S_window: Sim3
    segment: int
    alignment: Alignment | None = None
    rejection: str | None = None


class World:
    """
    Chain windows into ``odom`` through their shared keyframes.

    Only the previous window is kept. A window that cannot be joined opens a new segment: it
    continues from the newest camera pose, so that ``odom`` does not jump, but nothing is claimed
    about how it lies to what came before.
    """

    def __init__(self, config: AlignmentConfig, *, first_scale: float = 1.0) -> None:
        """
        Start an empty world.

        :param config: when two windows count as joined.
        :param first_scale: length of the first window's unit in ``odom``.
        """
        self._config = config
        self._first_scale = first_scale
        self._reference: tuple[ViewSamples, ...] = ()
        self._odom_S_reference = Sim3.identity()
        self._segment = -1

    def place(self, views: Sequence[View]) -> Placement:
        """
        Place the next window and make it the reference for the one after.

        Views without poses cannot be joined: they only get the scale.

        :param views: of one window.
        """
        if any(view.window_T_camera is None for view in views):
            self._segment = max(self._segment, 0)
            return Placement(Sim3.from_rigid(np.eye(4), scale=self._first_scale), self._segment)
        samples = tuple(sample_view(view, self._config.samples_per_view) for view in views)
        placement = self._join(samples) if self._reference else self._begin(samples)
        self._segment = placement.segment
        self._reference = samples
        self._odom_S_reference = placement.odom_S_window
        return placement

    def clear(self) -> None:
        """Forget everything but the numbers of the segments; the next window begins anew."""
        self._reference = ()

    def _begin(self, samples: Sequence[ViewSamples]) -> Placement:
        odom_S_window = _pin(samples[0], FIRST_CAMERA, self._first_scale)
        return Placement(odom_S_window, self._segment + 1)

    def _join(self, samples: Sequence[ViewSamples]) -> Placement:
        try:
            alignment = align(self._reference, samples, self._config)
        except AlignmentError as error:
            return self._open_segment(samples, None, str(error))
        problem = rejection(alignment, self._config)
        if problem is not None:
            return self._open_segment(samples, alignment, problem)
        odom_S_window = self._odom_S_reference @ alignment.reference_S_window
        return Placement(odom_S_window, self._segment, alignment)

    def _open_segment(
        self, samples: Sequence[ViewSamples], alignment: Alignment | None, problem: str
    ) -> Placement:
        """Continue from the newest camera that both windows hold, else from the newest one."""
        segment = self._segment + 1
        _logger.warning('segment %d begins: %s', segment, problem)
        known = {view.id: view for view in self._reference}
        shared = [view for view in samples if view.id in known]
        last = known[shared[-1].id] if shared else self._reference[-1]
        ratio = 1.0 if alignment is None else alignment.reference_S_window.scale
        limit = self._config.max_scale_ratio
        odom_S_window = _pin(
            shared[-1] if shared else samples[0],
            self._odom_S_reference.transform_pose(last.world_T_camera),
            self._odom_S_reference.scale * float(np.clip(ratio, 1.0 / limit, limit)),
        )
        return Placement(odom_S_window, segment, alignment, problem)


def _pin(view: ViewSamples, odom_T_camera: Array, scale: float) -> Sim3:
    """Return the ``odom_S_window`` that puts a view's camera at a pose."""
    window_S_camera = Sim3.from_rigid(view.world_T_camera)
    return Sim3.from_rigid(odom_T_camera, scale=scale) @ window_S_camera.inverse()
