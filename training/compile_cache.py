# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What was compiled once, in one file: a machine that is new every time need not do it again."""

from collections.abc import Iterator
from contextlib import contextmanager
import logging
from pathlib import Path

import torch

_logger = logging.getLogger('training')


@contextmanager
def compile_cache(path: Path | None, *, write: bool) -> Iterator[None]:
    """
    Compile with what a file holds, and write what was compiled to it at the end.

    Only the same code on the same kind of device with the same torch is taken from it.

    :param path: of the file, which need not be there yet, or None.
    :param write: whether this process writes it.
    """
    if path is not None and path.exists():
        torch.compiler.load_cache_artifacts(path.read_bytes())
    yield
    artifacts = torch.compiler.save_cache_artifacts() if path is not None and write else None
    if path is not None and artifacts is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(artifacts[0])
        _logger.info('%s: %.1f MB of compiled code', path, len(artifacts[0]) / 1e6)
