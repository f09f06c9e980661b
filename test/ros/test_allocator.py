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
