# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Where a keyframe lies in the robot's world, and what that means for /tf (REP-105).

The pipeline's own world begins at the first camera, level. In the modes that speak of a robot, its
camera mounting (or odometry) at the first keyframe of a session says where that camera really was.
"""

from collections import deque
from dataclasses import dataclass
import logging
from typing import Protocol

from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.ros.conversions import to_transform
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.message_types import TransformStamped
from da3_ros.ros.output.level_start import level_start, tilt_deg
from da3_ros.ros.parameters.settings import TfSettings
import numpy as np

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PlacedKeyframe:
    """
    Poses of one keyframe.

    :param world_frame: name of the frame of the poses.
    :param world_T_camera: (4, 4).
    :param body_frame: name of the camera's or the robot's frame.
    :param world_T_body: (4, 4) pose for odometry.
    :param transforms: for /tf.
    :param path_frame: frame of the path: the map where the node publishes it, else the world.
    :param path_T_map: (4, 4) where the pipeline's own map lies in it.
    :param leads: whether it is the first of its instant, which odometry and path follow.
    """

    world_frame: str
    world_T_camera: Array
    body_frame: str
    world_T_body: Array
    transforms: tuple[TransformStamped, ...]
    path_frame: str
    path_T_map: Array
    leads: bool = True


class OtherTransforms(Protocol):
    """What others publish on /tf."""

    def parents(self, child: str) -> frozenset[str]:
        """
        Return the parents that others give to a frame.

        :param child: name of the frame.
        """
        ...


@dataclass(frozen=True, eq=False)
class _Fix:
    """
    Where the frame that moves was at one time.

    :param stamp_ns: of the keyframe that led the instant.
    :param world_T_moving: (4, 4) of the base, or of the robot's ``odom``.
    :param segment: of that keyframe.
    """

    stamp_ns: int
    world_T_moving: Array
    segment: int


class KeyframePlacer:
    """
    Place the keyframes of one session.

    The robot has one pose at a time: the first keyframe of an instant that can be placed leads,
    and the other cameras follow it where the robot's tree says that they sit.
    """

    def __init__(
        self, settings: TfSettings, frames: OtherTransforms | None, counters: Counters, *,
        levels: bool = False,
    ) -> None:
        """
        Start a session.

        :param settings: modes and names.
        :param frames: of the robot; None where the mode is ``none``.
        :param counters: of the node.
        :param levels: let the robot say how the first camera looked, in the modes without one.
        """
        self._settings = settings
        self._levels = levels
        self.gravity = 'tf' if settings.is_of_a_robot else ''
        self._frames = frames
        self._counters = counters
        self._told: set[str] = set()
        self._world_T_start: Array | None = None
        self._instant: int | None = None
        self._leader: int | None = None
        # The base moves between two instants; the correction of an odometry does not by itself.
        num_fixes = 1 if self._settings.mode == 'map_to_odom' else 2
        self._fixes: deque[_Fix] = deque(maxlen=num_fixes)
        self._sent: set[tuple[str, int]] = set()

    def place(self, keyframe: PosedKeyframe, map_T_odom: Array) -> PlacedKeyframe | None:
        """
        Place a keyframe.

        :param keyframe: with a pose in the pipeline's ``odom``, and what the robot says of it.
        :param map_T_odom: (4, 4) the pipeline's correction of its ``odom``.
        :returns: None where the network gave no pose or the robot no transform.
        """
        if not keyframe.has_pose or not self._is_finite(keyframe.odom_T_camera, map_T_odom):
            return None
        # After a loop the keyframe that led is placed once more, in the corrected map.
        leads = (
            keyframe.instant is None or keyframe.instant != self._instant
            or keyframe.id == self._leader)
        if leads:
            self._sent.clear()
        placed = self._place(keyframe, map_T_odom, leads=leads)
        if placed is not None:
            self._instant = keyframe.instant
            if leads:
                self._leader = keyframe.id
        return placed

    def _place(
        self, keyframe: PosedKeyframe, map_T_odom: Array, *, leads: bool
    ) -> PlacedKeyframe | None:
        if self._settings.mode == 'odom_to_base':
            return self._place_base(keyframe, map_T_odom, leads=leads)
        if self._settings.mode == 'map_to_odom':
            map_T_camera = map_T_odom @ keyframe.odom_T_camera
            return self._place_odom(keyframe, map_T_camera, leads=leads)
        world, camera = self._settings.odom_frame, keyframe.frame_id
        start = self._level(keyframe)
        pose = start @ keyframe.odom_T_camera
        correction = start @ map_T_odom @ rigid.inverse(start)
        transforms = self._transforms(keyframe, (pose, world, camera), *self._map(correction))
        return PlacedKeyframe(
            world, pose, camera, pose, transforms, *self._path(start, map_T_odom), leads)

    def _level(self, keyframe: PosedKeyframe) -> Array:
        """Return how the camera's own world lies, which the first keyframe of a session tells."""
        if self._world_T_start is None:
            self._world_T_start, self.gravity = np.eye(4), 'none'
            if self._levels and keyframe.base_T_camera is not None:
                self._world_T_start = level_start(keyframe.base_T_camera, keyframe.odom_T_camera)
                self.gravity = 'tf'
                _logger.info(
                    'world.gravity: level by %s, %.1f degrees from the first camera',
                    self._settings.base_frame, tilt_deg(self._world_T_start))
            elif self._levels:
                _logger.warning(
                    'world.gravity: no %s above %s on TF when the world began: its first camera '
                    'is taken to be level until the next ~/reset', self._settings.base_frame,
                    keyframe.frame_id)
        return self._world_T_start

    def _place_base(
        self, keyframe: PosedKeyframe, map_T_odom: Array, *, leads: bool
    ) -> PlacedKeyframe | None:
        """Publish ``odom -> base``; the base starts at the origin, as its wheels would say."""
        world, base = self._settings.odom_frame, self._settings.base_frame
        base_T_camera = keyframe.base_T_camera
        if base_T_camera is None:
            return None
        world_T_start = self._start(base_T_camera, keyframe.odom_T_camera)
        seen = world_T_start @ keyframe.odom_T_camera @ rigid.inverse(base_T_camera)
        if leads:
            self._lead(keyframe, seen)
        world_T_base = self._moved(keyframe.stamp_ns, seen)
        correction = world_T_start @ map_T_odom @ rigid.inverse(world_T_start)
        transforms = self._transforms(
            keyframe, (world_T_base, world, base), *self._map(correction))
        return PlacedKeyframe(
            world, world_T_base @ base_T_camera, base, world_T_base, transforms,
            *self._path(world_T_start, map_T_odom), leads)

    def _place_odom(
        self, keyframe: PosedKeyframe, map_T_camera: Array, *, leads: bool
    ) -> PlacedKeyframe | None:
        """Publish ``map -> odom``: the correction of the robot's odometry, none at first."""
        world, odom, base = self._settings.frames
        odom_T_camera, base_T_camera = keyframe.robot_T_camera, keyframe.base_T_camera
        if odom_T_camera is None or base_T_camera is None:
            return None
        world_T_start = self._start(odom_T_camera, map_T_camera)
        seen = world_T_start @ map_T_camera @ rigid.inverse(odom_T_camera)
        if leads:
            self._lead(keyframe, seen)
        world_T_odom = self._moved(keyframe.stamp_ns, seen)
        world_T_camera = world_T_odom @ odom_T_camera
        world_T_base = world_T_camera @ rigid.inverse(base_T_camera)
        transforms = self._transforms(keyframe, (world_T_odom, world, odom))
        return PlacedKeyframe(
            world, world_T_camera, base, world_T_base, transforms, world, world_T_start, leads)

    def _lead(self, keyframe: PosedKeyframe, world_T_moving: Array) -> None:
        if self._fixes and self._fixes[-1].segment != keyframe.segment:
            # What lies between two segments is no motion.
            self._fixes.clear()
        self._fixes.append(_Fix(keyframe.stamp_ns, world_T_moving, keyframe.segment))

    def _moved(self, stamp_ns: int, seen: Array) -> Array:
        """
        Return where the frame that moves was at a time near the last fix.

        On from the last two fixes, unless they jumped, which is no motion: what the camera itself
        saw tells.

        :param stamp_ns: the time.
        :param seen: (4, 4) where a camera would have it.
        """
        before, last = self._fixes[0], self._fixes[-1]
        duration_ns = last.stamp_ns - before.stamp_ns
        if duration_ns <= 0:
            return last.world_T_moving
        share = (stamp_ns - before.stamp_ns) / duration_ns
        moved = rigid.interpolate(before.world_T_moving, last.world_T_moving, share)
        return min(
            moved, last.world_T_moving, key=lambda pose: float(np.linalg.norm(pose - seen)))

    def _start(self, world_T_camera: Array, start_T_camera: Array) -> Array:
        """Return where the pipeline's world lies, which the first keyframe of a session tells."""
        if self._world_T_start is None:
            self._world_T_start = world_T_camera @ rigid.inverse(start_T_camera)
        return self._world_T_start

    def _map(self, map_T_odom: Array) -> tuple[tuple[Array, str, str], ...]:
        if not self._settings.publish_map:
            return ()
        return ((map_T_odom, self._settings.map_frame, self._settings.odom_frame),)

    def _path(self, world_T_start: Array, map_T_odom: Array) -> tuple[str, Array]:
        """Return the frame of the path, and where the pipeline's map lies in it."""
        if self._settings.publish_map and self._frames is not None:
            return self._settings.map_frame, world_T_start
        return self._settings.odom_frame, world_T_start @ rigid.inverse(map_T_odom)

    def _transforms(
        self, keyframe: PosedKeyframe, *links: tuple[Array, str, str]
    ) -> tuple[TransformStamped, ...]:
        """Make transforms, but for frames of which somebody else publishes one."""
        if self._frames is None:
            return ()
        return tuple(
            to_transform(parent_T_child, time_ns=keyframe.stamp_ns, parent=parent, child=child)
            for parent_T_child, parent, child in links
            if self._is_new(child, keyframe.stamp_ns) and self._may_publish(parent, child)
        )

    def _is_new(self, child: str, stamp_ns: int) -> bool:
        """Tell whether no other camera of the instant gave a transform for this time."""
        is_new = (child, stamp_ns) not in self._sent
        self._sent.add((child, stamp_ns))
        return is_new

    def _may_publish(self, parent: str, child: str) -> bool:
        assert self._frames is not None
        others = self._frames.parents(child)
        if not others and parent != child:
            return True
        self._counters.add(Event.TF_CONFLICT)
        reason = 'a frame is not its own parent' if parent == child else (
            f'{child} has the parent {", ".join(sorted(others))} already'
            f'{self._advice(parent, child)}')
        self._tell_once(f'{parent} -> {child} is not published: {reason}', key=child)
        return False

    def _advice(self, parent: str, child: str) -> str:
        """Say what to set where somebody else publishes a link."""
        mode = self._settings.mode
        if child == self._settings.odom_frame:
            other = ', by another localisation: end one of the two, or set '
            return other + ('tf.publish_map: false' if mode != 'map_to_odom' else 'tf.mode: none')
        if mode == 'odom_to_base':
            return (
                ', by another odometry: end one of the two, or set tf.mode: map_to_odom, and this '
                'node corrects the other')
        return (
            ', as on a robot with a URDF, which tf.mode: camera is not for: odometry and path are '
            f'in {parent}, which TF does not connect to it. Set tf.mode: odom_to_base if this '
            'node is the odometry of the robot, map_to_odom if it has another, none if it needs '
            'none')

    def _is_finite(self, *poses: Array) -> bool:
        """Hold back what would spoil every tree of frames that hears of it."""
        if all(np.isfinite(pose).all() for pose in poses):
            return True
        self._counters.add(Event.TF_NOT_FINITE)
        self._tell_once('no pose is published: it is not finite', key='not finite')
        return False

    def _tell_once(self, text: str, *, key: str) -> None:
        if key not in self._told:
            self._told.add(key)
            _logger.warning(text)
