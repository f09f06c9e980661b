# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Read and decode in a thread of its own, while windows are inferred."""

from collections.abc import Iterator
from contextlib import contextmanager
import queue
import threading
from typing import Generic, TypeVar

Item = TypeVar('Item')
_PERIOD_S = 0.1


class _Ended:
    """The last item, with what went wrong."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Ahead(Generic[Item]):
    """A thread, and the queue that it fills."""

    def __init__(self, items: Iterator[Item], size: int) -> None:
        self._items = items
        self._queue: queue.Queue[Item | _Ended] = queue.Queue(size)
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name='da3_reading', daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        while True:
            item = self._queue.get()
            if isinstance(item, _Ended):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def close(self) -> None:
        self._is_closed.set()
        self._thread.join()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as raised:
            # It is the other thread's to report.
            error = raised
        self._put(_Ended(error))

    def _put(self, item: Item | _Ended) -> bool:
        while not self._is_closed.is_set():
            try:
                self._queue.put(item, timeout=_PERIOD_S)
                return True
            except queue.Full:
                continue
        return False


@contextmanager
def read_ahead(items: Iterator[Item], *, size: int) -> Iterator[Iterator[Item]]:
    """
    Compute items in a thread, a few ahead of who takes them.

    :param items: belongs to that thread until the block ends.
    :param size: how many may wait.
    """
    ahead = _Ahead(items, size)
    try:
        yield iter(ahead)
    finally:
        ahead.close()
