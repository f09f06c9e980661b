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

"""A drive at ten times the speed, and many lives: the node's process holds no more than before."""

import os
import subprocess
import sys

from node_harness import ROOT


def test_nothing_grows(domain_id):
    """A thousand images and more; ``benchmark/soak.py`` alone drives for a hundred thousand."""
    result = subprocess.run(
        [sys.executable, str(ROOT / 'benchmark/soak.py'), '--frames', '1500', '--lives', '6'],
        capture_output=True, text=True, timeout=120, check=False, cwd=ROOT,
        env=os.environ | {
            'ROS_DOMAIN_ID': str(domain_id),
            'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]),
        })
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'Grown: nothing.' in result.stdout
