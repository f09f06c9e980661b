# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A real colcon build of the project's files, in a workspace of its own."""

from pathlib import Path
import shutil
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_SOURCES = shutil.ignore_patterns('.*', '__pycache__', 'build', 'install', 'log', 'out')


class Workspace:
    """
    A built workspace with its install space.

    :param path: the workspace; ``install/`` lies in it.
    """

    def __init__(self, path: Path) -> None:
        self.install = path / 'install'
        self.prefix = self.install / 'da3_ros'

    def popen(self, command: str) -> subprocess.Popen:
        """Start a shell command after sourcing the install space, away from the sources."""
        return subprocess.Popen(
            ['bash', '-c', f'source {self.install}/setup.bash && exec {command}'],
            cwd=self.install.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, command: str) -> str:
        """Run a shell command to its end and return what it printed."""
        with self.popen(command) as process:
            output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output


@pytest.fixture(scope='session')
def workspace(tmp_path_factory):
    pytest.importorskip('colcon_core')
    path = tmp_path_factory.mktemp('workspace')
    shutil.copytree(ROOT, path / 'src' / 'da3_ros', ignore=NOT_SOURCES)
    # python -m: the scripts that colcon writes then start with this Python, which has torch.
    command = [sys.executable, '-m', 'colcon', '--log-base', 'log', 'build',
               '--base-paths', 'src', '--event-handlers', 'console_direct+']
    build = subprocess.run(command, cwd=path, check=False,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert build.returncode == 0, build.stdout
    return Workspace(path)
