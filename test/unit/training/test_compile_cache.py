# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Compiled code outlives its machine."""

from pathlib import Path

import torch
from torch._dynamo.utils import counters
from torch._inductor.utils import fresh_cache

from training.compile_cache import compile_cache


def _product(x: torch.Tensor) -> torch.Tensor:
    return x @ x  # needs no C++ compiler, which takes its time


def test_what_was_compiled_is_not_compiled_again(tmp_path: Path) -> None:
    """A machine without anything compiled takes it from the file."""
    path = tmp_path / 'below' / 'compiled'
    hits = []
    for write in (True, False):
        torch._dynamo.reset()
        counters.clear()
        with fresh_cache(), compile_cache(path, write=write):
            compiled = torch.compile(_product, dynamic=False)
            assert torch.allclose(compiled(torch.ones(3, 3)), torch.full((3, 3), 3.0))
        hits.append(counters['inductor']['fxgraph_cache_hit'])
    assert hits == [0, 1]
