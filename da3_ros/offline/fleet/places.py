# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Where recordings come from and outputs go to: folders, or URIs that fsspec knows."""

from pathlib import Path
import shutil
from typing import Any, Protocol

from da3_ros.errors import Da3Error, InputError, SaveError
from da3_ros.offline.journal import write_whole

_FILE = 'file://'
# Written last: where it is, everything is.
_LAST = 'summary.json'


class PlaceError(Da3Error):
    """A URI cannot be used on this machine; the text says what is missing."""


def is_remote(place: str) -> bool:
    """Tell whether a place is a URI that is no file of this machine."""
    return '://' in place and not place.startswith(_FILE)


def as_path(place: str) -> Path:
    """Return the path of a place of this machine."""
    return Path(place.removeprefix(_FILE))


class Place(Protocol):
    """A folder for the outputs of a fleet."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None if there is none."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""
        ...

    def staging(self, scratch: Path) -> Path:
        """Return the folder that runs write to, before their outputs are taken from there."""
        ...

    def take(self, folder: Path) -> None:
        """Take a folder from there, with its name."""
        ...


def open_place(place: str) -> Place:
    """
    Open a folder; it need not exist yet.

    :param place: a path or a URI.
    :raises PlaceError: if the URI cannot be used on this machine.
    """
    return RemotePlace(place) if is_remote(place) else LocalPlace(as_path(place).absolute())


class LocalPlace:
    """A folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None if there is none."""
        try:
            return (self.folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SaveError(f'{self.folder / name} cannot be read: {error}') from error

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data)
        except OSError as error:
            raise SaveError(f'{path} cannot be written: {error}') from error

    def staging(self, scratch: Path) -> Path:
        """Return the folder itself: what is written there needs no move."""
        del scratch
        return self.folder

    def take(self, folder: Path) -> None:
        """Leave it where it is."""


class RemotePlace:
    """A folder behind a URI."""

    def __init__(self, uri: str) -> None:
        self._files, self._root = _file_system(uri)

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None if there is none."""
        try:
            return bytes(self._files.cat_file(f'{self._root}/{name}'))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all, as stores of objects do."""
        path = f'{self._root}/{name}'
        self._files.makedirs(path.rpartition('/')[0], exist_ok=True)
        self._files.pipe_file(path, data)

    def staging(self, scratch: Path) -> Path:
        """Return a folder of this machine."""
        return scratch / 'output'

    def take(self, folder: Path) -> None:
        """Send a folder, the file that says that it is whole last."""
        files = [path for path in sorted(folder.rglob('*')) if path.is_file()]
        for path in sorted(files, key=lambda path: path == folder / _LAST):
            target = f'{self._root}/{folder.name}/{path.relative_to(folder).as_posix()}'
            self._files.makedirs(target.rpartition('/')[0], exist_ok=True)
            self._files.put_file(str(path), target)
        shutil.rmtree(folder)


def fetch(uri: str, folder: Path) -> Path:
    """
    Copy what a URI names, a file or a folder.

    :param uri: that fsspec knows.
    :param folder: that it is copied into.
    :returns: where it lies.
    :raises InputError: if it is not there.
    :raises PlaceError: if the URI cannot be used on this machine.
    """
    files, path = _file_system(uri)
    path = path.rstrip('/')
    target = folder / path.rpartition('/')[2]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if not files.isdir(path):
            files.get_file(path, str(target))
            return target
        for each in files.find(path):
            part = target / each.removeprefix(path).lstrip('/')
            part.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(each, str(part))
    except FileNotFoundError as error:
        raise InputError(f'{uri}: got nothing, expected a recording') from error
    return target


def _file_system(uri: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as error:
        raise PlaceError(f"{uri}: URIs need fsspec: pip install 'da3_ros[fleet]'") from error
    try:
        files, path = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        # Either there is no such protocol, or its package is missing, which the text names.
        raise PlaceError(f'{uri}: {error}') from error
    return files, path.rstrip('/')
