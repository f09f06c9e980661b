# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What became of a recording, in numbers."""

from collections import Counter
from dataclasses import dataclass, field

from da3_ros.mapping.frame_stream import Taken
from da3_ros.mapping.keyframe import Frame, NS_PER_S
from da3_ros.mapping.update import WindowUpdate


@dataclass(eq=False)
class Counts:
    """
    What became of a recording.

    :param num_frames: that were read.
    :param num_keyframes: that came out with depth.
    :param num_poses: of these, with a pose.
    :param num_windows: that were inferred.
    :param num_conditioned: of these, on the poses of the cameras.
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
    num_conditioned: int = 0
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
        self.num_conditioned += window.report is not None and window.report.is_conditioned
        self.num_loops += window.loop is not None
        self.num_keyframes += len(window.keyframes)
        self.num_poses += sum(keyframe.has_pose for keyframe in window.keyframes)
        for dropped in window.dropped:
            self.dropped[dropped.detail or dropped.reason.value] += 1
