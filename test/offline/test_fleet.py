# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Many recordings on real Ray workers of this machine."""

from functools import partial
import json
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time

from da3_ros.offline import process
from da3_ros.offline.fleet import command
from da3_ros.offline.fleet.cluster import connected, LOCAL
from da3_ros.offline.fleet.command import FleetCode
import pytest
from short_recording import load_deadly_engine, load_steady_engine, NUM_FRAMES, UNLUCKY

NUM_BAGS = 8
CORRUPT = 'bag_5'


def tree(folder):
    """Give all files of a folder with their content."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob('*')) if path.is_file()}


def times(folder):
    """Give all files of a folder with the time when they were written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*')}


@pytest.fixture(scope='module', autouse=True)
def workers():
    """Let Ray use this machine, with workers that find the engines of the tests."""
    pytest.importorskip('ray', reason="Ray is an extra: pip install 'da3_ros[fleet]'")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv('PYTHONPATH', str(Path(__file__).parent), prepend=os.pathsep)
        with connected(LOCAL, is_quiet=True):
            yield


@pytest.fixture
def bags(short_bag, tmp_path):
    """Give a list of bags of which each is read from another second on; one is no bag."""
    lines = ['# bags of a day', '']
    for number in range(NUM_BAGS):
        shutil.copytree(short_bag, tmp_path / f'bag_{number}')
        lines.append(f'bag_{number} --start {0.1 * number:.1f}')
    file = next((tmp_path / CORRUPT).glob('*.mcap'))
    file.rename(tmp_path / 'good.mcap')
    file.write_bytes(b'no bag')
    listed = tmp_path / 'bags.txt'
    listed.write_text('\n'.join(lines) + '\n')
    return listed


def test_a_corrupt_bag_and_lost_workers(bags, tmp_path, arguments, monkeypatch, capfd):
    """The others' outputs are those of single runs; the same command again does the rest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, 'load_engine', load_steady_engine)
    monkeypatch.setattr(
        command, 'load_engine', partial(load_deadly_engine, tmp_path / 'grave'))
    fleet = [str(bags), '--out', 'out', '--workers', '2', '--cpus', '0.5', *arguments]
    assert command.main([*fleet, '--log', 'json']) == FleetCode.FAILED
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {line['name']: line['code'] for line in lines if line['event'] == 'recording'} == {
        f'bag_{number}': 3 if number == 5 else 0 for number in range(NUM_BAGS)}
    assert (tmp_path / 'grave').exists()
    good = [f'bag_{number}' for number in range(NUM_BAGS) if number != 5]
    out = tmp_path / 'out'
    assert sorted(path.name for path in out.iterdir()) == ['.outcomes', *good, 'index.html']
    for name in good:
        alone = ['--start', f'0.{name[-1]}', '--out', f'alone/{name}', '--quiet', *arguments]
        assert process.main([name, *alone]) == 0
        assert tree(out / name) == tree(tmp_path / 'alone' / name)
    page = (out / 'index.html').read_text()
    assert page.index('the bag cannot be opened') < page.index('href="bag_0/report.html"')
    assert '7 written; 1 cannot be read; 57 keyframes in all' in page

    before = {name: times(out / name) for name in good}
    (tmp_path / 'good.mcap').rename(next((tmp_path / CORRUPT).glob('*.mcap')))
    with bags.open('a') as file:
        file.write(f'bag_0 --out unlucky -p model.seed:={UNLUCKY}\nbag_0 --out last\n')
    # One worker: what comes after the bag that kills it is done by its successor.
    again = [*fleet, '--workers', '1', '--retries', '0']
    assert command.main(again) == FleetCode.FAILED
    assert 'unlucky: failed: its worker was lost: ' in capfd.readouterr().err
    assert {name: times(out / name) for name in good} == before
    assert len(list((out / CORRUPT).glob('*/keyframes.npz'))) == 1
    assert tree(out / 'last') == tree(out / 'bag_0')


def test_what_would_run_and_for_how_long(bags, tmp_path, arguments, monkeypatch, capfd):
    """Nothing is written; the planner measures where a worker would run."""
    monkeypatch.chdir(tmp_path)
    before = times(tmp_path)
    fleet = [str(bags), '--out', 'out', '--dry-run', *arguments]
    assert command.main([*fleet, '--log', 'json']) == FleetCode.WRITTEN
    *rows, plan = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [row['runs'] for row in rows] == [True] * NUM_BAGS
    corrupt = rows.pop(5)
    assert 'cannot be opened' in corrupt['text']
    assert corrupt['hours'] is None
    assert {row['num_images'] for row in rows} == {NUM_FRAMES}
    # Windows of 4 views of which 2 are new: 5 windows, each of some milliseconds at least.
    assert all(5e-3 < row['hours'] * 3600.0 < 500.0 for row in rows)
    assert plan['worker_hours'] == pytest.approx(7 * rows[0]['hours'])
    assert plan['hours'] == pytest.approx(plan['worker_hours'] / plan['workers'])
    assert plan['unknown'] == 1
    assert times(tmp_path) == before


SLOW_FLEET = """
import sys
from da3_ros.offline.fleet import command
import short_recording
command.load_engine = short_recording.load_slow_engine
sys.exit(command.main())
"""


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_an_ended_fleet_keeps_its_windows(number, short_bag, tmp_path, arguments):
    """The command alone, with a Ray of its own, which ends with it; windows stay."""
    listed = tmp_path / 'list.txt'
    listed.write_text(f'{short_bag} --out one\n')
    out = tmp_path / 'out'
    words = [str(listed), '--out', str(out), *arguments]
    windows = out / 'one.unfinished' / 'windows'
    with subprocess.Popen(
            [sys.executable, '-c', SLOW_FLEET, *words], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True) as child:
        deadline_s = time.monotonic() + 120.0
        while not list(windows.glob('*.zip')) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert list(windows.glob('*.zip')), 'no window in time'
        child.send_signal(number)
        _, said = child.communicate()
    assert child.returncode == FleetCode.INTERRUPTED, said
    assert 'fleet: ended; the same command goes on' in said
    assert '1 not begun or not ended' in (out / 'index.html').read_text()
    assert list(windows.glob('*.zip'))
