# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Turn a recording into depth, a cloud and a trajectory: ``da3 process INPUT``.

INPUT is a bag (ROS 2: a folder, .mcap, .db3; ROS 1: .bag), a film or a folder of images. The
parameters are the node's, from the same file. Everything is written at the end, whole or not at
all; until then OUT.unfinished beside it holds what --resume goes on from.

exit codes: 0 written; 1 a fault of the program; 2 wrong arguments or parameters; 3 the input
cannot be read, or nothing comes out of it; 4 the network cannot be had or does not fit; 5 the
outputs cannot be written; 6 written, but part of the input was lost; 130 ended by Ctrl-C.
"""

import argparse
from collections.abc import Sequence
import dataclasses
from enum import IntEnum
import hashlib
import logging
from pathlib import Path
import shutil
import signal
import sys
import threading
from typing import Any

from da3_ros.console import logged
from da3_ros.errors import Da3Error, InputError, MemoryBudgetError, SaveError, WeightsError
from da3_ros.export.save import FORMATS
from da3_ros.offline.bag import BagPart
from da3_ros.offline.journal import (
    Interrupted,
    JournaledEngine,
    JournalFault,
    recorded,
    write_whole,
)
from da3_ros.offline.progress import JsonLines, print_json, Progress
from da3_ros.offline.recordings import open_recording, Recording
from da3_ros.offline.report import make_report, SessionPage
from da3_ros.offline.run import Output, run
from da3_ros.offline.settings_file import read_settings
from da3_ros.offline.source import Source
from da3_ros.offline.summary import Summary
from da3_ros.ros.engine_loading import load_engine
from da3_ros.ros.parameters.settings import NodeSettings

_MIB = 2**20


class ExitCode(IntEnum):
    """What the program says when it ends; the page of its help has the meanings."""

    WRITTEN = 0
    FAULT = 1
    ARGUMENTS = 2
    INPUT = 3
    NETWORK = 4
    OUTPUT = 5
    PARTLY = 6
    INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments."""
    parser = argparse.ArgumentParser(
        prog='process', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('input', type=Path, help='bag, film or folder of images')
    add('--out', type=Path, help='folder that is created; by default INPUT_da3 in this one')
    add('--write', nargs='+', choices=FORMATS, default=list(FORMATS), help='what is written')
    add('--params-file', type=Path, help="the node's parameters, such as config/da3.yaml")
    add('-p', '--param', action='append', default=[], metavar='NAME:=VALUE',
        help='a parameter, which outdoes the file')
    add('--image', help='topic of the images, where a bag has several')
    add('--camera-info', help='topic of the calibration, where it is not beside the image')
    add('--start', type=float, default=0.0, help='seconds from the beginning of a bag')
    add('--end', type=float, help='seconds from the beginning of a bag')
    add('--calibration', type=Path, help='YAML file of a ROS camera, for films and folders')
    add('--rate', type=float, default=10.0,
        help='images per second of a folder whose names are no times')
    add('--resume', action='store_true', help='go on with a run that was ended')
    add('--quiet', action='store_true', help='write warnings and errors only')
    add('--log', choices=('text', 'json'), default='text', help='json: an object per line')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Process a recording."""
    options = build_parser().parse_args(arguments)
    as_json = options.log == 'json'
    level = logging.WARNING if options.quiet else logging.INFO
    with logged(JsonLines() if as_json else None, level):
        code, text = _guarded(options)
    if text and as_json:
        print_json(event='error', code=int(code), text=text)
    elif text:
        sys.stderr.write(f'process: {text}\n')
    return int(code)


def _guarded(options: argparse.Namespace) -> tuple[ExitCode, str]:
    """Run, and say how it ended."""
    try:
        return _process(options), ''
    except Interrupted:
        return ExitCode.INTERRUPTED, 'ended; the same command with --resume goes on'
    except JournalFault as fault:
        is_full = isinstance(fault.__cause__, SaveError)
        return ExitCode.OUTPUT if is_full else ExitCode.ARGUMENTS, str(fault)
    except InputError as error:
        return ExitCode.INPUT, str(error)
    except (WeightsError, MemoryBudgetError) as error:
        return ExitCode.NETWORK, str(error)
    except SaveError as error:
        return ExitCode.OUTPUT, str(error)
    except (ValueError, Da3Error) as error:
        return ExitCode.ARGUMENTS, str(error)
    except OSError as error:
        return ExitCode.OUTPUT, f'{error}'


def _process(options: argparse.Namespace) -> ExitCode:
    settings = read_settings(options.params_file, options.param)
    recording = Recording(
        options.input,
        BagPart(options.image, options.camera_info, options.start, options.end),
        options.calibration, options.rate)
    if not options.rate > 0.0:
        raise ValueError(f'rate: got {options.rate}, expected more than 0')
    out = options.out or Path(f'{options.input.resolve().stem}_da3')
    work = _work_folder(out, is_resumed=options.resume)
    with open_recording(recording, settings.camera) as source:
        pages: list[SessionPage] = []
        summary = _run(source, recording, settings, work, options, pages)
    folder = work / 'sessions'
    write_whole(folder / 'summary.json', summary.to_json().encode())
    write_whole(folder / 'report.html', make_report(summary, pages).encode())
    folder.rename(out)
    shutil.rmtree(work, ignore_errors=True)
    for line in summary.losses:
        logging.getLogger(__name__).warning('%s', line)
    return ExitCode.PARTLY if summary.losses else ExitCode.WRITTEN


def _work_folder(out: Path, *, is_resumed: bool) -> Path:
    """Return where an unfinished run is kept."""
    if out.exists():
        raise ValueError(f'out: got {out}, which exists; expected a new folder')
    work = out.with_name(f'{out.name}.unfinished')
    if work.exists() and not is_resumed:
        raise ValueError(
            f'out: an unfinished run is in {work}; --resume goes on, or delete that folder to '
            'begin anew')
    # Sessions are written anew: which were whole is not known, and they cost little.
    shutil.rmtree(work / 'sessions', ignore_errors=True)
    try:
        (work / 'sessions').mkdir(parents=True)
    except OSError as error:
        raise SaveError(f'out: got {out} ({error.strerror}), expected a folder that can be '
                        'written') from error
    return work


def _run(
    source: Source, recording: Recording, settings: NodeSettings, work: Path,
    options: argparse.Namespace, pages: list[SessionPage],
) -> Summary:
    log = logging.getLogger(__name__)
    log.info('%s: %s', recording.path, source.description)
    loaded = load_engine(settings, report=lambda text: log.info('%s', text))
    journal = work / 'windows'
    num_views = recorded(journal, 'num_views') or loaded.identity.num_views
    identity = {
        'input': _fingerprint(recording), 'settings': _told(settings),
        'weights': loaded.identity.weights, 'device': loaded.identity.device,
        'num_views': num_views}
    is_ending = _until_interrupted()
    engine = JournaledEngine(
        loaded.engine, journal, identity=identity, resume=options.resume, is_ending=is_ending)
    progress = Progress(
        source.num_images, as_json=options.log == 'json', is_quiet=options.quiet)
    output = Output(
        work / 'sessions', frozenset(options.write),
        lambda name, session: pages.append(SessionPage.of(name, session)))
    counts = run(source, engine, settings, num_views=num_views, output=output, tell=progress,
                 is_ending=is_ending)
    if engine.num_repeated:
        log.info('%d windows were there from before', engine.num_repeated)
    progress.end(counts, str(options.out or ''))
    return Summary.of(
        recording.path.name, source, counts, model=loaded.identity.name,
        weights=loaded.identity.weights.rpartition(' ')[2], device=loaded.identity.device,
        num_views=num_views, settings=_told(settings))


def _told(settings: NodeSettings) -> dict[str, Any]:
    """Return the parameters by group."""
    return dataclasses.asdict(settings)


def _fingerprint(recording: Recording) -> dict[str, Any]:
    """Return what tells a recording from another: names, sizes, and both ends of every file."""
    digest = hashlib.sha256()
    for path in recording.files:
        size = path.stat().st_size
        digest.update(f'{path.relative_to(recording.path.parent)} {size}'.encode())
        with path.open('rb') as file:
            digest.update(file.read(_MIB))
            file.seek(max(0, size - _MIB))
            digest.update(file.read(_MIB))
    calibration = recording.calibration
    return {
        'path': str(recording.path.resolve()), 'sha256': digest.hexdigest(),
        'part': dataclasses.asdict(recording.part), 'rate_hz': recording.rate_hz,
        'calibration': None if calibration is None else calibration.read_text()}


def _until_interrupted() -> Any:
    """Return what tells whether Ctrl-C was pressed; the second time it ends at once."""
    event = threading.Event()

    def note(_signal: int, _frame: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, note)
    return event.is_set


if __name__ == '__main__':
    sys.exit(main())
