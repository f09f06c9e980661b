# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a run made of a recording; the same for a run that was ended and went on."""

from dataclasses import asdict, dataclass
import json
from typing import Any

from da3_ros.offline.counts import Counts
from da3_ros.offline.input.source import Source
from da3_ros.offline.sessions import MAX_KEYFRAMES


@dataclass(frozen=True)
class Summary:
    """
    What came out, what did not, and by which settings.

    Nothing is told that differs from run to run, such as how long it took.

    :param recording: its name.
    :param source: what of it was read.
    :param model: that ran.
    :param weights: checksum of its weights.
    :param device: that it ran on.
    :param num_views: most views in one inference.
    :param counts: by name.
    :param losses: what of the recording did not come out, a line each.
    :param settings: parameters of the node, by group.
    """

    recording: str
    source: str
    model: str
    weights: str
    device: str
    num_views: int
    counts: dict[str, Any]
    losses: tuple[str, ...]
    settings: dict[str, Any]

    @staticmethod
    def of(recording: str, source: Source, counts: Counts, **more: Any) -> 'Summary':
        """
        Sum up a run.

        :param recording: its name.
        :param source: that was read.
        :param counts: of the run.
        :param more: the other fields.
        """
        losses = source.losses.lines()
        losses += [f'{n} images did not fit the stream: {why}'
                   for why, n in counts.refused.items()]
        losses += [f'{n} keyframes dropped: {why}' for why, n in counts.dropped.items()]
        if more['settings']['scale']['source'] == 'pose' and not counts.num_conditioned:
            losses.append(
                'no window was conditioned on the poses of the camera (scale.source: pose): that '
                'takes a calibration, a pose of every keyframe, and motion')
        if counts.num_poses > MAX_KEYFRAMES:
            losses.append(
                f'{MAX_KEYFRAMES} keyframes at most are kept of a session; the others gave their '
                'poses alone')
        numbers = {name: value for name, value in vars(counts).items() if isinstance(value, int)}
        return Summary(
            recording, source.description, counts=numbers, losses=tuple(losses), **more)

    def to_json(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self), indent=1) + '\n'
