# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The project's files."""

from functools import cache
from pathlib import Path
import subprocess

ROOT = Path(__file__).resolve().parents[2]


@cache
def tracked_files() -> tuple[Path, ...]:
    """Return every file of the project, new ones too, but nothing that git ignores."""
    command = ['git', 'ls-files', '--cached', '--others', '--exclude-standard']
    try:
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        paths = {ROOT / name for name in listed.stdout.splitlines()}
    except (OSError, subprocess.CalledProcessError):  # a release archive
        paths = {path for path in ROOT.rglob('*')
                 if not any(part.startswith('.') for part in path.relative_to(ROOT).parts)}
    return tuple(sorted(path for path in paths if path.is_file()))


def python_files(*folders: str) -> list[Path]:
    """
    Return the Python files of some folders.

    :param folders: relative to the project; none means everywhere.
    """
    roots = [ROOT / folder for folder in folders] or [ROOT]
    return [path for path in tracked_files()
            if path.suffix == '.py' and any(path.is_relative_to(root) for root in roots)]
