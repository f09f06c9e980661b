# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A folder appears whole or not at all, whatever the disk does."""

import errno
import os
import resource
import signal

from da3_ros.errors import SaveError
from da3_ros.export import atomic_folder
from da3_ros.export.atomic_folder import AtomicFolder
from da3_ros.export.save import FORMATS, save_session
from da3_ros.mapping.config import GridConfig, MapConfig
import pytest

ALL = frozenset(FORMATS)


def save(session, directory, **options):
    """Save everything."""
    return save_session(session, directory, ALL, MapConfig(), GridConfig(), **options)


class FailingWrites:
    """Let the k-th write fail, and count them."""

    def __init__(self, monkeypatch, fail_at, number) -> None:
        """Take the place of the operating system's write."""
        self.count = 0
        write = atomic_folder._CheckedFile.write

        def failing(file, data):
            self.count += 1
            if self.count == fail_at:
                raise OSError(number, os.strerror(number))
            return write(file, data)

        monkeypatch.setattr(atomic_folder._CheckedFile, 'write', failing)


def test_a_disk_that_is_full_at_any_write_leaves_nothing(session, tmp_path, monkeypatch):
    """Refused by name, got and expected; afterwards it works again."""
    with monkeypatch.context() as patch:
        writes = FailingWrites(patch, -1, errno.ENOSPC)
        assert save(session, tmp_path / 'counted').path.exists()
    for fail_at in {1, 2, writes.count // 2, writes.count}:
        target = tmp_path / 'new' / str(fail_at)
        with monkeypatch.context() as patch:
            FailingWrites(patch, fail_at, errno.ENOSPC)
            with pytest.raises(SaveError) as refusal:
                save(session, target)
        assert str(refusal.value).startswith(f"save.directory: got '{target}' (No space left")
        assert 'expected a folder with enough room that can be written' in str(refusal.value)
        assert not (tmp_path / 'new').exists()
    assert save(session, tmp_path / 'new').path.exists()


def test_a_full_disk_does_not_hurt_what_is_there(session, tmp_path, monkeypatch):
    """An earlier session and foreign files stay."""
    first = save(session, tmp_path)
    (tmp_path / 'notes.txt').write_text('mine')
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob('*'))
    FailingWrites(monkeypatch, 9, errno.EIO)
    with pytest.raises(SaveError, match='Input/output error'):
        save(session, tmp_path)
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob('*')) == before
    assert first.path.exists()


def test_a_limit_of_the_operating_system_is_a_full_disk(session, tmp_path):
    """A real refusal of the kernel, in the middle of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(SaveError, match='File too large'):
            save(session, tmp_path / 'sessions')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_a_folder_that_must_not_be_written(session, tmp_path):
    """Refused as it is."""
    tmp_path.chmod(0o500)
    with pytest.raises(SaveError, match='Permission denied'):
        save(session, tmp_path / 'sessions')
    tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_file_system_is_named(session, monkeypatch, tmp_path):
    """Also where root writes."""
    def mkdir(*_args, **_options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr('pathlib.Path.mkdir', mkdir)
    with pytest.raises(SaveError, match=r"got '.*/sessions' \(Read-only file system\)"):
        save(session, tmp_path / 'sessions')


def test_a_path_that_is_a_file(session, tmp_path):
    """Refused, and the file is left alone."""
    path = tmp_path / 'sessions'
    path.write_text('mine')
    for directory in (path, path / 'below'):
        with pytest.raises(SaveError, match=r'Not a directory|File exists'):
            save(session, directory)
    assert path.read_text() == 'mine'


def test_a_disk_that_is_full_at_the_very_end(session, tmp_path, monkeypatch):
    """What was written may be refused when it is flushed to the disk."""
    def fsync(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr('os.fsync', fsync)
    with pytest.raises(SaveError, match='No space left'):
        save(session, tmp_path / 'sessions')
    assert list(tmp_path.iterdir()) == []


def test_the_same_session_again_gets_a_number(session, tmp_path):
    """Nothing is written over."""
    names = [save(session, tmp_path).path.name for _ in range(3)]
    assert names == [names[0], f'{names[0]}_2', f'{names[0]}_3']
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_saving_that_is_given_up_leaves_nothing(session, tmp_path):
    """In the middle of the files, because the node ends."""
    asked = []

    def is_cancelled():
        asked.append(None)
        return len(asked) > 12

    with pytest.raises(SaveError, match='given up'):
        save(session, tmp_path / 'sessions', is_cancelled=is_cancelled)
    assert len(asked) < 20
    assert list(tmp_path.iterdir()) == []


def test_a_saving_is_given_up_while_it_is_flushed(tmp_path):
    """A slow disk takes its time when all is written."""
    is_late = []
    with pytest.raises(SaveError, match='given up'), AtomicFolder(
            tmp_path / 'sessions', 'session', is_cancelled=lambda: bool(is_late)) as folder:
        with folder.open('file') as file:
            file.write(b'something')
        is_late.append(True)
    assert list(tmp_path.iterdir()) == []


def test_any_other_fault_leaves_nothing_either(tmp_path):
    """It is passed on."""
    with pytest.raises(ZeroDivisionError), AtomicFolder(tmp_path, 'session') as folder:
        with folder.open('file') as file:
            file.write(b'something')
        assert list(tmp_path.iterdir())
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_session_of_nothing_is_refused(session, tmp_path):
    """No empty folder."""
    empty = type(session)((), (), 'map', session.frame_T_map)
    with pytest.raises(SaveError, match='got no keyframe with a pose in this session'):
        save(empty, tmp_path)
    assert list(tmp_path.iterdir()) == []
