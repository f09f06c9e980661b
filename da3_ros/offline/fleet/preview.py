# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a fleet would do, and for how long: ``--dry-run``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
import sys
from typing import TextIO

from da3_ros.offline.fleet.cluster import call, count_workers, Crew
from da3_ros.offline.fleet.estimate import measure_recording, measure_windows, WindowCost
from da3_ros.offline.fleet.listing import Entry
from da3_ros.offline.progress import print_json
from da3_ros.ros.parameters.settings import NodeSettings


@dataclass(frozen=True)
class Forecast:
    """
    What would become of a recording.

    :param name: of the folder with the outputs.
    :param place: of the recording.
    :param runs: whether it would be processed: else it is done, or refused.
    :param num_images: 0 where nobody knows.
    :param hours: that a worker would infer at most, or None where nobody knows.
    :param text: why something is not known; of what does not run, why.
    """

    name: str
    place: str
    runs: bool
    num_images: int = 0
    hours: float | None = None
    text: str = ''


@dataclass(frozen=True)
class Preview:
    """
    What would become of all.

    :param rows: of the list.
    :param num_workers: that would be started.
    :param plans: of windows, for a person.
    """

    rows: tuple[Forecast, ...]
    num_workers: int
    plans: tuple[str, ...]

    @property
    def total(self) -> dict[str, float]:
        """Return the sums by name."""
        hours = sum(row.hours or 0.0 for row in self.rows)
        return {
            'recordings': len(self.rows), 'runs': sum(row.runs for row in self.rows),
            'unknown': sum(row.runs and row.hours is None for row in self.rows),
            'workers': self.num_workers, 'worker_hours': hours,
            'hours': hours / max(self.num_workers, 1)}

    def write(self, stream: TextIO | None) -> None:
        """
        Write it.

        :param stream: for JSON, an object per line; None: a table to standard output.
        """
        if stream is None:
            sys.stdout.write('\n'.join(self._table()) + '\n')
            return
        for row in self.rows:
            print_json(stream=stream, event='forecast', **asdict(row))
        print_json(stream=stream, event='plan', **self.total)

    def _table(self) -> Iterator[str]:
        yield from self.plans
        yield '| recording | runs | images | hours at most | |\n|---|---|---|---|---|'
        for row in self.rows:
            yield (f'| {row.name} | {"yes" if row.runs else "no"} | {row.num_images or "-"} | '
                   f'{"-" if row.hours is None else f"{row.hours:.3g}"} | {row.text} |')
        total = self.total
        unknown = f', and {total["unknown"]} of which nobody knows' if total['unknown'] else ''
        yield (f'{total["runs"]} of {total["recordings"]} recordings would run: at most '
               f'{total["worker_hours"]:.3g} hours of inference{unknown}; with '
               f'{self.num_workers} workers {total["hours"]:.3g} hours')


def foresee(entries: Sequence[Entry], not_run: Mapping[str, str], crew: Crew) -> Preview:
    """
    Look at the recordings, and let a worker's machine plan their windows.

    Hours are those of inference if every image were a keyframe: of a camera that moves slowly
    a small part of that is needed.

    :param entries: of the list.
    :param not_run: names of those that would not run, with the reason.
    :param crew: who would do the others.
    """
    costs: dict[NodeSettings, WindowCost | str] = {}
    for entry in entries:
        settings = entry.job.settings
        if entry.name not in not_run and settings not in costs:
            costs[settings] = call(crew, measure_windows, settings)
    rows = [
        Forecast(entry.name, entry.place, False, text=not_run[entry.name])
        if entry.name in not_run else _forecast(entry, costs[entry.job.settings])
        for entry in entries]
    num_left = sum(row.runs for row in rows)
    return Preview(
        tuple(rows), count_workers(crew, num_left) if num_left else 0,
        tuple(cost if isinstance(cost, str) else cost.text for cost in costs.values()))


def _forecast(entry: Entry, cost: WindowCost | str) -> Forecast:
    size = measure_recording(entry)
    texts = [text for text in (size.text, cost if isinstance(cost, str) else '') if text]
    hours = None if texts or isinstance(cost, str) else cost.hours(size.num_images)
    return Forecast(
        entry.name, entry.place, True, size.num_images, hours, '; '.join(texts))
