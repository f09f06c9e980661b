# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Weights from the Hugging Face hub, by way of its cache.

What the hub's library says goes to the log at DEBUG, and its progress bars are off: instead there
is a line at INFO every few seconds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
import logging
from pathlib import Path
import re
import threading
import time
from typing import Any

from da3_ros.errors import WeightsError
from da3_ros.model.weights_file import (
    checksum,
    CONFIG_NAME,
    FILE_NAMES,
    files_of,
    one_line,
    shard_names,
)

Report = Callable[[str], None]
"""Is told in a few words what goes on, a few times a second."""

_HINT = 'give a file, or take da3-tiny, which lies in the package'
_TIMEOUT_S = 5.0
_NUM_TRIES = 2
_PAUSE_S = 0.5
_LOG_PERIOD_S = 3.0
_LOOK_PERIOD_S = 0.2
_MB = 1_000_000
# A download that lives writes every few seconds.
_LEFTOVER_AGE_S = 600.0
# Newer versions of the hub's library give each process a file of its own.
_OWN_PART = re.compile(r'.+\.[0-9a-f]{8}\.incomplete')
# The hub names large files by their checksum.
_SHA256 = re.compile(r'[0-9a-f]{64}')

_logger = logging.getLogger(__name__)


def from_hub(hub_id: str, *, offline: bool = False, report: Report | None = None) -> Path:
    """
    Return weights of the hub; what is in its cache is taken as it is, without asking the hub.

    :param hub_id: of the repository.
    :param offline: look into the cache only.
    :param report: is told the progress of a download.
    :raises WeightsError: if they are neither in the cache nor to be had.
    """
    cached = from_cache(hub_id)
    if cached is not None:
        return cached
    if offline:
        raise WeightsError(
            f'{hub_id}: {FILE_NAMES[0]} is not in the local cache (offline); {_HINT}')
    return download(hub_id, report=report)


def from_cache(hub_id: str) -> Path | None:
    """
    Return weights that the hub's cache holds whole, or None.

    :param hub_id: of the repository.
    :raises WeightsError: if the hub's library is not installed, or the id is none.
    """
    hub = _library(hub_id)

    def cached(name: str) -> Path | None:
        try:
            return Path(hub.hf_hub_download(hub_id, name, local_files_only=True))
        except hub.utils.EntryNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise WeightsError(f'{hub_id}: {one_line(error)}') from error

    for name in FILE_NAMES:
        path = cached(name)
        if path is not None and all(cached(shard) for shard in shard_names(path)):
            return path
    return None


def download(hub_id: str, *, report: Report | None = None) -> Path:
    """
    Bring the hub's newest weights into its cache, if they are not there yet.

    :param hub_id: of the repository.
    :param report: is told the progress.
    :raises WeightsError: if they cannot be had, or are not what the hub says they are.
    """
    repository = _Repository(hub_id, report)
    with _quiet(_library(hub_id)):
        for name in FILE_NAMES:
            if not repository.has(name):
                continue
            # First, so that wherever weights are in the cache, it is there, too.
            if repository.has(CONFIG_NAME):
                repository.download(CONFIG_NAME)
            path = repository.download(name)
            for shard in shard_names(path):
                repository.download(shard)
            files_of(path)
            return path
    raise WeightsError(f'{hub_id}: there is no {" or ".join(FILE_NAMES)} on the hub; {_HINT}')


class _Repository:
    """A repository on the hub."""

    def __init__(self, hub_id: str, report: Report | None) -> None:
        self._hub_id = hub_id
        self._report = report
        self._hub = _library(hub_id)
        self._found: dict[str, Any] = {}

    def has(self, name: str) -> bool:
        """
        Ask the hub for a file.

        Before the hub's library is let loose, which tries again for half a minute.
        """
        url = self._hub.hf_hub_url(self._hub_id, name)
        for i in range(_NUM_TRIES):
            try:
                self._found[name] = self._hub.get_hf_file_metadata(url, timeout=_TIMEOUT_S)
                return True
            except self._hub.utils.EntryNotFoundError:
                return False
            except self._hub.utils.RepositoryNotFoundError as error:
                raise WeightsError(
                    f'{self._hub_id}: no such repository on the hub, or not without a token; '
                    f'{_HINT}') from error
            except Exception as error:
                # Of whatever lies below the hub's library, which changes with its version.
                if i + 1 == _NUM_TRIES:
                    raise self._failure(name, error) from error
                time.sleep(_PAUSE_S)
        raise AssertionError

    def download(self, name: str) -> Path:
        """Download a file of which the hub knows, unless it is in the cache."""
        if name not in self._found and not self.has(name):
            raise WeightsError(f'{self._hub_id}: {name} is not on the hub; {_HINT}')
        found = self._found[name]
        with self._progress(name, found.size or 0):
            try:
                path = Path(self._hub.hf_hub_download(self._hub_id, name))
            except Exception as error:
                raise self._failure(name, error) from error
        expected = found.etag or ''
        if _SHA256.fullmatch(expected) and checksum(path) != expected:
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            raise WeightsError(
                f'{self._hub_id}: {name} was damaged on its way: its sha256 is not {expected}')
        return path

    @contextmanager
    def _progress(self, name: str, size: int) -> Iterator[None]:
        """Tell how much is there, while a file is downloaded."""
        folder = Path(self._hub.constants.HF_HUB_CACHE) / self._hub.file_download.repo_folder_name(
            repo_id=self._hub_id, repo_type='model') / 'blobs'
        _delete_leftovers(folder)
        before = set(_incomplete(folder))
        is_over = threading.Event()

        def watch() -> None:
            told_s = float('-inf')
            while not is_over.wait(_LOOK_PERIOD_S):
                sizes = _incomplete(folder)
                done = max((sizes[file] for file in sizes.keys() - before), default=0)
                text = f'{self._hub_id}, {name}: {done // _MB} of {size // _MB} MB'
                if self._report is not None:
                    self._report(text)
                if time.monotonic() - told_s >= _LOG_PERIOD_S:
                    told_s = time.monotonic()
                    _logger.info('downloading %s', text)

        watcher = threading.Thread(target=watch, name='download progress', daemon=True)
        watcher.start()
        try:
            yield
        finally:
            is_over.set()
            watcher.join()

    def _failure(self, name: str, error: Exception) -> WeightsError:
        return WeightsError(
            f'{self._hub_id}: {name} cannot be had from {self._hub.constants.ENDPOINT}: '
            f'{one_line(error)}; {_HINT}')


@contextmanager
def _quiet(hub: Any) -> Iterator[None]:
    """Let the hub's library neither log nor draw progress bars."""
    handlers = [*logging.getLogger(hub.__name__).handlers, *logging.getLogger().handlers]
    thread = threading.get_ident()
    told: list[logging.LogRecord] = []

    def own(record: logging.LogRecord) -> bool:
        """Move what the library logs in this thread to this module's log, once."""
        is_of_others = record.thread != thread or not record.name.startswith(hub.__name__)
        if not is_of_others and record not in told[-1:]:
            told.append(record)
            _logger.debug('%s: %s', record.name, ' '.join(record.getMessage().split()))
        return is_of_others

    had_bars = not hub.utils.are_progress_bars_disabled()
    for handler in handlers:
        handler.addFilter(own)
    if had_bars:
        hub.utils.disable_progress_bars()
    try:
        yield
    finally:
        if had_bars:
            hub.utils.enable_progress_bars()
        for handler in handlers:
            handler.removeFilter(own)


def _library(hub_id: str) -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.file_download
    except ImportError as error:
        raise WeightsError(f'{hub_id}: huggingface_hub is not installed, give a file') from error
    return huggingface_hub


def _delete_leftovers(folder: Path) -> None:
    """Delete what processes that were ended in a download left, and no later one goes on with."""
    oldest_s = time.time() - _LEFTOVER_AGE_S
    for name in _incomplete(folder):
        with suppress(OSError):
            if _OWN_PART.fullmatch(name) and (folder / name).stat().st_mtime < oldest_s:
                (folder / name).unlink()


def _incomplete(folder: Path) -> dict[str, int]:
    """Return the sizes of the files that are being downloaded."""
    sizes = {}
    for file in folder.glob('*.incomplete'):
        with suppress(FileNotFoundError):
            sizes[file.name] = file.stat().st_size
    return sizes
