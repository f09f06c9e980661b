# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The linters of ROS 2, as an ament_python package runs them."""

import pytest
from tracked import python_files, ROOT

FILES = [str(path.relative_to(ROOT)) for path in python_files()]


@pytest.fixture(autouse=True)
def in_project(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_flake8():
    linter = pytest.importorskip('ament_flake8.main')
    _, errors = linter.main_with_errors(argv=FILES)
    assert not errors, '\n'.join(errors)


def test_pep257():
    linter = pytest.importorskip('ament_pep257.main')
    assert linter.main(argv=FILES) == 0


def test_xmllint():
    linter = pytest.importorskip('ament_xmllint.main', reason='not among the ROS 2 wheels')
    assert linter.main(argv=['package.xml', 'config']) == 0
