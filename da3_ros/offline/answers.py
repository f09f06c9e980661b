# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
One answer of the engine as a file, without loss and without what follows from the question.

Of numbers whose last bits are noise only the first bytes are compressed: the others would take
most of the time and give nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
import json
from pathlib import Path
from typing import Any, BinaryIO
import zipfile

from da3_ros import errors
from da3_ros.errors import Da3Error, MemoryBudgetError
from da3_ros.inference.prediction import WindowPrediction
import numpy as np
from numpy.typing import NDArray

_METRIC = 'is_metric'
_ARRAYS = tuple(each.name for each in fields(WindowPrediction) if each.name != _METRIC)
_TOLD = 'told.json'
_LEVEL = 1

Images = NDArray[np.uint8]
Processed = Callable[[], Images | None]
"""Gives what the images of the question become, or None where nobody knows."""


class AnswerError(Exception):
    """A file is no answer, or one to another question."""


def write_answer(
    file: BinaryIO, question: str, answer: WindowPrediction | Da3Error, processed: Processed
) -> None:
    """
    Write an answer.

    :param file: to write to.
    :param question: its digest.
    :param answer: of the engine.
    :param processed: what the images of the question become.
    """
    told: dict[str, Any] = {'question': question}
    arrays: dict[str, NDArray[Any]] = {}
    if isinstance(answer, Da3Error):
        told |= {'error': type(answer).__name__, 'text': str(answer)}
        if isinstance(answer, MemoryBudgetError):
            told['max_views'] = answer.max_views
    else:
        told[_METRIC] = answer.is_metric
        arrays = {name: value for name in _ARRAYS
                  if (value := getattr(answer, name)) is not None}
        if _equal(answer.images, processed()):
            del arrays['images']
    told['arrays'] = {name: [value.dtype.str, value.shape] for name, value in arrays.items()}
    with zipfile.ZipFile(file, 'w', compresslevel=_LEVEL) as archive:
        archive.writestr(_TOLD, json.dumps(told))
        for name, value in arrays.items():
            rough, fine = _split(value)
            archive.writestr(f'{name}.rough', rough, zipfile.ZIP_DEFLATED)
            archive.writestr(f'{name}.fine', fine, zipfile.ZIP_STORED)


def read_answer(
    path: Path, question: str, processed: Processed
) -> WindowPrediction | Da3Error:
    """
    Read an answer.

    :param path: of the file.
    :param question: its digest.
    :param processed: what the images of the question become.
    :raises AnswerError: if it cannot be read, or is the answer to another question.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            told = json.loads(archive.read(_TOLD))
            if told['question'] != question:
                raise AnswerError(
                    f'window {path.stem} shows other images than before: the recording has '
                    'changed')
            if 'error' in told:
                return _error(told)
            arrays: dict[str, Any] = {
                name: _joined(archive.read(f'{name}.rough'), archive.read(f'{name}.fine'),
                              np.dtype(dtype), shape)
                for name, (dtype, shape) in told['arrays'].items()}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise AnswerError(f'{path} cannot be read: {error}') from error
    if 'images' not in arrays:
        arrays['images'] = processed()
    values: dict[str, Any] = {name: arrays.get(name) for name in _ARRAYS}
    return WindowPrediction(**values, is_metric=bool(told[_METRIC]))


def _equal(images: Images, others: Images | None) -> bool:
    return others is not None and np.array_equal(images, others)


def _split(values: NDArray[Any]) -> tuple[bytes, bytes]:
    """Part floats of 32 bits into their first and their last bytes."""
    if values.dtype != np.float32:
        return values.tobytes(), b''
    parts = np.ascontiguousarray(values).view('<u2').reshape(-1, 2)
    # The bytes of each kind together, which compress far better.
    rough = np.ascontiguousarray(parts[:, 1]).view(np.uint8).reshape(-1, 2)
    return rough.T.tobytes(), parts[:, 0].tobytes()


def _joined(
    rough: bytes, fine: bytes, dtype: np.dtype[Any], shape: Sequence[int]
) -> NDArray[Any]:
    if dtype != np.float32:
        return np.frombuffer(rough, dtype).reshape(shape).copy()
    first = np.frombuffer(rough, np.uint8).reshape(2, -1).T
    parts = np.empty((len(first), 2), '<u2')
    parts[:, 0] = np.frombuffer(fine, '<u2')
    parts[:, 1] = np.ascontiguousarray(first).view('<u2')[:, 0]
    return parts.view(np.float32).reshape(shape)


def _error(told: Mapping[str, Any]) -> Da3Error:
    kind = getattr(errors, told['error'], Da3Error)
    if kind is MemoryBudgetError:
        return MemoryBudgetError(told['text'], max_views=told['max_views'])
    error: Da3Error = kind(told['text'])
    return error
