# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How many views fit at the moment."""


class ViewBudget:
    """
    Shrink the window when memory runs out and grow it back later.

    After a failure the limit falls by a quarter. It rises by a quarter after a run of windows at
    the limit without a failure. If the larger window fails, the limit falls back to what was good
    and the next attempt waits twice as long; if it holds, the one after waits half as long.
    """

    _FIRST_PATIENCE = 8
    _MAX_PATIENCE = 1024

    def __init__(self, size: int) -> None:
        """
        Start with the whole window.

        :param size: most views that are ever wanted.
        """
        self._size = size
        self._limit = size
        self._patience = self._FIRST_PATIENCE
        self._num_good = 0
        self._limit_before_attempt: int | None = None

    @property
    def limit(self) -> int:
        """Return how many views to infer together at most."""
        return self._limit

    def shrink(self, num_views: int) -> bool:
        """
        Note that a window did not fit.

        :param num_views: views of that window.
        :returns: whether fewer views can be tried.
        """
        limit = max(min(num_views * 3 // 4, num_views - 1), 1)
        if self._limit_before_attempt is not None:
            self._patience = min(2 * self._patience, self._MAX_PATIENCE)
            limit = min(max(limit, self._limit_before_attempt), max(num_views - 1, 1))
        self._limit = limit
        self._limit_before_attempt = None
        self._num_good = 0
        return num_views > 1

    def note_success(self, num_views: int) -> None:
        """
        Note that a window fitted.

        :param num_views: views of that window.
        """
        if num_views < self._limit:
            return
        self._num_good += 1
        if self._num_good < self._patience:
            return
        self._num_good = 0
        if self._limit_before_attempt is not None:
            self._patience = max(self._patience // 2, self._FIRST_PATIENCE)
        self._limit_before_attempt = self._limit if self._limit < self._size else None
        self._limit = min(self._limit + max(self._limit // 4, 1), self._size)
