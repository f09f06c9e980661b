# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The linter and the type checker, as pyproject.toml configures them."""

import shutil
import subprocess
import sys

import numpy
import pytest
from tracked import python_files, ROOT


def run_tool(name: str, *arguments: str) -> None:
    """Run a tool of the environment; fail with its output."""
    if shutil.which(name) is None:
        pytest.skip(f'{name} is not installed')
    result = subprocess.run([sys.executable, '-m', name, *arguments], cwd=ROOT, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert result.returncode == 0, result.stdout


def test_ruff():
    run_tool('ruff', 'check', '--no-cache', '--output-format', 'concise',
             *map(str, python_files()))


def test_mypy():
    if numpy.__version__ < '2':
        pytest.skip("numpy 1's types differ from numpy 2's; held to the newer ones")
    run_tool('mypy')
