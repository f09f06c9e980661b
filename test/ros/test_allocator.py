# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Image buffers are used again, and not asked of the kernel for every image."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from da3_ros.ros.allocator import reuse_large_buffers

def num_page_faults():
    # Like an image on its way into Python: three copies at a time.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        copies = [bytearray(1920 * 1080 * 3) for _ in range(3)]
        del copies
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {is_asked}:
    assert reuse_large_buffers()
    num_page_faults()
print(num_page_faults())
"""


def num_page_faults(*, is_asked):
    """Run the program, in a process whose allocator nobody has touched."""
    result = subprocess.run(
        [sys.executable, '-c', PROGRAM.format(is_asked=is_asked)], capture_output=True, text=True,
        check=True, timeout=60)
    return int(result.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='another C library')
def test_large_buffers_are_reused():
    """From the second round on nothing comes from the kernel."""
    assert num_page_faults(is_asked=False) > 1000
    assert num_page_faults(is_asked=True) < 100
