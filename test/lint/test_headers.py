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

"""Every source file carries the same licence header; no other licence slips in."""

from tracked import python_files, ROOT

HEADER = (ROOT / 'da3_ros' / 'errors.py').read_text().split('\n\n')[0] + '\n'


def test_header_is_the_apache_licence():
    assert HEADER.startswith('# Copyright 2026 The da3_ros authors\n#\n')
    assert 'Licensed under the Apache License, Version 2.0' in HEADER


def test_every_file_has_the_header():
    without = [str(path.relative_to(ROOT)) for path in python_files()
               if not path.read_text().startswith(HEADER)]
    assert not without
