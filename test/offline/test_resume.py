# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A run that was ended goes on to the same bytes, or says why it cannot."""

import contextlib
import dataclasses
import inspect
import os
import shutil
import signal
import subprocess
import sys
import time

from da3_ros.offline import job, process
from da3_ros.offline.exit_code import ExitCode
from da3_ros.offline.process import main
import numpy as np
import pytest
import short_recording
from short_recording import tree
import torch


def begin(short_bag, out, *more, arguments):
    """Start the command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, short_recording.__file__, str(short_bag), '--out', str(out), *arguments,
         *more], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_killed_run_goes_on_to_the_same_bytes(processed, short_bag, tmp_path, arguments):
    """Killed once it has a window; what it had is not inferred again."""
    out = tmp_path / 'out'
    windows = tmp_path / 'out.unfinished' / 'windows'
    child = begin(short_bag, out, arguments=arguments)
    deadline_s = time.monotonic() + 120.0
    while (not list(windows.glob('*.zip')) and child.poll() is None
           and time.monotonic() < deadline_s):
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    if child.returncode == 0:
        pytest.skip('it was through before it could be killed')
    assert child.returncode == -signal.SIGKILL
    assert not out.exists()
    kept = tree(windows)
    assert kept
    # Without --resume nothing of it is lost.
    assert main([str(short_bag), '--out', str(out), *arguments]) == ExitCode.ARGUMENTS
    assert tree(windows) == kept
    assert main([str(short_bag), '--out', str(out), '--resume', *arguments]) == ExitCode.WRITTEN
    assert tree(out) == tree(processed)
    assert not windows.exists()


@pytest.mark.usefixtures('steady')
def test_whatever_the_moment_of_a_kill_the_bytes_are_the_same(short_bag, tmp_path, arguments):
    """Twenty moments from the first to the last one, in processes that have their imports."""
    random, began_s = np.random.default_rng(15), time.monotonic()
    arguments = [*arguments, '--write', 'npz', 'tum']
    assert main([str(short_bag), '--out', str(tmp_path / 'whole'), *arguments]) == 0
    expected, duration_s = tree(tmp_path / 'whole'), time.monotonic() - began_s
    num_killed = 0
    for number in range(20):
        out = tmp_path / str(number)
        base = [str(short_bag), '--out', str(out), *arguments]
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                main(base)
            os._exit(0)
        time.sleep(random.uniform(0.0, 1.1 * duration_s))
        os.kill(child, signal.SIGKILL)
        num_killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        if not out.exists():
            assert main([*base, '--resume']) == ExitCode.WRITTEN
        assert tree(out) == expected
    assert num_killed >= 10


class CountingEngine(short_recording.SteadyEngine):
    """Rounds by the number of threads, as sums that are divided do."""

    def infer(self, images, *, poses=None, intrinsics=None):
        """Answer as ever, but for the last bits."""
        answer = super().infer(images, poses=poses, intrinsics=intrinsics)
        return dataclasses.replace(
            answer, depth=answer.depth + np.float32(0.01 * torch.get_num_threads()))


@pytest.fixture
def num_threads():
    """Give the number of threads back afterwards."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_as_many_threads_take_part_as_before(
        num_threads, short_bag, tmp_path, arguments, monkeypatch):
    """What is inferred after a kill is rounded as it would have been before."""
    monkeypatch.setattr(process, 'load_engine', lambda settings, **_: dataclasses.replace(
        short_recording.load_steady_engine(settings), engine=CountingEngine()))
    outs = [tmp_path / name for name in 'ab']
    base = [str(short_bag), *arguments, '--write', 'npz', '--out']
    assert main([*base, str(outs[0])]) == ExitCode.WRITTEN
    with monkeypatch.context() as patched:
        patched.setattr(process, '_until_interrupted', lambda: _Ending(1))
        assert main([*base, str(outs[1])]) == ExitCode.INTERRUPTED
    torch.set_num_threads(num_threads + 1)
    assert main([*base, str(outs[1]), '--resume']) == ExitCode.WRITTEN
    assert torch.get_num_threads() == num_threads + 1
    assert tree(outs[0]) == tree(outs[1])


def test_numbers_of_another_processor_or_library_are_not_mixed_in(
        short_bag, tmp_path, arguments, monkeypatch, capsys):
    monkeypatch.setattr(process, 'load_engine', short_recording.load_steady_engine)
    monkeypatch.setattr(process, '_until_interrupted', lambda: _Ending(1))
    base = [str(short_bag), *arguments, '--out', str(tmp_path / 'out')]
    assert main(base) == ExitCode.INTERRUPTED
    monkeypatch.setattr(job, 'arithmetic', lambda: 'torch 9.9, AVX1024')
    assert main([*base, '--resume']) == ExitCode.ARGUMENTS
    assert 'arithmetic was "torch' in capsys.readouterr().err


def test_two_runs_into_one_folder_keep_apart(short_bag, tmp_path, arguments, capsys, monkeypatch):
    """The second is refused and touches nothing."""
    monkeypatch.setattr(process, 'load_engine', short_recording.load_steady_engine)
    base = [str(short_bag), '--out', str(tmp_path / 'out'), *arguments, '--write', 'tum']
    codes = []

    def ending():
        if not codes:
            codes.append(None)
            codes[0] = main([*base, '--resume'])
        return False

    monkeypatch.setattr(process, '_until_interrupted', lambda: ending)
    assert main(base) == ExitCode.WRITTEN
    assert codes == [ExitCode.ARGUMENTS]
    assert 'which another process is writing' in capsys.readouterr().err


def test_a_run_that_was_killed_when_all_was_written_is_whole(
        processed, short_bag, arguments, capsys):
    """Only its journal is left, which --resume deletes."""
    left = processed.with_name('out.unfinished')
    (left / 'windows').mkdir(parents=True)
    assert main([str(short_bag), '--out', str(processed), '--resume', *arguments]) == (
        ExitCode.ARGUMENTS)
    assert 'which exists and is whole' in capsys.readouterr().err
    assert not left.exists()


@pytest.mark.parametrize('num_windows', [0, 1, 3, 4])
def test_a_run_goes_on_from_any_window(
        num_windows, processed, short_bag, tmp_path, arguments, monkeypatch):
    """Even from one whose last write was cut off."""
    out = tmp_path / 'out'
    with monkeypatch.context() as patched:
        patched.setattr(process, '_until_interrupted', lambda: _Ending(num_windows))
        assert main([str(short_bag), '--out', str(out), *arguments]) == ExitCode.INTERRUPTED
    windows = tmp_path / 'out.unfinished' / 'windows'
    assert len(list(windows.glob('*.zip'))) == num_windows
    (windows / f'{num_windows + 1:06d}.partial').write_bytes(b'PK')
    assert main([str(short_bag), '--out', str(out), '--resume', *arguments]) == ExitCode.WRITTEN
    assert tree(out) == tree(processed)


class _Ending:
    """Tells to end after some windows; it is asked once per frame and once per window."""

    def __init__(self, num_windows):
        self.num_windows = num_windows

    def __call__(self):
        asks_engine = inspect.stack()[1].function == 'submit'
        if asks_engine:
            self.num_windows -= 1
        return asks_engine and self.num_windows < 0


@pytest.mark.usefixtures('steady')
def test_a_run_goes_on_only_as_it_was(short_bag, tmp_path, arguments, monkeypatch, capsys):
    """Other parameters or images are refused with what changed."""
    bag = tmp_path / 'bag'
    shutil.copytree(short_bag, bag)
    out = tmp_path / 'out'
    monkeypatch.setattr(process, '_until_interrupted', lambda: _Ending(1))
    assert main([str(bag), '--out', str(out), *arguments]) == ExitCode.INTERRUPTED
    again = [str(bag), '--out', str(out), '--resume', *arguments]
    assert main([*again, '-p', 'depth.max_m:=3.0']) == ExitCode.ARGUMENTS
    assert 'settings was' in capsys.readouterr().err
    with next(bag.glob('*.mcap')).open('r+b') as file:
        file.seek(-60, 2)
        file.write(b'?')
    assert main(again) == ExitCode.ARGUMENTS
    assert 'input was' in capsys.readouterr().err
