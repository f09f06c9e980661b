# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Let the tests see the same windows of few pixels as the benchmark of metres."""

from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).parents[3] / 'benchmark'))
