# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Expected failures at run time; bad arguments raise ``ValueError`` instead."""


class Da3Error(Exception):
    """Base of every failure that the node reports and survives."""


class WeightsError(Da3Error):
    """A checkpoint is missing, truncated or belongs to another variant."""


class MemoryBudgetError(Da3Error):
    """
    No window of the asked size fits the memory that is free.

    :param message: for the log.
    :param max_views: how many views fit instead, where that is known.
    """

    def __init__(self, message: str, *, max_views: int | None = None) -> None:
        super().__init__(message)
        self.max_views = max_views


class AlignmentError(Da3Error):
    """Two windows could not be brought into one frame."""


class PredictionError(Da3Error):
    """The network's answer cannot be used."""


class NonFiniteError(PredictionError):
    """
    The network itself gave NaN or infinity.

    Of all predictions that cannot be used, those that a wider number format may mend.
    """


class IntrinsicsError(PredictionError):
    """The network estimates no cameras, and no camera's intrinsics are known either."""


class SaveError(Da3Error):
    """A session cannot be saved; nothing of it was left on the disk."""


class MessageError(Da3Error):
    """A received message cannot be used; the text says what was got and what was expected."""


class InputError(Da3Error):
    """A recording cannot be read, or holds no camera; the text says what it holds instead."""


class DeviceLostError(Da3Error):
    """A device that shares windows has failed, or does not answer any more."""
