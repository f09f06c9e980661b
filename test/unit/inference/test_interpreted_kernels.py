# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The fused kernels on a CPU, interpreted by Triton: what a GPU would compute, but slowly."""

import os
from pathlib import Path
import subprocess
import sys

import pytest

CASES = Path(__file__).parents[2] / 'gpu' / 'test_fused_kernels.py'


def test_fused_kernels_agree_with_the_modules():
    pytest.importorskip('triton', reason='needs Triton, of which no version is for this machine')
    # Triton reads the variable when it is imported.
    variables = {**os.environ, 'TRITON_INTERPRET': '1', 'CUDA_VISIBLE_DEVICES': ''}
    result = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', CASES],
        env=variables, check=False, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stdout
    assert ' passed' in result.stdout and 'skipped' not in result.stdout, result.stdout
