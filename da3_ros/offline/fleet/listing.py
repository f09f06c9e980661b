# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The list of recordings: a line each, with what ``process`` is told for it alone."""

import argparse
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
import hashlib
import io
from pathlib import Path
import re
import shlex

from da3_ros.errors import InputError
from da3_ros.offline.fleet.places import as_path, is_remote
from da3_ros.offline.job import Job
from da3_ros.offline.process import build_parser, job_of

# What the fleet itself decides about every run.
_RESERVED = {'resume': False, 'quiet': False, 'log': 'text'}
_NAME = re.compile(r'[^/\\\s.][^/\\]*')
# Of what the fleet writes beside the outputs.
_TAKEN = ('index.html',)


@dataclass(frozen=True)
class Entry:
    """
    A line of the list.

    :param name: of the folder with the outputs, below that of the fleet.
    :param place: of the recording, a path or a URI.
    :param job: what is made of it; where its files lie is for the worker to say.
    :param asked: digest of what is asked for: the same for the same outputs.
    """

    name: str
    place: str
    job: Job
    asked: str


def read_list(path: Path, common: Sequence[str]) -> list[Entry]:
    """
    Read the list: a line is a recording, then options of ``process`` for it alone.

    Empty lines and what follows a ``#`` are passed over. A relative path is one from the folder
    that the command is called in.

    :param path: of the list.
    :param common: options of ``process`` for every recording.
    :raises InputError: if there is none, or it is empty.
    :raises ValueError: if an option cannot be used; the text names the line.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'list: got {path} ({error}), expected a text file') from error
    # What is wrong for all is no matter of a line.
    _options(['INPUT', *common])
    entries: dict[str, Entry] = {}
    for number, line in enumerate(lines, start=1):
        try:
            words = shlex.split(line, comments=True)
            if words:
                entry = _entry(words, common, taken=entries)
                entries[entry.name] = entry
        except (ValueError, OSError) as error:
            raise ValueError(f'{path}, line {number}: {error}') from error
    if not entries:
        raise InputError(f'list: got {path} without a recording, expected one on each line')
    return list(entries.values())


def _entry(words: Sequence[str], common: Sequence[str], *, taken: dict[str, Entry]) -> Entry:
    place, *own = words
    if place.startswith('-'):
        raise ValueError(f'got {place!r} first, expected a path or a URI, then its options')
    place = place if is_remote(place) else str(as_path(place).absolute())
    options = _options(['INPUT', *common, *own])
    options.input = Path(place)
    for name, value in vars(options).items():
        # A worker has a folder of its own.
        if isinstance(value, Path) and name != 'out':
            setattr(options, name, value.absolute())
    job = job_of(options)
    asked = _digest(place, job)
    if options.out is None and any(each.asked == asked for each in taken.values()):
        raise ValueError(f'got {place} again; to process it twice, give it --out NAME')
    return Entry(_name(place, options.out, taken), place, job, asked)


def _digest(place: str, job: Job) -> str:
    """Digest everything that the outputs depend on but for the recording's content."""
    recording = replace(job.recording, path=Path(place))
    files = [value.read_bytes() for name, value in vars(recording).items()
             if isinstance(value, Path) and name != 'path']
    told = (recording, files, job.settings, sorted(job.formats))
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def _options(words: Sequence[str]) -> argparse.Namespace:
    """Read options as ``process`` does, but for what is not for a list."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            options = build_parser().parse_args(words)
    except SystemExit as ended:
        lines = said.getvalue().splitlines() or ['got --help, expected options of process']
        raise ValueError(lines[-1].removeprefix('process: error: ')) from ended
    for name, default in _RESERVED.items():
        if getattr(options, name) != default:
            raise ValueError(f'got --{name}, which is not for a list')
    return options


def _name(place: str, out: Path | None, taken: dict[str, Entry]) -> str:
    """Return a name that no earlier line has, so that lines may be added to a list."""
    if out is not None:
        name = str(out)
        if not _NAME.fullmatch(name):
            raise ValueError(f'out: got {name}, expected the name of a folder, no path')
        if name in taken or name in _TAKEN:
            raise ValueError(f'out: got {name}, which is taken')
        return name
    *parents, last = re.split(r'[/\\]+', place.rstrip('/\\'))
    name = last.rpartition('.')[0] or last
    name = name.lstrip('.')
    while (not name or name in taken or name in _TAKEN) and parents:
        name = f'{parents.pop()}_{name}'.lstrip('.')
    if not name or name in taken or name in _TAKEN:
        raise ValueError(f'got {place}, whose name is taken; give it another one with --out NAME')
    return name
