# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Process many recordings on one machine or many, with Ray: ``da3 fleet LIST``.

LIST is a text file: a line is a recording (a path, or a URI that fsspec knows), then options of
``da3 process`` for it alone; ``--out NAME`` names its folder. Options of ``da3 process`` that
come with the command hold for all. One that fails is listed with its reason, and does not end
the others; the same command again does only what is not done, from the window where it was.

exit codes: 0 all written; 1 a fault of the program; 2 wrong arguments or parameters; 3 the list
cannot be read; 4 Ray, or a worker, cannot be had; 5 outcomes cannot be written; 6 all written,
but part of a recording was lost; 7 some recordings failed; 130 ended by Ctrl-C.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
import logging
from pathlib import Path
import signal
import sys
import tempfile
import threading
from typing import TextIO

from da3_ros.console import logged
from da3_ros.errors import Da3Error, InputError, SaveError
from da3_ros.offline.exit_code import ExitCode
from da3_ros.offline.fleet.cluster import ClusterError, connected, Crew, LOCAL, process_all
from da3_ros.offline.fleet.index_page import make_index, STATES, total
from da3_ros.offline.fleet.listing import read_list
from da3_ros.offline.fleet.outcome import earlier_outcome, Outcome
from da3_ros.offline.fleet.places import as_path, is_remote, open_place, Place
from da3_ros.offline.fleet.preview import foresee
from da3_ros.offline.fleet.worker import Task
from da3_ros.offline.progress import JsonLines, print_json
from da3_ros.ros.engine_loading import load_engine

_logger = logging.getLogger(__name__)


class FleetCode(IntEnum):
    """What the program says when it ends; the page of its help has the meanings."""

    WRITTEN = 0
    FAULT = 1
    ARGUMENTS = 2
    INPUT = 3
    CLUSTER = 4
    OUTPUT = 5
    PARTLY = 6
    FAILED = 7
    INTERRUPTED = 130

    @staticmethod
    def of(error: Exception) -> 'FleetCode':
        """
        Say what an expected error means that ended the command.

        :param error: no matter of a single recording.
        """
        for kinds, code in ((InputError, FleetCode.INPUT), (ClusterError, FleetCode.CLUSTER),
                            ((SaveError, OSError), FleetCode.OUTPUT)):
            if isinstance(error, kinds):
                return code
        return FleetCode.ARGUMENTS


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments that are not those of ``process``."""
    parser = argparse.ArgumentParser(
        prog='fleet', description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('list', type=Path, help='a recording on each line')
    add('--out', default='fleet', help='folder or URI; a folder per recording is created there')
    add('--ray', nargs='?', const=LOCAL, default=LOCAL, metavar='ADDRESS',
        help='auto: the cluster that this machine is in; HOST:PORT: another one; without: this '
        'machine alone')
    add('--workers', type=int, default=0, help='0: as many as the machines have room for')
    add('--cpus', type=float, default=1.0, help='processors of a worker')
    add('--gpus', type=float, help='GPUs of a worker; by default one where there are any')
    add('--retries', type=int, default=2, help='more tries for a recording whose worker died')
    add('--scratch', type=Path, default=Path(tempfile.gettempdir(), 'da3_fleet'),
        help="folder of a worker's machine for copies of what URIs name")
    add('--dry-run', action='store_true', help='say what would run, and for how long')
    add('--quiet', action='store_true', help='write warnings and errors only')
    add('--log', choices=('text', 'json'), default='text', help='json: an object per line')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Process the recordings of a list."""
    options, common = build_parser().parse_known_args(arguments)
    # Ray writes to the one that is current.
    stream = sys.stdout if options.log == 'json' else None
    level = logging.WARNING if options.quiet else logging.INFO
    with logged(JsonLines(stream) if stream else None, level):
        try:
            code, text = _fleet(options, common, stream), ''
        except KeyboardInterrupt:
            code, text = FleetCode.INTERRUPTED, 'ended; the same command goes on'
        except (Da3Error, ValueError, OSError) as error:
            code, text = FleetCode.of(error), str(error)
    if text and stream:
        print_json(event='error', code=int(code), text=text)
    elif text:
        sys.stderr.write(f'fleet: {text}\n')
    return int(code)


def _fleet(
    options: argparse.Namespace, common: Sequence[str], stream: TextIO | None
) -> FleetCode:
    crew = _crew(options)
    entries = read_list(options.list, common)
    out = options.out if is_remote(options.out) else str(as_path(options.out).absolute())
    place = open_place(out)
    cluster = connected(options.ray, is_quiet=options.quiet or stream is not None)
    outcomes = {entry.name: earlier for entry in entries
                if (earlier := earlier_outcome(place, entry)) is not None}
    if options.dry_run:
        with cluster:
            preview = foresee(
                entries, {name: each.text or 'done' for name, each in outcomes.items()}, crew)
        preview.write(stream)
        return FleetCode.WRITTEN

    def note(outcome: Outcome) -> None:
        outcome.keep(place)
        outcomes[outcome.name] = outcome
        _tell(outcome, f'{len(outcomes)} of {len(entries)}', stream)

    tasks = [Task(entry, out, options.scratch.absolute())
             for entry in entries if entry.name not in outcomes]
    # Where nothing can be written nothing begins.
    _write_index(place, outcomes, len(tasks))
    try:
        if tasks:
            with cluster, _ended_by_kill():
                process_all(tasks, crew, load_engine, note)
    finally:
        left = len(entries) - len(outcomes)
        _write_index(place, outcomes, left)
        _logger.info('%s; %s/index.html', total([*outcomes.values()], left), out)
    if not all(outcome.is_written for outcome in outcomes.values()):
        return FleetCode.FAILED
    has_losses = any(outcome.losses for outcome in outcomes.values())
    return FleetCode.PARTLY if has_losses else FleetCode.WRITTEN


def _write_index(place: Place, outcomes: Mapping[str, Outcome], num_left: int) -> None:
    place.write('index.html', make_index([*outcomes.values()], num_left).encode())


def _crew(options: argparse.Namespace) -> Crew:
    for name, least in (('workers', 0), ('cpus', 0.0), ('gpus', 0.0), ('retries', 0)):
        value = getattr(options, name)
        if value is not None and not value >= least:
            raise ValueError(f'{name}: got {value}, expected at least {least}')
    if options.cpus == 0.0 and not options.gpus:
        raise ValueError('cpus: got 0 without gpus, expected that a worker occupies something')
    return Crew(options.workers, options.cpus, options.gpus, options.retries)


def _tell(outcome: Outcome, place: str, stream: TextIO | None) -> None:
    if stream:
        print_json(stream=stream, event='recording', name=outcome.name, code=int(outcome.code),
                   text=outcome.text, seconds=outcome.seconds, losses=outcome.losses,
                   **outcome.counts)
        return
    state = STATES[ExitCode(outcome.code)]
    if not outcome.is_written:
        _logger.warning('%s: %s: %s: %s', place, outcome.name, state, outcome.text)
        return
    _logger.info('%s: %s: %s, %d keyframes in %.1f s', place, outcome.name, state,
                 outcome.counts.get('num_keyframes', 0), outcome.seconds)
    for line in outcome.losses:
        _logger.warning('%s: %s', outcome.name, line)


@contextmanager
def _ended_by_kill() -> Iterator[None]:
    """Let a plain kill end the command as Ctrl-C does; Ray, once it runs, would abort it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        # None: it was none of Python's.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if earlier is None else earlier)


if __name__ == '__main__':
    sys.exit(main())
