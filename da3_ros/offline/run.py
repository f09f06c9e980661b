# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A recording through the pipeline, and what of it is written."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from da3_ros.errors import InputError
from da3_ros.mapping.config import PipelineConfig
from da3_ros.mapping.frame_stream import FrameStream, Taken
from da3_ros.mapping.keyframe import WindowEngine
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.offline.counts import Counts
from da3_ros.offline.input.frames import FrameMaker
from da3_ros.offline.input.reading_ahead import read_ahead
from da3_ros.offline.input.robot import Robot
from da3_ros.offline.input.source import Source
from da3_ros.offline.journal import Interrupted
from da3_ros.offline.sessions import Output, Sessions
from da3_ros.ros.parameters.settings import NodeSettings

# Frames that may wait for the engine: enough that it never waits for them.
_NUM_AHEAD = 16


def run(
    source: Source, engine: WindowEngine, settings: NodeSettings, *, num_views: int,
    output: Output, robot: Robot | None = None,
    tell: Callable[[Counts], object] = lambda _: None,
    is_ending: Callable[[], bool] = lambda: False,
) -> Counts:
    """
    Process a recording.

    :param source: open.
    :param engine: infers windows.
    :param settings: of the node.
    :param num_views: most views in one inference.
    :param output: where and what is written.
    :param robot: who says where the cameras were; None: nobody.
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
    pipeline = DepthPipeline(engine, config)
    taken_frames = _taken(source, robot, settings, config, counts)
    with (
        Sessions(settings, output, counts, robot) as sessions,
        read_ahead(taken_frames, size=_NUM_AHEAD) as ahead,
    ):
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
    source: Source, robot: Robot | None, settings: NodeSettings, config: PipelineConfig,
    counts: Counts,
) -> Iterator[Taken]:
    """Read, decode and select; belongs to one thread."""
    now_s = [0.0]
    # By the recording's clock, so that it decides as the node did when it was recorded.
    stream = FrameStream(config, max_gap_s=settings.camera.max_gap_s, now_s=lambda: now_s[0])
    for frame in FrameMaker(settings, source.losses, robot).frames(source):
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
