# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What is known of the cameras besides their images: by the robot, or by whoever gave poses."""

from collections.abc import Iterable
from dataclasses import dataclass
import logging
from pathlib import Path
from typing import Protocol

from da3_ros.errors import InputError
from da3_ros.geometry.arrays import Array
from da3_ros.offline.input.given_poses import GivenPoses, read_poses
from da3_ros.offline.input.source import Losses, Shot, Source
from da3_ros.offline.input.transforms import TransformTree
from da3_ros.ros.parameters.settings import NodeSettings

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CameraPoses:
    """
    Poses of a camera at one time.

    :param robot_T_camera: (4, 4) [m] in the robot's odometry, or None.
    :param base_T_camera: (4, 4) [m] on the robot, or None.
    """

    robot_T_camera: Array | None = None
    base_T_camera: Array | None = None


class Robot(Protocol):
    """Whoever knows where the cameras were."""

    @property
    def is_person(self) -> bool:
        """Tell whether somebody gave the poses, in a world that the outputs are to be in."""
        ...

    def poses(self, shot: Shot, frame_id: str) -> CameraPoses:
        """
        Return what is known of a camera; what is missing is noted.

        :param shot: of the camera.
        :param frame_id: of the camera.
        """
        ...


class NoRobot:
    """Nobody knows."""

    is_person = False

    def poses(self, shot: Shot, frame_id: str) -> CameraPoses:
        """Return nothing."""
        del shot, frame_id
        return CameraPoses()


class RobotOfBag:
    """The robot's own tree of frames, with the frames that the node would ask for."""

    is_person = False

    def __init__(self, tree: TransformTree, settings: NodeSettings, losses: Losses) -> None:
        """
        Remember whom to ask.

        :param tree: of the whole bag.
        :param settings: of the node.
        :param losses: where it is noted what is not known.
        """
        self._tree = tree
        self._odom = settings.tf.odom_frame if settings.needs_odometry else None
        self._base = settings.tf.base_frame if settings.needs_mounts else None
        self._losses = losses

    def poses(self, shot: Shot, frame_id: str) -> CameraPoses:
        """
        Look a camera up.

        :param shot: of the camera.
        :param frame_id: of the camera.
        """
        return CameraPoses(*(
            None if target is None else self._look_up(target, frame_id, shot.stamp_ns)
            for target in (self._odom, self._base)))

    def _look_up(self, target: str, frame_id: str, stamp_ns: int) -> Array | None:
        found = self._tree.look_up(target, frame_id, stamp_ns)
        if isinstance(found, str):
            self._losses.note_unposed(f'{target} from {frame_id}', found)
            return None
        return found


class PersonWithPoses:
    """Somebody who knows where the only camera was."""

    is_person = True

    def __init__(self, given: GivenPoses, losses: Losses) -> None:
        """
        Remember the poses.

        :param given: by stamp or by name.
        :param losses: where it is noted what is not known.
        """
        self._given = given
        self._losses = losses

    def poses(self, shot: Shot, frame_id: str) -> CameraPoses:
        """
        Find the pose of an image.

        :param shot: of the camera.
        :param frame_id: of the camera.
        """
        del frame_id
        found = self._given.pose(shot.name, shot.stamp_ns)
        if isinstance(found, str):
            self._losses.note_unposed(
                'in the given poses', f'{found} (image {shot.name or shot.stamp_ns})')
            return CameraPoses()
        return CameraPoses(robot_T_camera=found)


def read_transforms(messages: Iterable[tuple[bool, object]]) -> TransformTree:
    """
    Collect the transforms of a bag.

    :param messages: whether it is a static one, and the tf2_msgs TFMessage.
    """
    tree = TransformTree()
    for is_static, message in messages:
        for each in message.transforms:  # type: ignore[attr-defined]
            stamp, moved, turned = (
                each.header.stamp, each.transform.translation, each.transform.rotation)
            tree.add(
                each.header.frame_id, each.child_frame_id,
                int(stamp.sec) * 10**9 + int(stamp.nanosec),
                (moved.x, moved.y, moved.z, turned.x, turned.y, turned.z, turned.w),
                is_static=is_static)
    return tree


def find_robot(source: Source, poses: Path | None, settings: NodeSettings) -> Robot | None:
    """
    Find who says where the cameras were.

    :param source: of the recording, open.
    :param poses: file or folder that somebody gave, or None.
    :param settings: of the node.
    :returns: None where nobody is asked, or nobody is there and the cameras do without.
    :raises InputError: if metres are to come from poses, and there are none.
    :raises ValueError: if the poses cannot be used.
    """
    if poses is not None:
        if len(settings.camera.names) > 1:
            raise ValueError(
                f'poses: got {poses} with the cameras {", ".join(settings.camera.names)}, '
                'expected one camera: whose poses they are is not known')
        return PersonWithPoses(read_poses(poses), source.losses)
    if not (settings.needs_odometry or settings.needs_mounts):
        return None
    tree = source.transforms()
    if tree:
        return RobotOfBag(tree, settings, source.losses)
    if settings.scale.source in ('tf', 'pose', 'rig'):
        raise InputError(
            f'scale.source: got {settings.scale.source!r}, and the recording has no /tf or '
            '/tf_static; expected a bag with them'
            + (', or poses in a file (--poses)' if settings.needs_robot_poses else ''))
    _logger.info('no transforms: where the robot is, its camera says (tf.mode: camera)')
    return None
