# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the last bits of a network's numbers depend on, besides its weights and its input."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def arithmetic() -> str:
    """Return what computes here, in words that are equal where the numbers are."""
    return f'torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}'


@contextmanager
def threads(number: int) -> Iterator[None]:
    """
    Compute with a number of threads: sums that are divided otherwise are rounded otherwise.

    :param number: of threads, while the block lasts.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
