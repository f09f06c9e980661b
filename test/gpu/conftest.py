# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Let the tests import the benchmarks, which are scripts and not part of the package."""

from pathlib import Path
import sys

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmark'))
