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
import logging
from pathlib import Path
import signal
import sys
import threading
from typing import Any

from da3_ros.console import logged
from da3_ros.errors import Da3Error
from da3_ros.export.save import FORMATS
from da3_ros.offline.exit_code import ExitCode
from da3_ros.offline.input.bag import BagPart
from da3_ros.offline.input.recordings import Recording
from da3_ros.offline.job import Job, process_recording
from da3_ros.offline.journal import Interrupted, JournalFault
from da3_ros.offline.progress import JsonLines, print_json, Progress
from da3_ros.offline.sessions import OUTPUTS
from da3_ros.offline.settings_file import read_settings
from da3_ros.ros.engine_loading import load_engine


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments."""
    parser = argparse.ArgumentParser(
        prog='process', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('input', type=Path, help='bag, film or folder of images')
    add('--out', type=Path, help='folder that is created; by default INPUT_da3 in this one')
    add('--write', nargs='+', choices=OUTPUTS, default=list(FORMATS),
        help="what is written; glb, laz and rerun need pip's extras of these names")
    add('--params-file', type=Path, help="the node's parameters, such as config/da3.yaml")
    add('-p', '--param', action='append', default=[], metavar='NAME:=VALUE',
        help='a parameter, which outdoes the file')
    add('--image', action='append', default=[], metavar='[NAME:=]TOPIC',
        help='topic of the images, where a bag has several; of each camera of camera.names, '
        'where its name is not a part of the topic')
    add('--camera-info', action='append', default=[], metavar='[NAME:=]TOPIC',
        help='topic of the calibration likewise, where it is not beside the image')
    add('--start', type=float, default=0.0, help='seconds from the beginning of a bag')
    add('--end', type=float, help='seconds from the beginning of a bag')
    add('--calibration', type=Path, help='YAML file of a ROS camera, for films and folders')
    add('--rate', type=float, default=10.0,
        help='images per second of a folder whose names are no times')
    add('--poses', type=Path, metavar='FILE',
        help='where the camera was, in metres: a TUM file or a COLMAP model, which condition the '
        'windows (scale.source: pose; or tf, which takes the lengths alone)')
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
    except Interrupted as ended:
        return ExitCode.of(ended), 'ended; the same command with --resume goes on'
    except (JournalFault, Da3Error, ValueError, OSError) as error:
        return ExitCode.of(error), str(error)


def job_of(options: argparse.Namespace) -> Job:
    """
    Say what is to be done.

    :param options: as the parser gives them.
    :raises ValueError: if a parameter cannot be used.
    """
    recording = Recording(
        options.input,
        BagPart(
            tuple(options.image), tuple(options.camera_info), options.start, options.end),
        options.calibration, options.rate, options.poses)
    out = options.out or Path(f'{options.input.resolve().stem}_da3')
    settings = read_settings(
        options.params_file, options.param, has_poses=options.poses is not None)
    return Job(recording, settings, out, frozenset(options.write), options.resume)


def _process(options: argparse.Namespace) -> ExitCode:
    job = job_of(options)
    progress = Progress(as_json=options.log == 'json', is_quiet=options.quiet)
    processed = process_recording(
        job, load=load_engine, tell=progress, is_ending=_until_interrupted())
    log = logging.getLogger(__name__)
    if processed.num_repeated:
        log.info('%d windows were there from before', processed.num_repeated)
    progress.end(str(job.out))
    for line in processed.summary.losses:
        log.warning('%s', line)
    return ExitCode.WRITTEN if processed.is_whole else ExitCode.PARTLY


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
