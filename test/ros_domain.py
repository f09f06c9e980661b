# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A ROS domain that no other test on this machine uses, also where several run at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
import fcntl
import os
from pathlib import Path
import tempfile
import time

# Above it, the ports of a domain meet those that Linux hands out.
_LAST_DOMAIN = 101


@contextmanager
def reserved_domain() -> Iterator[int]:
    """
    Reserve a domain with a lock on a file; the end of the process frees it too.

    :raises RuntimeError: if all are taken.
    """
    folder = Path(tempfile.gettempdir(), f'da3_ros-{os.getuid()}', 'domains')
    folder.mkdir(parents=True, exist_ok=True)
    # Anywhere: the last one may still be haunted by what ended a moment ago.
    start = time.monotonic_ns() // 1000
    for offset in range(_LAST_DOMAIN):
        domain = 1 + (start + offset) % _LAST_DOMAIN
        with (folder / str(domain)).open('w') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield domain
            return
    raise RuntimeError(f'all {_LAST_DOMAIN} ROS domains are in use by tests')
