# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The tree of frames over the last seconds."""

from math import isnan
from threading import RLock
from time import monotonic, sleep

from builtin_interfaces.msg import Time as TimeMessage
from geometry_msgs.msg import TransformStamped
from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.time import Time
from tf2_ros.exceptions import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformException,
)
from tf2_ros.frame_track import MovingTrack, Pose, StaticTrack

_DEFAULT_CACHE_NS = 10 * 10**9
_MIN_SQUARED_NORM = 1e-12
_POLL_S = 0.02
_AT_ONCE = Duration()


class Buffer:
    """
    Store transforms and answer ``target_T_source`` at a time.

    Without a node there is no jump of its clock to clear the buffer at.
    """

    def __init__(self, cache_time: Duration | None = None, node: Node | None = None) -> None:
        self._cache_ns = _DEFAULT_CACHE_NS if cache_time is None else cache_time.nanoseconds
        self._tracks: dict[str, MovingTrack | StaticTrack] = {}
        self._frames: set[str] = set()
        self._lock = RLock()
        self._logger = get_logger('tf2_buffer')
        self.clock = Clock() if node is None else node.get_clock()
        threshold = JumpThreshold(
            min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=True)
        self.jump_handle = self.clock.create_jump_callback(
            threshold, post_callback=self.time_jump_callback)

    def time_jump_callback(self, _time_jump: TimeJump) -> None:
        """Forget the moving transforms of another time."""
        self._logger.warning('Detected jump back in time. Clearing tf buffer.')
        self.clear()

    def clear(self) -> None:
        """Forget the moving transforms; names of frames and static transforms stay."""
        with self._lock:
            for track in self._tracks.values():
                track.clear()

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Store a moving transform; an invalid one is logged and ignored."""
        self._set(transform, authority, is_static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Store a transform that holds at all times."""
        self._set(transform, authority, is_static=True)

    def lookup_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Time | TimeMessage,
        timeout: Duration = _AT_ONCE,
    ) -> TransformStamped:
        """
        Give ``target_T_source``; time 0 asks for the latest common time.

        :raises TransformException: one of its kinds, if it cannot be had in time.
        """
        self.can_transform(target_frame, source_frame, time, timeout)
        with self._lock:
            stamp_ns, pose = self._look_up(target_frame, source_frame, _nanoseconds(time))
        message = TransformStamped(child_frame_id=source_frame, transform=pose.to_message())
        message.header.frame_id = target_frame
        message.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
        return message

    def can_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Time | TimeMessage,
        timeout: Duration = _AT_ONCE,
    ) -> bool:
        """Tell whether a look-up succeeds, after a wait for it of at most the timeout."""
        deadline = monotonic() + timeout.nanoseconds * 1e-9
        while True:
            try:
                with self._lock:
                    self._look_up(target_frame, source_frame, _nanoseconds(time))
                return True
            except TransformException:
                if monotonic() >= deadline:
                    return False
            sleep(_POLL_S)

    def _set(self, message: TransformStamped, authority: str, is_static: bool) -> None:
        complaint = _complaint(message)
        if complaint:
            self._logger.error(f'{complaint} (authority {authority})')
            return
        pose = Pose.from_message(message)
        child = message.child_frame_id.removeprefix('/')
        with self._lock:
            self._frames.update((pose.parent, child))
            if is_static:
                self._tracks[child] = StaticTrack(pose)
                return
            track = self._tracks.get(child)
            if not isinstance(track, MovingTrack):
                track = self._tracks[child] = MovingTrack(self._cache_ns)
            if not track.insert(_nanoseconds(message.header.stamp), pose):
                self._logger.warning(
                    f'TF_OLD_DATA ignoring data from the past for frame {child}')

    def _look_up(self, target: str, source: str, stamp_ns: int) -> tuple[int, Pose]:
        if target == source:
            track = self._tracks.get(source)
            return stamp_ns or (track.latest_ns if track else 0), Pose(target)
        for name in (target, source):
            if not name or name.startswith('/'):
                raise InvalidArgumentException(f'"{name}" is no frame name: empty, or with "/"')
            if name not in self._frames:
                raise LookupException(f'"{name}" passed to lookupTransform does not exist. ')
        if stamp_ns == 0:
            stamp_ns = self._latest_common_ns(target, source)
        ancestors, source_error = self._climb(source, stamp_ns)
        others, target_error = self._climb(target, stamp_ns)
        common = next((name for name in others if name in ancestors), None)
        if common is not None:
            return stamp_ns, others[common].inverse(target) @ ancestors[common]
        raise target_error or source_error or _not_connected(target, source)

    def _climb(
        self, frame: str, stamp_ns: int,
    ) -> tuple[dict[str, Pose], ExtrapolationException | None]:
        """Give ``ancestor_T_frame`` of the frame and its ancestors, and what ended the climb."""
        poses = {frame: Pose(frame)}
        current = frame
        while current in self._tracks:
            try:
                parent_T_current = self._tracks[current].at(stamp_ns)
            except ExtrapolationException as error:
                return poses, error
            if parent_T_current.parent in poses:
                raise LookupException('The tf tree is invalid because it contains a loop.')
            poses[parent_T_current.parent] = parent_T_current @ poses[current]
            current = parent_T_current.parent
        return poses, None

    def _latest_common_ns(self, target: str, source: str) -> int:
        """Give the newest time at which every moving link of the path is known, or 0."""
        paths = [self._latest_path(target), self._latest_path(source)]
        if paths[0][-1] != paths[1][-1]:
            raise _not_connected(target, source)
        links = set(paths[0]) ^ set(paths[1])
        stamps_ns = [self._tracks[child].latest_ns for child in links]
        return min((stamp_ns for stamp_ns in stamps_ns if stamp_ns), default=0)

    def _latest_path(self, frame: str) -> list[str]:
        path = [frame]
        while path[-1] in self._tracks:
            parent = self._tracks[path[-1]].latest_parent()
            if parent is None or parent in path:
                break
            path.append(parent)
        return path


def _complaint(message: TransformStamped) -> str | None:
    """Say what is wrong with a transform, if anything is."""
    parent = message.header.frame_id.removeprefix('/')
    child = message.child_frame_id.removeprefix('/')
    position, turn = message.transform.translation, message.transform.rotation
    quaternion = (turn.x, turn.y, turn.z, turn.w)
    if parent == child:
        return f'TF_SELF_TRANSFORM: Ignoring transform of "{child}" in itself'
    if not child:
        return 'TF_NO_CHILD_FRAME_ID: Ignoring transform because child_frame_id not set'
    if not parent:
        return f'TF_NO_FRAME_ID: Ignoring transform of "{child}" because frame_id not set'
    if any(isnan(value) for value in (position.x, position.y, position.z, *quaternion)):
        return f'TF_NAN_INPUT: Ignoring transform of "{child}" because of a nan value'
    if sum(value * value for value in quaternion) < _MIN_SQUARED_NORM:
        return f'TF_DENORMALIZED_QUATERNION: Ignoring transform of "{child}"'
    return None


def _not_connected(target: str, source: str) -> ConnectivityException:
    return ConnectivityException(
        f"Could not find a connection between '{target}' and '{source}' because they are "
        'not part of the same tree.')


def _nanoseconds(time: Time | TimeMessage) -> int:
    if isinstance(time, TimeMessage):
        return time.sec * 10**9 + time.nanosec
    return time.nanoseconds
