# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

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
