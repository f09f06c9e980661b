# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The demo on a recording of one's own: what ``da3 process`` makes of it, and where it is."""

from collections.abc import Sequence
from pathlib import Path
import shutil
import sys

from da3_ros.demo.run import PROCESS_SIZE
from da3_ros.offline import process
from da3_ros.offline.exit_code import ExitCode

_FOLDER = 'recording'


def process_own(
    path: Path, out: Path, model: str, weights: str | None, others: Sequence[str]
) -> int:
    """
    Process a recording with the demo's network; return the exit status of ``process``.

    :param path: of a film, a bag or a folder.
    :param out: folder of the demo.
    :param model: name of the network.
    :param weights: a file, folder or hub id, or ``random``; None: the model's own.
    :param others: options of ``process``, which outdo the demo's.
    """
    folder = out.absolute() / _FOLDER
    if not path.exists() or path.resolve().is_relative_to(folder.resolve()):
        print(f'demo: input: got {path}, expected a bag, a film or a folder of images that is '
              f'there, and not in {folder}, which is deleted', file=sys.stderr)
        return ExitCode.INPUT
    # What an earlier run left; one that is to go on is no matter of a demo.
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(folder.with_name(f'{_FOLDER}.unfinished'), ignore_errors=True)
    parameters = [f'model.name:={model}', f'preprocess.size:={PROCESS_SIZE}']
    if weights is not None:
        parameters.append(f'model.weights:={weights}')
    code = process.main([
        str(path), '--out', str(folder), *(word for each in parameters for word in ('-p', each)),
        *others])
    if code in (ExitCode.WRITTEN, ExitCode.PARTLY):
        print(f'report: {folder / "report.html"}')
    return code
