# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Bring the frames of several cameras together; one camera is the plain case."""

from collections import deque
from collections.abc import Iterator
import itertools

from da3_ros.mapping.config import KeyframeConfig, RigConfig
from da3_ros.mapping.keyframe import Frame, Instant, Keyframe, NS_PER_S
from da3_ros.mapping.keyframe_selector import KeyframeSelector

# An instant waits so long for images on their way, counted in stamps.
_MAX_WAIT_NS = 500_000_000
# A camera that has been silent for so long is not waited for.
_MAX_SILENCE_NS = 1_000_000_000


class RigSelector:
    """
    Decide which frames of a session become keyframes, and which of them belong together.

    Any camera may lead: the first to see something new begins an instant. The frames of the
    others nearest in time join it, as soon as no nearer one can come. Every frame is judged once,
    against the last one that its camera gave to an instant; while an instant waits, so do the
    frames after it.
    """

    def __init__(self, rig: RigConfig, keyframe: KeyframeConfig) -> None:
        """
        Wait for the first frame.

        :param rig: the cameras.
        :param keyframe: what counts as new.
        """
        self._tolerance_ns = round(rig.sync_tolerance_s * NS_PER_S)
        self._tracks = {name: _Track(keyframe) for name in rig.cameras}
        self._ids = itertools.count()
        self._instants = itertools.count()
        self._unjudged: deque[Frame] = deque()
        self._leader: Frame | None = None
        self._begun_ns: int | None = None

    def restart(self) -> None:
        """Begin a session: forget the frames so far, and let the next one lead."""
        for track in self._tracks.values():
            track.clear()
            track.selector.restart()
        self._unjudged.clear()
        self._leader = None
        self._begun_ns = None

    def select(self, frame: Frame) -> tuple[Instant, ...]:
        """
        Take in the newest frame of a camera.

        :param frame: of a camera of the rig.
        :returns: the instants that are complete now, which need not hold the frame.
        :raises ValueError: if the rig has no such camera.
        """
        if frame.camera not in self._tracks:
            raise ValueError(f'camera: got {frame.camera!r}, expected one of {[*self._tracks]}')
        if self._begun_ns is None:
            # Cameras that have not been seen yet count as seen before the first frame.
            self._begun_ns = frame.stamp_ns - 1
        if self._tracks[frame.camera].append(frame):
            self._unjudged.append(frame)
        instants = []
        while (leader := self._judge()) is not None and self._is_complete(leader):
            instants.append(self._close(leader))
        self._forget()
        return tuple(instants)

    def release(self) -> tuple[Instant, ...]:
        """
        Wait no longer, because the frames stop or a session ends.

        :returns: the instants that waited, with what had come.
        """
        instants = []
        while (leader := self._judge()) is not None:
            instants.append(self._close(leader))
        for track in self._tracks.values():
            track.clear()
        self._begun_ns = None
        return tuple(instants)

    def _judge(self) -> Frame | None:
        """Return the frame that leads, if an instant has begun."""
        while self._leader is None and self._unjudged:
            frame = self._unjudged.popleft()
            track = self._tracks[frame.camera]
            if track.is_free(frame) and track.selector.select(frame):
                self._leader = frame
        return self._leader

    def _is_complete(self, leader: Frame) -> bool:
        """Tell whether no camera is expected to bring a nearer frame."""
        newest = self._newest()
        return max(newest) > leader.stamp_ns + _MAX_WAIT_NS or all(
            stamp >= leader.stamp_ns or stamp < leader.stamp_ns - _MAX_SILENCE_NS
            for stamp in newest
        )

    def _close(self, leader: Frame) -> Instant:
        self._leader = None
        number = next(self._instants)
        return Instant(tuple(
            Keyframe(next(self._ids), frame, number) for frame in self._members(leader)
        ))

    def _members(self, leader: Frame) -> Iterator[Frame]:
        """Take the frames of an instant, in the order of the cameras."""
        for name, track in self._tracks.items():
            is_leader = name == leader.camera
            member = leader if is_leader else track.nearest(leader.stamp_ns, self._tolerance_ns)
            if member is None:
                continue
            track.take(member)
            if not is_leader:
                track.selector.keep(member)
            yield member

    def _forget(self) -> None:
        """Drop the frames that no instant to come can take in."""
        newest = self._newest()
        # An instant begins with a frame that waits, or with the next one of a camera that lives.
        begins = [stamp for stamp in newest if stamp >= max(newest) - _MAX_SILENCE_NS]
        begins += [frame.stamp_ns for frame in self._unjudged]
        if self._leader is not None:
            begins.append(self._leader.stamp_ns)
        for track in self._tracks.values():
            track.forget(min(begins) - self._tolerance_ns)

    def _newest(self) -> list[int]:
        """Return the newest stamp of every camera, seen or not."""
        assert self._begun_ns is not None
        stamps = (track.newest_ns for track in self._tracks.values())
        return [self._begun_ns if stamp is None else stamp for stamp in stamps]


class _Track:
    """The frames of one camera that may still join an instant."""

    def __init__(self, config: KeyframeConfig) -> None:
        self.selector = KeyframeSelector(config)
        self.newest_ns: int | None = None
        self._recent: deque[Frame] = deque()
        self._taken_ns: int | None = None

    def append(self, frame: Frame) -> bool:
        """Take in the newest frame, unless it is late; tell whether."""
        if self.newest_ns is not None and frame.stamp_ns <= self.newest_ns:
            return False
        self.newest_ns = frame.stamp_ns
        self._recent.append(frame)
        return True

    def is_free(self, frame: Frame) -> bool:
        """Tell whether neither a frame nor a newer one was taken."""
        return self._taken_ns is None or frame.stamp_ns > self._taken_ns

    def nearest(self, stamp_ns: int, tolerance_ns: int) -> Frame | None:
        """Return the free frame that is nearest in time."""
        near = [
            frame for frame in self._recent
            if self.is_free(frame) and abs(frame.stamp_ns - stamp_ns) <= tolerance_ns
        ]
        return min(near, key=lambda frame: abs(frame.stamp_ns - stamp_ns), default=None)

    def take(self, frame: Frame) -> None:
        """Note that a frame is in an instant."""
        self._taken_ns = frame.stamp_ns

    def forget(self, oldest_ns: int) -> None:
        """Drop frames that are older."""
        while self._recent and self._recent[0].stamp_ns < oldest_ns:
            self._recent.popleft()

    def clear(self) -> None:
        """Forget all frames, and what time it is."""
        self.newest_ns = None
        self._recent.clear()
        self._taken_ns = None
