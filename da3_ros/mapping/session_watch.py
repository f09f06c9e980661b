# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Notice when the frames of the cameras are no longer the streams they were."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from math import inf
import time

from da3_ros.mapping.keyframe import Frame, NS_PER_S
import numpy as np

# Frames this much older than the newest are late; older ones mean that the clock was set back.
_MAX_LATE_NS = 100_000_000
# A stamp that is so many usual intervals ahead, and so much time, may be a wrong one.
_LEAP = 8
_MIN_LEAP_NS = 200_000_000
_NUM_INTERVALS = 5
# So many breaks in so short a time are two cameras on one topic, not one that changed.
_NUM_BREAKS = 3
_BREAKS_S = 2.0
# A stream that is silent for so long has ended: another one may take its place.
_SILENCE_S = 1.0


class Refusal(Enum):
    """Why a frame is of no use."""

    DUPLICATE = 'its stamp was seen before'
    LATE = 'a newer frame came before it'
    WRONG_STAMP = 'its stamp fits neither the frames before it nor those after it'
    FOREIGN = 'it is of another stream than the frames around it'


@dataclass(frozen=True, eq=False)
class Admitted:
    """
    A frame to go on with.

    :param frame: the frame.
    :param new_session: why a session begins with it, or None.
    """

    frame: Frame
    new_session: str | None = None


@dataclass(frozen=True, eq=False)
class Refused:
    """
    A frame that is dropped.

    :param frame: the frame.
    :param refusal: why.
    :param detail: what was got and expected; may be empty.
    """

    frame: Frame
    refusal: Refusal
    detail: str = ''


Verdict = Admitted | Refused


@dataclass(frozen=True)
class _Signature:
    """What all frames of a camera in a session have in common."""

    frame_id: str
    encoding: str
    width: int
    height: int
    is_calibrated: bool

    @staticmethod
    def of(frame: Frame) -> '_Signature':
        height, width = frame.image.shape[:2]
        return _Signature(
            frame.frame_id, frame.encoding, width, height, frame.intrinsics is not None)

    def difference(self, new: '_Signature') -> str:
        """Say what changed."""
        return ', '.join(
            f'{each.name} changed from {getattr(self, each.name)!r} to '
            f'{getattr(new, each.name)!r}'
            for each in fields(self) if getattr(self, each.name) != getattr(new, each.name))


@dataclass(eq=False)
class _Stream:
    """What is known of one camera in the session."""

    signature: _Signature
    newest_ns: int
    seen_s: float
    stamps_ns: deque[int] = field(default_factory=lambda: deque(maxlen=64))

    def note(self, stamp_ns: int, now_s: float) -> None:
        """Take note of a frame that goes on."""
        self.newest_ns, self.seen_s = stamp_ns, now_s
        self.stamps_ns.append(stamp_ns)

    def leap_ns(self) -> float:
        """Return how far ahead a stamp must be to look wrong."""
        intervals = np.diff(list(self.stamps_ns)[-_NUM_INTERVALS - 1:])
        return max(_LEAP * float(np.median(intervals)), _MIN_LEAP_NS) if intervals.size else inf


@dataclass(frozen=True)
class _Break:
    """
    Why a frame does not continue its stream.

    :param refusal: what it is if no second frame confirms it.
    :param reason: for the log.
    :param is_of_time: whether the stamps of all cameras are concerned.
    :param begins: whether it begins a session if it is confirmed.
    :param is_dropped: whether the frame is dropped already, and only remembered.
    """

    refusal: Refusal
    reason: str
    is_of_time: bool = True
    begins: bool = True
    is_dropped: bool = False


@dataclass(frozen=True, eq=False)
class _Held:
    """A frame that waits for a second one to confirm it."""

    frame: Frame
    signature: _Signature
    broke: _Break


class SessionWatch:
    """
    Compare every frame with those before, of its camera and of all cameras.

    A frame that does not continue its stream is held until the next one of its camera: if that
    goes on from it, a session begins with both, and if that goes on as before, the held one is
    dropped, so that one wrong stamp ends no world. In a rig, the jump of another camera's clock
    to the same time confirms too. A camera that falls silent or comes back does not end the
    session of the others; the clock is the same for all.

    Where two cameras publish on one topic, frames of both may confirm each other; after a few
    sessions in a row the one of the moment stays, until it falls silent or the breaks end.
    """

    def __init__(
        self, max_gap_s: float, *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Wait for the first frame.

        :param max_gap_s: a longer gap in the frames of all cameras begins a new session.
        :param now_s: tells real time.
        """
        self._max_gap_ns = round(max_gap_s * NS_PER_S)
        self._now_s = now_s
        self._newest_ns: int | None = None
        self._streams: dict[str, _Stream] = {}
        self._held: dict[str, _Held] = {}
        self._breaks_s: deque[float] = deque(maxlen=_NUM_BREAKS)

    def observe(self, frame: Frame) -> tuple[Verdict, ...]:
        """
        Judge a frame.

        :param frame: the newest of its camera.
        :returns: the verdict about it and about those that waited for it, oldest first; empty
            where it waits itself.
        """
        signature = _Signature.of(frame)
        stream = self._streams.get(frame.camera)
        if self._newest_ns is None:
            return (self._begin(frame, signature, 'the first image'),)
        broke = self._break(stream, signature, frame)
        held = self._held.pop(frame.camera, None)
        if broke is None:
            return self._continue(stream, held, frame, signature)
        if held is not None and self._follows(held, signature, frame):
            return self._confirm(held, stream, frame, signature)
        witness = self._witness(broke, frame)
        if witness is not None:
            return (*_dropped(held), *self._confirm(witness, stream, frame, signature))
        self._held[frame.camera] = _Held(frame, signature, broke)
        late = (Refused(frame, Refusal.LATE),) if broke.is_dropped else ()
        return (*_dropped(held), *late)

    def expire(self) -> tuple[Refused, ...]:
        """
        Drop the frames that still wait to be confirmed; a session may begin after them yet.

        :returns: those.
        """
        refused = tuple(each for held in self._held.values() for each in _dropped(held))
        self._held = {
            camera: replace(held, broke=replace(held.broke, is_dropped=True))
            for camera, held in self._held.items()}
        return refused

    def end(self) -> tuple[Refused, ...]:
        """
        Forget the streams, because no more frames come.

        :returns: what waited in vain to be confirmed.
        """
        refused = self.expire()
        self._held.clear()
        self._newest_ns = None
        self._streams.clear()
        return refused

    def _continue(
        self, stream: _Stream | None, held: _Held | None, frame: Frame, signature: _Signature
    ) -> tuple[Verdict, ...]:
        if stream is not None and frame.stamp_ns <= stream.newest_ns:
            if held is not None:
                self._held[frame.camera] = held
            is_same = frame.stamp_ns == stream.newest_ns
            return (Refused(frame, Refusal.DUPLICATE if is_same else Refusal.LATE),)
        self._note(frame, signature)
        return (*_dropped(held), Admitted(frame))

    def _break(
        self, stream: _Stream | None, signature: _Signature, frame: Frame
    ) -> _Break | None:
        assert self._newest_ns is not None
        ahead_ns = frame.stamp_ns - self._newest_ns
        ahead = f'no image for {ahead_ns / NS_PER_S:.1f} s'
        if stream is None:
            return _Break(Refusal.WRONG_STAMP, ahead) if ahead_ns > self._max_gap_ns else None
        if signature != stream.signature:
            return _Break(
                Refusal.FOREIGN, stream.signature.difference(signature), is_of_time=False)
        back_ns = stream.newest_ns - frame.stamp_ns
        back = f'time went back by {back_ns / NS_PER_S:.3f} s'
        if back_ns > _MAX_LATE_NS:
            return _Break(Refusal.WRONG_STAMP, back)
        if back_ns >= 0 and self._comes_again(stream, frame):
            # A bag that is shorter than a frame may be late, from its beginning.
            return _Break(Refusal.LATE, back, is_dropped=True)
        if ahead_ns > self._max_gap_ns:
            return _Break(Refusal.WRONG_STAMP, ahead)
        if ahead_ns > stream.leap_ns():
            return _Break(Refusal.WRONG_STAMP, ahead, begins=False)
        return None

    def _comes_again(self, stream: _Stream, frame: Frame) -> bool:
        """Tell whether a stamp of the stream comes again, though not the newest by itself."""
        if frame.stamp_ns not in stream.stamps_ns:
            return False
        return frame.stamp_ns < stream.newest_ns or frame.camera in self._held

    def _follows(self, held: _Held, signature: _Signature, frame: Frame) -> bool:
        """Tell whether a frame goes on from one that was held."""
        is_next = 0 < frame.stamp_ns - held.frame.stamp_ns <= self._max_gap_ns
        return signature == held.signature and is_next

    def _witness(self, broke: _Break, frame: Frame) -> _Held | None:
        """Return what another camera was held for, if it saw the clock jump to the same time."""
        if not broke.is_of_time:
            return None
        for camera, held in self._held.items():
            near_ns = abs(held.frame.stamp_ns - frame.stamp_ns)
            if held.broke.is_of_time and near_ns <= self._max_gap_ns:
                return self._held.pop(camera)
        return None

    def _confirm(
        self, held: _Held, stream: _Stream | None, frame: Frame, signature: _Signature
    ) -> tuple[Verdict, ...]:
        """Go on from a frame that was held, unless sessions follow each other too fast."""
        if not held.broke.begins:
            self._note(held.frame, held.signature)
            self._note(frame, signature)
            before = () if held.broke.is_dropped else (Admitted(held.frame),)
            return (*before, Admitted(frame))
        now_s = self._now_s()
        is_calm = len(self._breaks_s) < _NUM_BREAKS or now_s - self._breaks_s[0] > _BREAKS_S
        self._breaks_s.append(now_s)
        if not (is_calm or stream is None or now_s - stream.seen_s > _SILENCE_S):
            broke = replace(held.broke, is_dropped=False)
            self._held[frame.camera] = _Held(frame, signature, broke)
            return () if held.broke.is_dropped else (
                Refused(held.frame, Refusal.FOREIGN, held.broke.reason),)
        if held.broke.is_of_time:
            # The others will jump too, and that is not another session.
            self._streams.clear()
        else:
            del self._streams[held.frame.camera]
        begun = self._begin(held.frame, held.signature, held.broke.reason)
        self._note(frame, signature)
        if held.broke.is_dropped:
            return (replace(begun, frame=frame),)
        return begun, Admitted(frame)

    def _begin(self, frame: Frame, signature: _Signature, reason: str) -> Admitted:
        self._note(frame, signature)
        return Admitted(frame, f'camera {frame.camera}: {reason}' if frame.camera else reason)

    def _note(self, frame: Frame, signature: _Signature) -> None:
        stream = self._streams.setdefault(
            frame.camera, _Stream(signature, frame.stamp_ns, self._now_s()))
        stream.note(frame.stamp_ns, self._now_s())
        self._newest_ns = max(each.newest_ns for each in self._streams.values())


def _dropped(held: _Held | None) -> tuple[Refused, ...]:
    """Give up a frame that was held, unless it was dropped before."""
    if held is None or held.broke.is_dropped:
        return ()
    return (Refused(held.frame, held.broke.refusal, held.broke.reason),)
