# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The recent motion of one frame in its parent."""

import bisect
from dataclasses import dataclass, field

from geometry_msgs.msg import Transform, TransformStamped
import numpy as np
from scipy.spatial.transform import Rotation, Slerp
from tf2_ros.exceptions import ExtrapolationException


@dataclass(frozen=True)
class Pose:
    """A child frame in its parent's at one time: ``parent_T_child``."""

    parent: str
    translation: np.ndarray = field(default_factory=lambda: np.zeros(3))
    rotation: Rotation = field(default_factory=Rotation.identity)

    def __matmul__(self, other: 'Pose') -> 'Pose':
        translation = self.rotation.apply(other.translation) + self.translation
        return Pose(self.parent, translation, self.rotation * other.rotation)

    def inverse(self, parent: str) -> 'Pose':
        """Give ``child_T_parent``, where ``parent`` is the name of what was the child."""
        rotation = self.rotation.inv()
        return Pose(parent, -rotation.apply(self.translation), rotation)

    def interpolate(self, later: 'Pose', share: float) -> 'Pose':
        """Go a share of the way to a later pose; another parent then begins only there."""
        if self.parent != later.parent:
            return self
        translation = (1.0 - share) * self.translation + share * later.translation
        rotations = Rotation.concatenate([self.rotation, later.rotation])
        return Pose(self.parent, translation, Slerp([0.0, 1.0], rotations)(share))

    def to_message(self) -> Transform:
        """Convert to a message."""
        message = Transform()
        for axis, value in zip('xyz', self.translation, strict=True):
            setattr(message.translation, axis, float(value))
        for axis, value in zip('xyzw', self.rotation.as_quat(), strict=True):
            setattr(message.rotation, axis, float(value))
        return message

    @staticmethod
    def from_message(message: TransformStamped) -> 'Pose':
        """Convert from a message; the quaternion need not be normalised."""
        position, turn = message.transform.translation, message.transform.rotation
        return Pose(
            message.header.frame_id.removeprefix('/'),
            np.array([position.x, position.y, position.z]),
            Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]))


class StaticTrack:
    """One pose for all times."""

    latest_ns = 0

    def __init__(self, pose: Pose) -> None:
        self._pose = pose

    def clear(self) -> None:
        """Keep the pose: a clock that jumps does not move what is bolted on."""

    def latest_parent(self) -> str:
        """Name the parent."""
        return self._pose.parent

    def at(self, _stamp_ns: int) -> Pose:
        """Give the pose."""
        return self._pose


class MovingTrack:
    """Poses over the last seconds, in order of time."""

    def __init__(self, cache_ns: int) -> None:
        self._cache_ns = cache_ns
        self._stamps_ns: list[int] = []
        self._poses: list[Pose] = []

    @property
    def latest_ns(self) -> int:
        """Stamp of the newest pose, 0 if there is none."""
        return self._stamps_ns[-1] if self._stamps_ns else 0

    def clear(self) -> None:
        """Forget everything."""
        self._stamps_ns.clear()
        self._poses.clear()

    def latest_parent(self) -> str | None:
        """Name the parent in the newest pose."""
        return self._poses[-1].parent if self._poses else None

    def insert(self, stamp_ns: int, pose: Pose) -> bool:
        """
        Add a pose, in any order of arrival, and drop what is too old.

        :returns: whether it was young enough to be kept.
        """
        if self._stamps_ns and stamp_ns < self.latest_ns - self._cache_ns:
            return False
        index = bisect.bisect_right(self._stamps_ns, stamp_ns)
        self._stamps_ns.insert(index, stamp_ns)
        self._poses.insert(index, pose)
        num_old = bisect.bisect_left(self._stamps_ns, self.latest_ns - self._cache_ns)
        del self._stamps_ns[:num_old], self._poses[:num_old]
        return True

    def at(self, stamp_ns: int) -> Pose:
        """
        Interpolate, linearly and along the sphere; time 0 asks for the newest.

        :raises ExtrapolationException: outside the time that is covered.
        """
        if stamp_ns == 0 and self._poses:
            return self._poses[-1]
        after = bisect.bisect_right(self._stamps_ns, stamp_ns)
        if after and self._stamps_ns[after - 1] == stamp_ns:
            return self._poses[after - 1]
        if not 0 < after < len(self._stamps_ns):
            raise ExtrapolationException(self._complaint(stamp_ns))
        before_ns, after_ns = self._stamps_ns[after - 1:after + 1]
        share = (stamp_ns - before_ns) / (after_ns - before_ns)
        return self._poses[after - 1].interpolate(self._poses[after], share)

    def _complaint(self, stamp_ns: int) -> str:
        asked = f'{stamp_ns * 1e-9:.6f}'
        if len(self._stamps_ns) < 2:
            known = f'{self.latest_ns * 1e-9:.6f}'
            return (f'Lookup would require extrapolation at time {asked}, '
                    f'but only time {known} is in the buffer')
        if stamp_ns > self.latest_ns:
            return (f'Lookup would require extrapolation into the future.  Requested time {asked} '
                    f'but the latest data is at time {self.latest_ns * 1e-9:.6f}')
        return (f'Lookup would require extrapolation into the past.  Requested time {asked} '
                f'but the earliest data is at time {self._stamps_ns[0] * 1e-9:.6f}')
