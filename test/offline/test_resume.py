# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A run that was ended goes on to the same bytes, or says why it cannot."""

import inspect
import shutil
import signal
import subprocess
import sys
import time

from da3_ros.offline import process
from da3_ros.offline.exit_code import ExitCode
from da3_ros.offline.process import main
import pytest
import short_recording
from short_recording import tree


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
    while (not list(windows.glob('*.npz')) and child.poll() is None
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


@pytest.mark.parametrize('num_windows', [0, 1, 3, 4])
def test_a_run_goes_on_from_any_window(
        num_windows, processed, short_bag, tmp_path, arguments, monkeypatch):
    """Even from one whose last write was cut off."""
    out = tmp_path / 'out'
    with monkeypatch.context() as patched:
        patched.setattr(process, '_until_interrupted', lambda: _Ending(num_windows))
        assert main([str(short_bag), '--out', str(out), *arguments]) == ExitCode.INTERRUPTED
    windows = tmp_path / 'out.unfinished' / 'windows'
    assert len(list(windows.glob('*.npz'))) == num_windows
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
