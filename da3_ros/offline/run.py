# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A recording through the pipeline, and what of it is written."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from da3_ros.errors import InputError
from da3_ros.export.save import save_session
from da3_ros.mapping.config import PipelineConfig
from da3_ros.mapping.frame_stream import FrameStream, Taken
from da3_ros.mapping.keyframe import Frame, NS_PER_S, PosedKeyframe, WindowEngine
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.mapping.session_record import Session, SessionRecord
from da3_ros.mapping.update import PipelineUpdate, WindowUpdate
from da3_ros.offline.frames import FrameMaker
from da3_ros.offline.journal import Interrupted
from da3_ros.offline.reading_ahead import read_ahead
from da3_ros.offline.source import Source
from da3_ros.offline.world_frame import WorldFrame
from da3_ros.ros.output.depth_mask import mask_depth
from da3_ros.ros.output.image_size import camera_image
from da3_ros.ros.parameters.settings import NodeSettings
import numpy as np

# Frames that may wait for the engine: enough that it never waits for them.
_NUM_AHEAD = 16
# Keyframes that are kept for the outputs; beyond, they are thinned out evenly, as in the node.
MAX_KEYFRAMES = 2000
_MAX_POSES = 10**6
_UNPLACED = 'tf.mode needs transforms that the recording does not have'


@dataclass(eq=False)
class Counts:
    """
    What became of a recording.

    :param num_frames: that were read.
    :param num_keyframes: that came out with depth.
    :param num_poses: of these, with a pose.
    :param num_windows: that were inferred.
    :param num_segments: pieces of world, over all sessions.
    :param num_loops: that were closed.
    :param first_ns: stamp of the first frame.
    :param last_ns: stamp of the last frame.
    :param refused: frames that did not fit the stream, by the reason.
    :param dropped: keyframes that did not come out, by the reason.
    """

    num_frames: int = 0
    num_keyframes: int = 0
    num_poses: int = 0
    num_windows: int = 0
    num_segments: int = 0
    num_loops: int = 0
    first_ns: int = 0
    last_ns: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def duration_s(self) -> float:
        """Return how long the recording took."""
        return (self.last_ns - self.first_ns) / NS_PER_S

    def note_frame(self, frame: Frame) -> None:
        """
        Count a frame.

        :param frame: that was read.
        """
        self.first_ns = frame.stamp_ns if self.num_frames == 0 else self.first_ns
        self.last_ns = max(self.last_ns, frame.stamp_ns)
        self.num_frames += 1

    def note_taken(self, taken: Taken) -> None:
        """
        Count frames that go no further.

        :param taken: what came of a frame.
        """
        for refused in taken.refused:
            self.refused[refused.refusal.value] += 1

    def note_window(self, window: WindowUpdate) -> None:
        """
        Count what a window brought.

        :param window: of the pipeline.
        """
        self.num_windows += window.report is not None
        self.num_loops += window.loop is not None
        self.num_keyframes += len(window.keyframes)
        self.num_poses += sum(keyframe.has_pose for keyframe in window.keyframes)
        for dropped in window.dropped:
            self.dropped[dropped.detail or dropped.reason.value] += 1


@dataclass(frozen=True)
class Output:
    """
    Where a run writes, and what.

    :param folder: a folder per session is created there.
    :param formats: some of ``export.save.FORMATS``.
    :param show: is given every session that was written, with the name of its folder.
    """

    folder: Path
    formats: frozenset[str]
    show: Callable[[str, Session], object] = lambda _name, _session: None


def run(
    source: Source, engine: WindowEngine, settings: NodeSettings, *, num_views: int,
    output: Output, tell: Callable[[Counts], object] = lambda _: None,
    is_ending: Callable[[], bool] = lambda: False,
) -> Counts:
    """
    Process a recording.

    :param source: open.
    :param engine: infers windows.
    :param settings: of the node.
    :param num_views: most views in one inference.
    :param output: where and what is written.
    :param tell: is told how far it is, after every frame that may have brought something.
    :param is_ending: asked between two windows.
    :raises Interrupted: if that says so.
    :raises InputError: if nothing comes out.
    :raises SaveError: if the disk does not take it.
    """
    config = settings.pipeline(num_views)
    # Nothing depends on the pace of this machine: the same recording gives the same outputs.
    config = replace(config, window=replace(config.window, is_paced=False))
    counts = Counts()
    sessions = _Sessions(settings, output, counts, WorldFrame(settings))
    pipeline = DepthPipeline(engine, config)
    taken_frames = _taken(source, settings, config, counts)
    with read_ahead(taken_frames, size=_NUM_AHEAD) as ahead:
        for taken in ahead:
            if is_ending():
                raise Interrupted
            for instant in taken.instants:
                sessions.take(pipeline.add(instant))
                if config.loop.enabled:
                    sessions.take(pipeline.close_loops())
            tell(counts)
    sessions.take(pipeline.flush())
    sessions.take(pipeline.close_loops())
    tell(counts)
    sessions.end()
    _check(counts, source)
    return counts


def _taken(
    source: Source, settings: NodeSettings, config: PipelineConfig, counts: Counts
) -> Iterator[Taken]:
    """Read, decode and select; belongs to one thread."""
    now_s = [0.0]
    # By the recording's clock, so that it decides as the node did when it was recorded.
    stream = FrameStream(config, max_gap_s=settings.camera.max_gap_s, now_s=lambda: now_s[0])
    for frame in FrameMaker(settings, source.losses).frames(source):
        now_s[0] = frame.received_s
        counts.note_frame(frame)
        taken = stream.take(frame)
        counts.note_taken(taken)
        yield taken
    taken = stream.end()
    counts.note_taken(taken)
    yield taken


def _check(counts: Counts, source: Source) -> None:
    """Refuse a recording of which nothing came out."""
    if counts.num_poses:
        return
    if counts.num_frames == 0:
        what = 'no image could be read'
    elif counts.num_keyframes:
        what = f'{counts.num_keyframes} keyframes have depth but none a pose, as with networks ' \
               'that estimate no cameras'
    else:
        what = f'no keyframe of {counts.num_frames} images came out'
    reasons = [*source.losses.lines(), *counts.dropped]
    raise InputError('; '.join([f'{source.description}: {what}', *reasons]))


class _Sessions:
    """Collect one session after the other, and write each when it ends."""

    def __init__(
        self, settings: NodeSettings, output: Output, counts: Counts, world: WorldFrame
    ) -> None:
        self._settings = settings
        self._world = world
        self._map_T_odom = np.eye(4)
        self._output = output
        self._counts = counts
        self._record = SessionRecord()
        self._number = 0
        self._segments: set[int] = set()

    def take(self, update: PipelineUpdate) -> None:
        """Take in what the pipeline brought."""
        for window in update.windows:
            if window.session != self._number:
                self.end()
                self._number = window.session
            self._counts.note_window(window)
            self._map_T_odom = window.map_T_odom
            if window.correction is not None:
                self._record.correct(window.correction)
            for keyframe in window.keyframes:
                if keyframe.has_pose:
                    self._add(keyframe, window)

    def end(self) -> None:
        """Write the session, if there is anything of it."""
        session = self._session()
        if session.keyframes:
            saved = save_session(
                session, self._output.folder, self._output.formats, self._settings.map,
                self._settings.grid)
            self._output.show(saved.path.name, session)
        self._counts.num_segments += len(self._segments)
        self._segments.clear()
        self._world.begin_session()
        self._record.begin_session()

    def _add(self, keyframe: PosedKeyframe, window: WindowUpdate) -> None:
        if not self._world.place(keyframe, window.map_T_odom):
            self._counts.dropped[_UNPLACED] += 1
            return
        self._segments.add(keyframe.segment)
        depth = mask_depth(keyframe.depth, keyframe.confidence, self._settings.depth)
        is_large = self._settings.depth.size == 'image' and 'colmap' in self._output.formats
        self._record.add(
            replace(keyframe, depth=depth), window.map_T_odom, max_keyframes=MAX_KEYFRAMES,
            max_poses=_MAX_POSES,
            camera_image=camera_image(keyframe, self._settings.preprocess) if is_large else None)

    def _session(self) -> Session:
        self._record.show(*self._world.shown(self._map_T_odom))
        return self._record.session()
