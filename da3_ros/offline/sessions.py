# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What comes out of the pipeline becomes sessions, which are written when they end."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from da3_ros.export.save import ALL_FORMATS, save_session
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.session_record import Session, SessionRecord
from da3_ros.mapping.update import PipelineUpdate, WindowUpdate
from da3_ros.offline.counts import Counts
from da3_ros.offline.input.robot import Robot
from da3_ros.offline.output.session_bag import SessionBag
from da3_ros.offline.world_frame import WorldFrame
from da3_ros.ros.output.image_size import camera_image
from da3_ros.ros.output.keyframe_messages import as_published
from da3_ros.ros.parameters.settings import NodeSettings

BAG = 'bag'
OUTPUTS = (*ALL_FORMATS, BAG)
"""What ``da3 process`` can write: what the node saves, and what it publishes."""
# Keyframes that are kept for the outputs; beyond, they are thinned out evenly, as in the node.
MAX_KEYFRAMES = 2000
_MAX_POSES = 10**6
_UNPLACED = 'tf.mode needs transforms that the recording does not have'


@dataclass(frozen=True)
class Output:
    """
    Where a run writes, and what.

    :param folder: a folder per session is created there.
    :param formats: some of ``OUTPUTS``.
    :param show: is given every session that was written, with the name of its folder.
    """

    folder: Path
    formats: frozenset[str]
    show: Callable[[str, Session], object] = lambda _name, _session: None


class Sessions:
    """Collect one session after the other, and write each when it ends."""

    def __init__(
        self, settings: NodeSettings, output: Output, counts: Counts, robot: Robot | None = None
    ) -> None:
        """
        Begin with none.

        :param settings: of the node.
        :param output: where and what is written.
        :param counts: of the run.
        :param robot: who says where the cameras were; None: nobody.
        """
        self._settings = settings
        self._output = output
        self._counts = counts
        self._record = SessionRecord()
        self._world = WorldFrame(
            settings, self._record, has_robot=robot is not None and not robot.is_person,
            is_given=robot is not None and robot.is_person)
        self._number = 0
        self._segments: set[int] = set()
        self._bag: SessionBag | None = None
        self._opened = ExitStack()

    def __enter__(self) -> 'Sessions':
        """Return the sessions."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give up what was not ended."""
        self._opened.__exit__(kind, error, trace)

    def take(self, update: PipelineUpdate) -> None:
        """
        Take in what the pipeline brought.

        :param update: of the pipeline.
        :raises SaveError: if the disk does not take a session.
        """
        for window in update.windows:
            if window.session != self._number:
                self.end()
                self._number = window.session
            self._counts.note_window(window)
            if window.correction is not None:
                self._record.correct(window.correction)
            for keyframe in window.keyframes:
                if keyframe.has_pose:
                    self._add(keyframe, window)
            if window.loop is not None:
                self._world.correct(window.map_T_odom)

    def end(self) -> None:
        """
        Write the session, if there is anything of it.

        :raises SaveError: if the disk does not take it.
        """
        if self._bag is not None and self._world.newest is not None:
            self._bag.end(self._world.newest)
        self._opened.close()
        self._world.show()
        session = self._record.session()
        if session.keyframes:
            saved = save_session(
                session, self._output.folder, self._output.formats - {BAG}, self._settings.map,
                self._settings.grid, beside=None if self._bag is None else self._bag.path)
            self._output.show(saved.path.name, session)
        self._bag = None
        self._counts.num_segments += len(self._segments)
        self._segments.clear()
        self._world.begin_session()
        self._record.begin_session()

    def _add(self, keyframe: PosedKeyframe, window: WindowUpdate) -> None:
        placed = self._world.place(keyframe, window.map_T_odom)
        if placed is None:
            self._counts.dropped[_UNPLACED] += 1
            return
        self._segments.add(keyframe.segment)
        published = as_published(keyframe, self._settings)
        is_large = self._settings.depth.size == 'image' and 'colmap' in self._output.formats
        self._record.add(
            published, window.map_T_odom, max_keyframes=MAX_KEYFRAMES, max_poses=_MAX_POSES,
            camera_image=camera_image(keyframe, self._settings.preprocess) if is_large else None)
        if BAG in self._output.formats:
            if self._bag is None:
                self._bag = self._opened.enter_context(SessionBag(
                    self._output.folder / BAG, self._settings, self._record))
            self._bag.add(keyframe, published, placed)
