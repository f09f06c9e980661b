# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Frames of all cameras in, instants of keyframes out, session by session."""

from collections.abc import Callable
from dataclasses import dataclass, replace
import time

from da3_ros.mapping.config import PipelineConfig
from da3_ros.mapping.keyframe import Frame, Instant, Keyframe
from da3_ros.mapping.live import LiveSelector
from da3_ros.mapping.rig import RigSelector
from da3_ros.mapping.session_watch import Admitted, Refused, SessionWatch


@dataclass(frozen=True, eq=False)
class Taken:
    """
    What came of a frame.

    :param instants: for ``DepthPipeline.add``, oldest first; they need not hold the frame.
    :param admitted: frames that go on, in a session as it was or in a new one.
    :param refused: frames that are dropped.
    :param live: frames for ``DepthPipeline.live``, after the instants; none unless all frames are
        wanted.
    """

    instants: tuple[Instant, ...] = ()
    admitted: tuple[Admitted, ...] = ()
    refused: tuple[Refused, ...] = ()
    live: tuple[Keyframe, ...] = ()


class FrameStream:
    """
    Decide where sessions begin and which frames are kept; the only one who does.

    Everything belongs to the thread that receives frames, and is cheap enough for every frame. A
    frame whose stamp, size or name does not fit waits for a second one that confirms it.
    """

    def __init__(
        self, config: PipelineConfig, *, max_gap_s: float = 10.0,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Wait for the first frame.

        :param config: which cameras there are, and which frames are kept.
        :param max_gap_s: a longer gap between the frames of all cameras begins a session.
        :param now_s: tells real time.
        """
        self._watch = SessionWatch(max_gap_s, now_s=now_s)
        self._selector = RigSelector(config.rig, config.keyframe)
        self._live = LiveSelector(config.frames)
        self._new_session: str | None = None

    def take(self, frame: Frame) -> Taken:
        """
        Take in the newest frame of a camera.

        :param frame: of a camera of the rig.
        """
        verdicts = self._watch.observe(frame)
        admitted = tuple(verdict for verdict in verdicts if isinstance(verdict, Admitted))
        refused = tuple(verdict for verdict in verdicts if isinstance(verdict, Refused))
        instants: list[Instant] = []
        for each in admitted:
            if each.new_session is not None:
                instants += self.release()
                self._selector.restart()
                self._new_session = each.new_session
            instants += self._announced(self._selector.select(each.frame))
        live = self._live.select(
            [each.frame for each in admitted],
            [keyframe for instant in instants for keyframe in instant.keyframes])
        return Taken(tuple(instants), admitted, refused, live)

    def release(self) -> tuple[Instant, ...]:
        """
        Stop waiting for the frames of other cameras.

        :returns: what waited, for ``DepthPipeline.add``.
        """
        return self._announced(self._selector.release())

    def expire(self) -> tuple[Refused, ...]:
        """Drop the frames that wait to be confirmed, because none has come for a while."""
        return self._watch.expire()

    def restart(self) -> None:
        """Let the next frame be kept, whatever it shows, because the pipeline was reset."""
        self._selector.restart()

    def end(self) -> Taken:
        """
        Give out what waits, because no more frames come; if one does, it is a first one.

        :returns: what waited for other cameras, or in vain to be confirmed.
        """
        taken = Taken(self.release(), refused=self._watch.end())
        self._selector.restart()
        return taken

    def _announced(self, instants: tuple[Instant, ...]) -> tuple[Instant, ...]:
        """Tell with the first instant why its session begins."""
        if not instants or self._new_session is None:
            return instants
        first = replace(instants[0], new_session=self._new_session)
        self._new_session = None
        return (first, *instants[1:])
