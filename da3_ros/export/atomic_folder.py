# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A folder that appears whole or not at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import io
import itertools
import os
from pathlib import Path
import shutil
from types import TracebackType
from typing import BinaryIO
import uuid

from da3_ros.errors import SaveError

_MIB = 2**20


class _CheckedFile(io.FileIO):
    """A file whose writing can be given up between two blocks."""

    def __init__(self, path: Path, check: Callable[[int], None]) -> None:
        """
        Create the file.

        :param path: that does not exist.
        :param check: called with the size of every block.
        """
        super().__init__(path, 'xb')
        self._check = check

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """
        Write a block.

        :param data: its bytes.
        """
        self._check(len(data))
        return super().write(data)


class AtomicFolder:
    """
    Collect files in a hidden folder beside the final one, and rename it when all are on the disk.

    Whatever goes wrong in the ``with`` block, or is raised there, nothing is left behind.
    """

    def __init__(
        self, directory: Path, name: str, *, is_cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        """
        Say where the folder is to be.

        :param directory: its parent; created where it is missing.
        :param name: of the folder; where it exists, a number is appended.
        :param is_cancelled: asked before every block that is written.
        """
        self._directory = directory
        self._name = name
        self._is_cancelled = is_cancelled
        self._partial = directory / f'.{name}.{uuid.uuid4().hex[:8]}.partial'
        self._created: list[Path] = []
        self.num_bytes = 0
        self.path: Path | None = None

    def __enter__(self) -> 'AtomicFolder':
        """
        Create the hidden folder.

        :raises SaveError: if that is not possible.
        """
        try:
            for folder in [*reversed(self._directory.parents), self._directory, self._partial]:
                if not folder.is_dir():
                    folder.mkdir()
                    self._created.append(folder)
        except OSError as error:
            self._remove()
            raise self._refusal(error) from error
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """
        Give the folder its name, or take everything away.

        :raises SaveError: if the disk does not take it, or the writing is to be given up.
        """
        try:
            if error is None:
                self._publish()
        except SaveError:
            self._remove()
            raise
        except OSError as late:
            error = late
        if error is not None:
            self._remove()
        if isinstance(error, OSError):
            raise self._refusal(error) from error

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:  # noqa: A003
        """
        Open a new file for writing.

        :param name: relative to the folder.
        """
        path = self._partial / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with io.BufferedWriter(_CheckedFile(path, self._note)) as file:  # type: ignore[type-var]
            yield file

    def adopt(self, path: Path) -> None:
        """
        Take in a folder that is complete.

        :param path: on the same disk; it keeps its name.
        """
        path.rename(self._partial / path.name)

    def check(self) -> None:
        """
        Go on, or not.

        :raises SaveError: if the writing is to be given up.
        """
        if self._is_cancelled():
            raise SaveError('save: given up, because the node ends')

    def _note(self, num_bytes: int) -> None:
        self.check()
        self.num_bytes += num_bytes

    def _publish(self) -> None:
        paths = list(self._partial.rglob('*'))
        # Files that were written in several passes are smaller than what was written.
        self.num_bytes = sum(path.stat().st_size for path in paths if path.is_file())
        for path in [*paths, self._partial]:
            self.check()
            _sync(path)
        suffixes = (f'_{number}' if number > 1 else '' for number in itertools.count(1))
        candidates = (self._directory / f'{self._name}{suffix}' for suffix in suffixes)
        path = next(path for path in candidates if not path.exists())
        self._partial.rename(path)
        _sync(self._directory)
        self.path = path

    def _remove(self) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)
        for folder in reversed(self._created):
            try:
                folder.rmdir()
            except OSError:
                # Gone already, or somebody else uses it meanwhile.
                continue

    def _refusal(self, error: OSError) -> SaveError:
        written = f' after {self.num_bytes / _MIB:.1f} MiB' if self.num_bytes else ''
        return SaveError(
            f"save.directory: got '{self._directory}' ({error.strerror or error}{written}), "
            'expected a folder with enough room that can be written')


def numbered(name: str, number: int) -> str:
    """
    Tell files of a kind apart: ``cloud.ply``, ``cloud_2.ply`` and so on.

    :param name: of a file, with an ending.
    :param number: from 1.
    """
    stem, _, ending = name.rpartition('.')
    return name if number == 1 else f'{stem}_{number}.{ending}'


def _sync(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
