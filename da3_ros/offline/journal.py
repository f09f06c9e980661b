# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The engine's answers on the disk, so that a run that was ended goes on.

Everything else a run does is quick and follows from the recording and these answers alone: a run
that goes on repeats it, takes the answers that are there, and infers only what is missing. So its
outputs are those of a run that was never ended, as far as the network gives the same numbers for
the same images twice: on a processor it does with the same number of threads, which is kept here.
An engine that keeps what it knows of the last views is shown them again before it goes on.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import hashlib
import json
import os
from pathlib import Path
from typing import Any, TypeVar

from da3_ros.errors import Da3Error, SaveError
from da3_ros.inference.prediction import WindowPrediction
from da3_ros.mapping.device_stage import Later, Pending, staged, StagedEngine
from da3_ros.mapping.keyframe import WindowEngine
from da3_ros.offline.answers import AnswerError, Images, read_answer, write_answer
import numpy as np
from numpy.typing import NDArray

Result = TypeVar('Result')

VERSION = 2
_IDENTITY = 'run.json'


class JournalError(Da3Error):
    """A run cannot go on; the text says why."""


class Interrupted(Exception):
    """Somebody ended the run between two windows."""


class JournalFault(Exception):
    """What ends a run at once, and no window alone; its cause says why."""


@dataclass(frozen=True, eq=False)
class _Question:
    """What an engine is asked, see ``InferenceEngine.infer``."""

    images: Sequence[NDArray[np.uint8]]
    poses: NDArray[np.float64] | None
    intrinsics: NDArray[np.float64] | None
    wanted: Sequence[int] | None
    keep: bool

    @property
    def digest(self) -> str:
        """Return what tells it from others."""
        asked = [] if self.wanted is None else [np.array(self.wanted)]
        return _digest([*self.images, self.poses, self.intrinsics, *asked])

    def put_to(self, engine: StagedEngine) -> Pending:
        """Begin to ask."""
        return engine.submit(
            self.images, poses=self.poses, intrinsics=self.intrinsics, wanted=self.wanted,
            keep=self.keep)

    def shares(self, other: '_Question') -> bool:
        """Tell whether an image is the same one."""
        theirs = {id(image) for image in other.images}
        return any(id(image) in theirs for image in self.images)


class JournaledEngine:
    """
    An engine that remembers what it answered.

    A window is on the disk before anybody sees its prediction, whole or not at all; what a kill
    costs is the inference that is under way.
    """

    def __init__(
        self, engine: WindowEngine, folder: Path, *, identity: Mapping[str, Any], resume: bool,
        is_ending: Callable[[], bool] = lambda: False,
        process: Callable[[Sequence[NDArray[np.uint8]]], Images] | None = None,
    ) -> None:
        """
        Open the journal.

        :param engine: infers what is missing.
        :param folder: of the journal; created where it is missing.
        :param identity: what the answers depend on, as JSON.
        :param resume: whether the answers that are there are taken.
        :param is_ending: asked before every inference.
        :param process: makes of images what the network sees, which then is not kept; None: it is.
        :raises JournalError: if they belong to another run.
        :raises SaveError: if nothing can be written.
        """
        self._engine = staged(engine)
        self._folder = folder
        self._is_ending = is_ending
        self._process = process
        self._before: deque[_Question] = deque()
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
        path = self._folder / f'{self._number:06d}.zip'
        question = _Question(images, poses, intrinsics, wanted, keep)
        if path.exists():
            self.num_repeated += 1
            self._before.append(question)
            self._forget(question)
            return self._answered(lambda: self._read(path, question))
        if self._is_ending():
            raise Interrupted
        self._remind(question)
        pending = _errors_kept(lambda: question.put_to(self._engine))
        if isinstance(pending, Da3Error):
            error = pending
            return self._answered(lambda: self._written(path, question, error))
        collect = pending.collect
        return self._answered(
            lambda: self._written(path, question, _errors_kept(collect)))

    def _forget(self, question: _Question) -> None:
        """Keep the questions since an image of this one was new, and the one before."""
        while len(self._before) > 1 and not self._before[1].shares(question):
            self._before.popleft()

    def _remind(self, question: _Question) -> None:
        """Let the engine know what it would, had it answered the questions before itself."""
        self._forget(question)
        while self._before:
            self._ask(self._before.popleft())

    def _ask(self, question: _Question) -> WindowPrediction | Da3Error:
        return _errors_kept(lambda: question.put_to(self._engine).collect())

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

    def _seen(self, question: _Question) -> Images | None:
        """Return what the network sees of the images whose views are asked for."""
        if self._process is None:
            return None
        images = self._process(question.images)
        return images if question.wanted is None else images[list(question.wanted)]

    def _read(self, path: Path, question: _Question) -> WindowPrediction | Da3Error:
        try:
            return read_answer(path, question.digest, lambda: self._seen(question))
        except AnswerError as error:
            raise JournalError(f'resume: {error}') from error

    def _written(
        self, path: Path, question: _Question, answer: WindowPrediction | Da3Error
    ) -> WindowPrediction | Da3Error:
        part = path.with_suffix('.partial')
        try:
            with part.open('wb') as file:
                write_answer(file, question.digest, answer, lambda: self._seen(question))
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise _refusal(self._folder, error) from error
        return answer


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
