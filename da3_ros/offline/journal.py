# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The engine's answers on the disk, so that a run that was ended goes on.

Everything else a run does is quick and follows from the recording and these answers alone: a run
that goes on repeats it, takes the answers that are there, and infers only what is missing. So its
outputs are those of a run that was never ended, as far as the network gives the same numbers for
the same images twice.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
import hashlib
import json
import os
from pathlib import Path
from typing import Any, TypeVar
import zipfile

from da3_ros import errors
from da3_ros.errors import Da3Error, MemoryBudgetError, SaveError
from da3_ros.inference.prediction import WindowPrediction
from da3_ros.mapping.device_stage import Later, staged
from da3_ros.mapping.keyframe import WindowEngine
import numpy as np
from numpy.typing import NDArray

Result = TypeVar('Result')

VERSION = 1
_IDENTITY = 'run.json'
_ARRAYS = ('images', 'depth', 'confidence', 'sky', 'intrinsics', 'poses', 'appearance')


class JournalError(Da3Error):
    """A run cannot go on; the text says why."""


class Interrupted(Exception):
    """Somebody ended the run between two windows."""


class JournalFault(Exception):
    """What ends a run at once, and no window alone; its cause says why."""


class JournaledEngine:
    """
    An engine that remembers what it answered.

    A window is on the disk before anybody sees its prediction, whole or not at all; what a kill
    costs is the inference that is under way.
    """

    def __init__(
        self, engine: WindowEngine, folder: Path, *, identity: Mapping[str, Any], resume: bool,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Open the journal.

        :param engine: infers what is missing.
        :param folder: of the journal; created where it is missing.
        :param identity: what the answers depend on, as JSON.
        :param resume: whether the answers that are there are taken.
        :param is_ending: asked before every inference.
        :raises JournalError: if they belong to another run.
        :raises SaveError: if nothing can be written.
        """
        self._engine = staged(engine)
        self._folder = folder
        self._is_ending = is_ending
        self._number = 0
        self._fault: JournalFault | None = None
        self.num_repeated = 0
        identity = {'version': VERSION, **identity}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if resume and (folder / _IDENTITY).exists():
                _check_identity(folder / _IDENTITY, identity)
            else:
                write_whole(folder / _IDENTITY, json.dumps(identity, indent=1).encode())
        except OSError as error:
            raise _refusal(folder, error) from error

    @property
    def works_apart(self) -> bool:
        """Tell whether a device works on what was begun while the caller does other things."""
        return self._engine.works_apart

    def prepare(self, image: NDArray[np.uint8]) -> None:
        """
        Do beforehand what can be done of an image.

        :param image: as for the engine.
        """
        self._engine.prepare(image)

    def infer(
        self, images: Sequence[NDArray[np.uint8]], *, poses: NDArray[np.float64] | None = None,
        intrinsics: NDArray[np.float64] | None = None, wanted: Sequence[int] | None = None,
        keep: bool = True,
    ) -> WindowPrediction:
        """
        Infer a window, or answer as before; see ``submit``.

        :param images: as for the engine.
        :param poses: as for the engine.
        :param intrinsics: as for the engine.
        :param wanted: as for the engine.
        :param keep: as for the engine.
        """
        return self.submit(
            images, poses=poses, intrinsics=intrinsics, wanted=wanted, keep=keep).collect()

    def submit(
        self, images: Sequence[NDArray[np.uint8]], *, poses: NDArray[np.float64] | None = None,
        intrinsics: NDArray[np.float64] | None = None, wanted: Sequence[int] | None = None,
        keep: bool = True,
    ) -> Later:
        """
        Begin to infer a window, or answer as before.

        :param images: as for the engine.
        :param poses: as for the engine.
        :param intrinsics: as for the engine.
        :param wanted: as for the engine.
        :param keep: as for the engine.
        :raises Da3Error: as the engine does.
        :raises Interrupted: if the run is to end.
        :raises JournalFault: if the answers on the disk are of another recording, or no more can
            be written.
        """
        if self._fault is not None:
            raise self._fault
        self._number += 1
        path = self._folder / f'{self._number:06d}.npz'
        asked = [] if wanted is None else [np.array(wanted)]
        question = _digest([*images, poses, intrinsics, *asked])
        if path.exists():
            self.num_repeated += 1
            return self._answered(lambda: _read(path, question))
        if self._is_ending():
            raise Interrupted
        begin = partial(
            self._engine.submit, images, poses=poses, intrinsics=intrinsics, wanted=wanted,
            keep=keep)
        pending = _errors_kept(begin)
        if isinstance(pending, Da3Error):
            error = pending
            return self._answered(lambda: self._written(path, question, error))
        collect = pending.collect
        return self._answered(
            lambda: self._written(path, question, _errors_kept(collect)))

    def _answered(self, answer: Callable[[], WindowPrediction | Da3Error]) -> Later:
        """Give an answer when it is collected; where the disk fails, the whole run does."""
        def collect() -> WindowPrediction:
            try:
                found = answer()
            except (JournalError, SaveError) as error:
                self._fault = JournalFault(str(error))
                raise self._fault from error
            if isinstance(found, Da3Error):
                raise found
            return found

        return Later(collect)

    def _written(
        self, path: Path, question: str, answer: WindowPrediction | Da3Error
    ) -> WindowPrediction | Da3Error:
        self._write(path, question, answer)
        return answer

    def _write(self, path: Path, question: str, answer: WindowPrediction | Da3Error) -> None:
        told: dict[str, Any] = {'question': question}
        arrays: dict[str, NDArray[Any]] = {}
        if isinstance(answer, Da3Error):
            told |= {'error': type(answer).__name__, 'text': str(answer)}
            if isinstance(answer, MemoryBudgetError):
                told['max_views'] = answer.max_views
        else:
            told['is_metric'] = answer.is_metric
            arrays = {name: value for name in _ARRAYS
                      if (value := getattr(answer, name)) is not None}
        partial = path.with_suffix('.partial')
        try:
            with partial.open('wb') as file:
                np.savez(file, allow_pickle=False, told=np.array(json.dumps(told)), **arrays)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise _refusal(self._folder, error) from error


def _errors_kept(step: Callable[[], Result]) -> Result | Da3Error:
    """Return what a step gives, or the error it fails with."""
    try:
        return step()
    except Da3Error as error:
        return error


def recorded(folder: Path, name: str) -> Any:
    """
    Return what an unfinished run was begun with, or None.

    :param folder: of its journal.
    :param name: of the value.
    """
    try:
        return json.loads((folder / _IDENTITY).read_text()).get(name)
    except (OSError, ValueError):
        return None


def write_whole(path: Path, data: bytes) -> None:
    """
    Write a file that is there whole or not at all.

    :param path: of the file.
    :param data: its content.
    """
    partial = path.with_suffix('.partial')
    with partial.open('wb') as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def _check_identity(path: Path, identity: Mapping[str, Any]) -> None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise JournalError(f'resume: {path} cannot be read: {error}') from error
    # As JSON has it: tuples are lists there.
    wanted = json.loads(json.dumps(identity))
    changed = [
        f'{name} was {_short(found.get(name))} and is {_short(wanted.get(name))}'
        for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)]
    if changed:
        raise JournalError(
            f'resume: the unfinished run in {path.parent.parent} is another one: '
            f'{"; ".join(changed)}. Run it as it was, or delete that folder to begin anew')


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f'{text[:97]}...'


def _read(path: Path, question: str) -> WindowPrediction | Da3Error:
    arrays: dict[str, Any]
    try:
        with np.load(path, allow_pickle=False) as archive:
            told = json.loads(str(archive['told']))
            arrays = {name: archive[name] for name in _ARRAYS if name in archive}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise JournalError(f'resume: {path} cannot be read: {error}') from error
    if told['question'] != question:
        raise JournalError(
            f'resume: window {path.stem} shows other images than before: the recording has '
            'changed')
    if 'error' in told:
        return _error(told)
    fields: dict[str, Any] = {name: arrays.get(name) for name in _ARRAYS}
    return WindowPrediction(**fields, is_metric=bool(told['is_metric']))


def _error(told: Mapping[str, Any]) -> Da3Error:
    kind = getattr(errors, told['error'], Da3Error)
    if kind is MemoryBudgetError:
        return MemoryBudgetError(told['text'], max_views=told['max_views'])
    error: Da3Error = kind(told['text'])
    return error


def _digest(arrays: Sequence[NDArray[Any] | None]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        if array is None:
            digest.update(b'none')
        else:
            digest.update(f'{array.dtype}{array.shape}'.encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _refusal(folder: Path, error: OSError) -> SaveError:
    return SaveError(
        f'the journal in {folder} cannot be written ({error.strerror or error}); after making '
        'room, --resume goes on')
