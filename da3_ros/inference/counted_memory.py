# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How much memory tensors take at once, counted where no allocator tells."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
import weakref

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class CountedMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """
    Count the tensors that come into being while this is entered.

    What libraries need within one operation is not seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._num_bytes: dict[int, int] = {}
        self._watches: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._held_bytes = 0
        self._peak_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Return what is alive."""
        return self._held_bytes

    @property
    def peak_bytes(self) -> int:
        """Return the most that was alive at once since the last ``forget_peak``."""
        return self._peak_bytes

    def forget_peak(self) -> None:
        """Begin a new peak."""
        self._peak_bytes = self._held_bytes

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Do without a wrapper that brings in torch's compiler, which takes seconds."""
        return False

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and count what it made."""
        given = {storage._cdata for storage in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            # Views, and what is changed in place, are of what was there before.
            if storage._cdata not in given:
                self._count(storage)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._num_bytes:
            return
        self._num_bytes[key] = storage.nbytes()
        self._watches[key] = weakref.ref(storage, lambda _: self._release(key))
        self._held_bytes += storage.nbytes()
        self._peak_bytes = max(self._peak_bytes, self._held_bytes)

    def _release(self, key: int) -> None:
        del self._watches[key]
        self._held_bytes -= self._num_bytes.pop(key)


def _storages(values: object) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
