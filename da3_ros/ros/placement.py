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

"""
Where a keyframe lies in the robot's world, and what that means for /tf (REP-105).

The pipeline's own world begins at the first camera, level. In the modes that speak of a robot, its
camera mounting (or odometry) at the first keyframe of a session says where that camera really was.
"""

from dataclasses import dataclass
import logging

from da3_ros.geometry import rigid
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.ros.conversions import Array, to_transform
from da3_ros.ros.counters import Counters, Event
from da3_ros.ros.robot_frames import RobotFrames
from da3_ros.ros.settings import TfSettings
from geometry_msgs.msg import TransformStamped

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PlacedKeyframe:
    """
    Poses of one keyframe.

    :param world_frame: name of the frame of the poses.
    :param world_T_camera: (4, 4).
    :param body_frame: name of the camera's or the robot's frame.
    :param world_T_body: (4, 4) pose for odometry and path.
    :param transform: for /tf, or None.
    """

    world_frame: str
    world_T_camera: Array
    body_frame: str
    world_T_body: Array
    transform: TransformStamped | None


class KeyframePlacer:
    """Place the keyframes of one session after the other."""

    def __init__(
        self, settings: TfSettings, frames: RobotFrames | None, counters: Counters
    ) -> None:
        """
        Start a session.

        :param settings: modes and names.
        :param frames: of the robot; None where the mode needs none.
        :param counters: of the node.
        """
        self._settings = settings
        self._frames = frames
        self._counters = counters
        self._world_T_odom: Array | None = None
        self._told: set[str] = set()
        self._is_publishing = False

    def begin_session(self) -> None:
        """Forget where the first camera was."""
        self._world_T_odom = None
        self._told.clear()

    def place(self, keyframe: PosedKeyframe) -> PlacedKeyframe | None:
        """
        Place a keyframe.

        :param keyframe: with a pose.
        :returns: None where the network gave no pose or the robot no transform.
        """
        if not keyframe.has_pose:
            return None
        mode = self._settings.mode
        if mode in ('camera', 'none'):
            return self._place_camera(keyframe)
        target = self._settings.base_frame if mode == 'odom_to_base' else (
            self._settings.odom_frame)
        robot_T_camera = self._look_up(target, keyframe)
        if robot_T_camera is None:
            return None
        if self._world_T_odom is None:
            # World and the robot's frame coincide at the first keyframe.
            self._world_T_odom = robot_T_camera @ rigid.inverse(keyframe.odom_T_camera)
        world_T_camera = self._world_T_odom @ keyframe.odom_T_camera
        world_T_robot = world_T_camera @ rigid.inverse(robot_T_camera)
        return self._place_robot(keyframe, world_T_camera, world_T_robot)

    def _place_camera(self, keyframe: PosedKeyframe) -> PlacedKeyframe:
        world, camera = self._settings.world_frame, keyframe.frame_id
        pose = keyframe.odom_T_camera
        is_wanted = self._settings.mode == 'camera'
        transform = self._transform(pose, keyframe, world, camera) if is_wanted else None
        return PlacedKeyframe(world, pose, camera, pose, transform)

    def _place_robot(
        self, keyframe: PosedKeyframe, world_T_camera: Array, world_T_robot: Array
    ) -> PlacedKeyframe | None:
        settings = self._settings
        world, base = settings.world_frame, settings.base_frame
        if settings.mode == 'odom_to_base':
            transform = self._transform(world_T_robot, keyframe, world, base)
            return PlacedKeyframe(world, world_T_camera, base, world_T_robot, transform)
        base_T_camera = self._look_up(base, keyframe)
        if base_T_camera is None:
            return None
        transform = self._transform(world_T_robot, keyframe, world, settings.odom_frame)
        world_T_base = world_T_camera @ rigid.inverse(base_T_camera)
        return PlacedKeyframe(world, world_T_camera, base, world_T_base, transform)

    def _look_up(self, target: str, keyframe: PosedKeyframe) -> Array | None:
        assert self._frames is not None
        found = self._frames.look_up(
            target, keyframe.frame_id, stamp_ns=keyframe.stamp_ns,
            timeout_s=self._settings.timeout_s,
        )
        if not isinstance(found, str):
            return found
        self._counters.add(Event.TF_MISSING)
        self._tell_once(f'no pose is published: {target} from {keyframe.frame_id}: {found}',
                        key=target)
        return None

    def _transform(
        self, parent_T_child: Array, keyframe: PosedKeyframe, parent: str, child: str
    ) -> TransformStamped | None:
        """Make a transform, unless somebody else publishes one of that frame."""
        assert self._frames is not None
        # Our own transforms come back to us, but those before the first of them are another's.
        ours = frozenset((parent,)) if self._is_publishing else frozenset()
        others = self._frames.parents(child) - ours
        if others:
            self._counters.add(Event.TF_CONFLICT)
            self._tell_once(
                f'{parent} -> {child} is not published: {child} has the parent '
                f'{", ".join(sorted(others))} already; choose another tf.mode', key=child)
            return None
        self._is_publishing = True
        return to_transform(
            parent_T_child, time_ns=keyframe.stamp_ns, parent=parent, child=child
        )

    def _tell_once(self, text: str, *, key: str) -> None:
        if key not in self._told:
            self._told.add(key)
            _logger.warning(text)
