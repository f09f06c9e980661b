# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Notice when the images of the cameras are no longer the streams they were."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum
import time

from da3_ros.mapping.keyframe_selector import MAX_LATE_NS

_NS_PER_S = 10**9
# So many breaks in so short a time are two cameras on one topic, not one that changed.
_NUM_BREAKS = 3
_BREAKS_S = 2.0
# A stream that is silent for so long has ended: another one may take its place.
_SILENCE_S = 1.0


class Arrival(Enum):
    """How an image fits the stream."""

    CONTINUES = 'it continues the session'
    BEGINS = 'it begins a session'
    DUPLICATE = 'its stamp was seen before'
    LATE = 'a newer image came before it'
    FOREIGN = 'it is of another stream than the images around it'


@dataclass(frozen=True)
class StreamSignature:
    """
    What all images of a session have in common.

    :param frame_id: name of the camera's optical frame.
    :param encoding: of the message.
    :param width: [px].
    :param height: [px].
    :param is_calibrated: whether the intrinsics are known.
    """

    frame_id: str
    encoding: str
    width: int
    height: int
    is_calibrated: bool


@dataclass(frozen=True)
class Observation:
    """
    The verdict about one image.

    :param arrival: how it fits.
    :param reason: why a session begins, or why the image is of another stream; else empty.
    """

    arrival: Arrival
    reason: str = ''


@dataclass(frozen=True)
class _Stream:
    """
    What is known of one camera.

    :param signature: of its last image.
    :param newest_ns: stamp of that.
    :param seen_s: when it came, in real time.
    """

    signature: StreamSignature
    newest_ns: int
    seen_s: float


class SessionWatch:
    """
    Compare every image with the one before, of its camera and of all cameras.

    A camera that falls silent or comes back does not end the session of the others; the clock and
    the kind of images are the same for all.

    Where two cameras publish on one topic, every image differs from the one before. That must not
    begin a session with each: after a few such breaks in a row the session of the moment stays,
    and images that do not fit it are foreign, until it falls silent or the breaks end.
    """

    def __init__(
        self, max_gap_s: float, *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Wait for the first image.

        :param max_gap_s: a longer gap in the images of all cameras begins a new session.
        :param now_s: tells real time.
        """
        self._max_gap_s = max_gap_s
        self._now_s = now_s
        self._newest_ns: int | None = None
        self._streams: dict[str, _Stream] = {}
        self._breaks_s: deque[float] = deque(maxlen=_NUM_BREAKS)

    def observe(
        self, signature: StreamSignature, stamp_ns: int, *, camera: str = ''
    ) -> Observation:
        """
        Judge an image.

        :param signature: of its stream.
        :param stamp_ns: of its header.
        :param camera: that it is of.
        """
        last = self._streams.get(camera)
        went_back = last is not None and stamp_ns < last.newest_ns - MAX_LATE_NS
        reason = self._break(last, signature, stamp_ns)
        if reason is None and last is not None and stamp_ns <= last.newest_ns:
            is_same = stamp_ns == last.newest_ns
            return Observation(Arrival.DUPLICATE if is_same else Arrival.LATE)
        now_s = self._now_s()
        if reason is not None and not self._may_begin(last, now_s):
            return Observation(Arrival.FOREIGN, reason)
        if went_back:
            # The others will go back too, and that is not another session.
            self._streams.clear()
        self._streams[camera] = _Stream(signature, stamp_ns, now_s)
        self._newest_ns = max(stream.newest_ns for stream in self._streams.values())
        if reason is None:
            return Observation(Arrival.CONTINUES)
        return Observation(Arrival.BEGINS, f'camera {camera}: {reason}' if camera else reason)

    def _may_begin(self, last: _Stream | None, now_s: float) -> bool:
        """Note a break, and tell whether to believe it."""
        is_calm = len(self._breaks_s) < _NUM_BREAKS or now_s - self._breaks_s[0] > _BREAKS_S
        self._breaks_s.append(now_s)
        return is_calm or last is None or now_s - last.seen_s > _SILENCE_S

    def _break(
        self, last: _Stream | None, signature: StreamSignature, stamp_ns: int
    ) -> str | None:
        if self._newest_ns is None:
            return 'the first image'
        if last is not None and signature != last.signature:
            return _difference(last.signature, signature)
        if last is not None and stamp_ns < last.newest_ns - MAX_LATE_NS:
            return f'time went back by {(last.newest_ns - stamp_ns) / _NS_PER_S:.3f} s'
        gap_s = (stamp_ns - self._newest_ns) / _NS_PER_S
        return f'no image for {gap_s:.1f} s' if gap_s > self._max_gap_s else None


def _difference(old: StreamSignature, new: StreamSignature) -> str:
    changes = [
        f'{field.name} changed from {getattr(old, field.name)!r} to {getattr(new, field.name)!r}'
        for field in fields(old)
        if getattr(old, field.name) != getattr(new, field.name)
    ]
    return ', '.join(changes)
