# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
What the process asks of the C library's allocator.

A 1080p image is 6 MB, and is copied three times on its way into Python. By default glibc gives
such memory back to the kernel at once, which hands it out again page by page: that costs several
times the copying itself.
"""

import ctypes

# From malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# The largest that glibc takes: an image of 4K and 24 bits stays below it.
_LARGEST_REUSED_BYTES = 32 * 2**20
_MOST_KEPT_BYTES = 256 * 2**20


def reuse_large_buffers() -> bool:
    """
    Let freed image buffers be used again, for the rest of the process.

    :returns: False where the C library cannot be told so.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_REUSED_BYTES)
        and mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT_BYTES))
