# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The linters of ROS 2, as an ament_python package runs them."""

import pytest
from tracked import python_files, ROOT, tracked_files

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


def test_copyright():
    linter = pytest.importorskip('ament_copyright.main', reason='not among the ROS 2 wheels')
    sources = {str(path.relative_to(ROOT)) for path in tracked_files()
               if path.name in ('LICENSE', 'CONTRIBUTING.md')}
    assert linter.main(argv=[*FILES, *sources]) == 0


def test_xmllint():
    linter = pytest.importorskip('ament_xmllint.main', reason='not among the ROS 2 wheels')
    assert linter.main(argv=['package.xml', 'config']) == 0
