# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What happened how often, for the diagnostics."""

from collections import Counter
from enum import Enum
import threading


class Event(Enum):
    """Everything that is counted; the value is the name in the diagnostics."""

    RECEIVED = 'images received'
    ABSENT = 'missed instants'
    KEYFRAMES = 'keyframes'
    PUBLISHED = 'keyframes published'
    WINDOWS = 'windows'
    SESSIONS = 'sessions'
    SEGMENTS = 'windows that could not be joined'
    TIES = 'segments joined to an earlier one'
    LOOPS = 'loops closed'
    EXCEPTIONS = 'unexpected errors'

    LIVE_PUBLISHED = 'live frames published'
    LIVE_SKIPPED = 'skipped live frames: a newer one came, or the world ended'
    LIVE_UNPLACED = 'dropped live frames: nothing tells where they lie'
    LIVE_FAILED = 'dropped live frames: inference or messages failed'

    BAD_IMAGE = 'dropped images: unusable message'
    DUPLICATE = 'dropped images: stamp seen before'
    LATE = 'dropped images: out of order'
    WRONG_STAMP = 'dropped images: stamp of another time'
    FOREIGN = 'dropped images: of a second camera on the topic'
    NO_CAMERA_INFO = 'dropped images: waiting for CameraInfo'
    PAUSED = 'dropped images: paused'

    QUEUE_FULL = 'dropped keyframes: queue full'
    RESET = 'dropped keyframes: reset or deactivated'
    OUT_OF_MEMORY = 'dropped keyframes: out of memory'
    INFERENCE_FAILED = 'dropped keyframes: inference failed'
    UNPUBLISHED = 'dropped keyframes: their messages could not be made'
    NO_INTRINSICS = 'dropped keyframes: no CameraInfo, by which alone this network measures'

    BAD_CAMERA_INFO = 'images with unusable CameraInfo'
    TF_MISSING = 'keyframes without the robot transform'
    TF_NOT_FINITE = 'keyframes with a pose that is not finite'
    SAVED = 'sessions saved'
    SAVE_FAILED = 'sessions that could not be saved'
    MAP_BEHIND = 'keyframes missing in the map: fusing takes too long'
    TF_CONFLICT = 'transforms withheld: the frame has another parent'


class Counters:
    """Counts that any thread may change."""

    def __init__(self, total: 'Counters | None' = None) -> None:
        """
        Start at zero.

        :param total: counts everything too.
        """
        self._total = total
        self._lock = threading.Lock()
        self._counts: Counter[Event] = Counter()

    def add(self, event: Event, count: int = 1) -> None:
        """
        Count.

        :param event: what happened.
        :param count: how often.
        """
        with self._lock:
            self._counts[event] += count
        if self._total is not None:
            self._total.add(event, count)

    def __getitem__(self, event: Event) -> int:
        """
        Return a count.

        :param event: what happened.
        """
        with self._lock:
            return self._counts[event]
