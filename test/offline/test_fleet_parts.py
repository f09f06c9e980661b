# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a fleet does around its workers: outcomes, places, pages and codes; without Ray."""

import dataclasses
import json
import sys

from da3_ros.offline import process
from da3_ros.offline.exit_code import ExitCode
from da3_ros.offline.fleet import command
from da3_ros.offline.fleet.cluster import ClusterError, Crew
from da3_ros.offline.fleet.command import FleetCode
from da3_ros.offline.fleet.estimate import (
    measure_recording,
    measure_windows,
    Size,
    WindowCost,
)
from da3_ros.offline.fleet.index_page import make_index
from da3_ros.offline.fleet.outcome import earlier_outcome, Outcome
from da3_ros.offline.fleet.places import open_place
from da3_ros.offline.fleet.preview import Forecast, Preview
from da3_ros.offline.fleet.worker import Task, Worker
from fleet_entries import entries_of, QUICK
import pytest
from short_recording import load_steady_engine, NUM_FRAMES


@pytest.mark.parametrize(('nodes', 'crew', 'size', 'needs'), [
    ([{'CPU': 4.0}], Crew(), 4, {'CPU': 1.0, 'GPU': 0.0}),
    ([{'CPU': 8.0, 'GPU': 2.0}, {'CPU': 4.0}], Crew(), 2, {'CPU': 1.0, 'GPU': 1.0}),
    # Three processors on each of two machines are not three times two.
    ([{'CPU': 3.0}, {'CPU': 3.0}], Crew(num_cpus=2.0), 2, {'CPU': 2.0, 'GPU': 0.0}),
    ([{'CPU': 8.0, 'GPU': 1.0}], Crew(num_gpus=0.25), 4, {'CPU': 1.0, 'GPU': 0.25}),
    ([{'CPU': 8.0, 'GPU': 1.0}], Crew(num_gpus=0.0, num_cpus=2.0), 4, {'CPU': 2.0, 'GPU': 0.0}),
    ([{'CPU': 2.0}], Crew(num_workers=7), 7, {'CPU': 1.0, 'GPU': 0.0}),
    ([{'CPU': 64.0}], Crew(), 10, {'CPU': 1.0, 'GPU': 0.0}),
])
def test_as_many_workers_as_the_machines_have_room_for(nodes, crew, size, needs):
    assert crew.needs(nodes) == needs
    assert crew.size(nodes, 10) == size


def test_no_room_for_a_worker_is_said():
    with pytest.raises(ClusterError, match='needs 16 CPU, and the machines have 8 CPU; 4 CPU'):
        Crew(num_cpus=16.0).size([{'CPU': 8.0}, {'CPU': 4.0}], 1)


@pytest.fixture
def task(short_bag, tmp_path):
    """Give a recording of the list as a worker gets it."""
    entry, = entries_of(tmp_path, f'{short_bag} --out one')
    return Task(entry, str(tmp_path / 'out'), tmp_path / 'scratch')


@pytest.fixture
def memory():
    """Give fsspec's own store of objects, empty."""
    files = pytest.importorskip('fsspec').filesystem('memory')
    if files.ls('/'):
        files.rm('/', recursive=True)
    return files


def test_outputs_are_adopted_whose_worker_could_not_say_so(task, tmp_path):
    """And not if they are others; then they stay as they are."""
    outcome = Worker(load_steady_engine).process(task)
    assert (outcome.code, outcome.counts['num_keyframes']) == (ExitCode.WRITTEN, NUM_FRAMES)
    report = tmp_path / 'out/one/report.html'
    report.write_text('mine')
    # A worker without an engine: nothing is inferred.
    adopted = Worker(None).process(task)
    assert dataclasses.replace(adopted, seconds=0.0) == dataclasses.replace(outcome, seconds=0.0)
    other, = entries_of(tmp_path, f'{task.entry.place} --out one -p depth.max_m:=3.0')
    refused = Worker(None).process(dataclasses.replace(task, entry=other))
    assert refused.code == ExitCode.ARGUMENTS
    assert 'one is there already' in refused.text
    assert report.read_text() == 'mine'


def test_what_is_done_stays_done_as_long_as_its_outputs_are_there(task, tmp_path):
    place, entry = open_place(task.out), task.entry
    assert earlier_outcome(place, entry) is None
    outcome = Worker(load_steady_engine).process(task)
    outcome.keep(place)
    assert earlier_outcome(place, entry) == outcome
    other, = entries_of(tmp_path, f'{entry.place} --out one --start 1')
    assert earlier_outcome(place, other).code == ExitCode.ARGUMENTS
    (tmp_path / 'out/one/summary.json').unlink()
    assert earlier_outcome(place, entry) is None
    (tmp_path / 'out/.outcomes/one.json').write_text('{"name": ')
    assert earlier_outcome(place, entry) is None


def test_whatever_a_recording_does_is_its_own_matter(task):
    """Even what nobody expects."""
    def load(settings, *, report):
        del settings, report
        raise ZeroDivisionError('why')

    outcome = Worker(load).process(task)
    assert (outcome.code, outcome.text) == (ExitCode.FAULT, 'ZeroDivisionError: why')


def test_a_worker_keeps_its_network(task, short_bag, tmp_path):
    """As long as the settings are the same."""
    loads = []

    def load(settings, *, report):
        del report
        loads.append(settings)
        return load_steady_engine(settings)

    worker = Worker(load)
    lines = [f'{short_bag} --out {name} {options}' for name, options in (
        ('a', ''), ('b', '--start 1'), ('c', '-p window.size:=5'))]
    for entry in entries_of(tmp_path, *lines):
        assert worker.process(dataclasses.replace(task, entry=entry)).is_written
    assert [settings.window.size for settings in loads] == [4, 5]


@pytest.mark.parametrize('kind', ['folder', 'file'])
def test_recordings_and_outputs_behind_uris(
        kind, memory, task, short_bag, tmp_path, monkeypatch):
    """The outputs are those of files that are here, and nothing else is left here."""
    here = Worker(load_steady_engine).process(task)
    memory.put(str(short_bag), '/bags/day', recursive=True)
    source = 'memory://bags/day'
    if kind == 'file':
        source += f'/{next(short_bag.glob("*.mcap")).name}'
    entry, = entries_of(tmp_path, f'{source} --out one')
    remote = Task(entry, 'memory://worlds/today', tmp_path / 'scratch')
    sent = []
    put_file = type(memory).put_file
    monkeypatch.setattr(type(memory), 'put_file', lambda self, source, target: (
        sent.append(target), put_file(self, source, target)))
    outcome = Worker(load_steady_engine).process(remote)
    assert outcome.counts == here.counts
    assert list((tmp_path / 'scratch').iterdir()) == []
    local = tmp_path / 'out/one'
    for path in local.rglob('*'):
        if path.is_file() and path.suffix not in ('.html', '.json'):
            assert memory.cat(f'/worlds/today/one/{path.relative_to(local)}') == path.read_bytes()
    # Until it is there nobody takes the outputs for whole.
    assert sent[-1] == '/worlds/today/one/summary.json'
    place = open_place(remote.out)
    outcome.keep(place)
    assert earlier_outcome(place, entry) == outcome


def test_outputs_that_were_not_sent_are_sent_by_the_next_try(
        memory, task, tmp_path, monkeypatch):
    """Without another inference; until then they are not taken for whole."""
    remote = dataclasses.replace(task, out='memory://worlds/today')
    put_file = type(memory).put_file

    def fail(self, source, target):
        if target.endswith('report.html'):
            raise OSError('connection lost')
        put_file(self, source, target)

    with monkeypatch.context() as patched:
        patched.setattr(type(memory), 'put_file', fail)
        outcome = Worker(load_steady_engine).process(remote)
    assert (outcome.code, outcome.text) == (ExitCode.OUTPUT, 'connection lost')
    assert not memory.exists('/worlds/today/one/summary.json')
    again = Worker(None).process(remote)
    assert (again.code, again.counts['num_keyframes']) == (ExitCode.WRITTEN, NUM_FRAMES)
    assert memory.exists('/worlds/today/one/report.html')
    assert list((tmp_path / 'scratch').iterdir()) == []


def test_a_copy_of_what_cannot_be_read_is_not_kept(memory, task, tmp_path):
    memory.pipe_file('/bags/bad.mcap', b'no bag')
    entry, = entries_of(tmp_path, 'memory://bags/bad.mcap')
    outcome = Worker(load_steady_engine).process(dataclasses.replace(task, entry=entry))
    assert outcome.code == ExitCode.INPUT
    assert 'cannot be opened' in outcome.text
    assert not list((tmp_path / 'scratch').rglob('*.mcap'))


def test_uris_that_cannot_be_used_are_said(task, tmp_path):
    entries = entries_of(tmp_path, 'memory://bags/none.mcap', 'nowhere://bag.mcap')
    texts = [Worker(load_steady_engine).process(dataclasses.replace(task, entry=entry)).text
             for entry in entries]
    assert 'memory://bags/none.mcap: got nothing, expected a recording' in texts[0]
    assert 'nowhere://bag.mcap: Protocol not known: nowhere' in texts[1]
    assert not list((tmp_path / 'scratch').rglob('*.mcap'))


def test_the_page_tells_what_failed_first_and_believes_no_name():
    page = make_index([
        Outcome('a b<', '/bags/a b', '', 0, counts={'num_keyframes': 5}, seconds=2.0),
        Outcome('c', '/bags/c', '', 6, counts={'num_keyframes': 2}, losses=['1 image <lost>']),
        Outcome('z', '/bags/"z', '', 3, 'cannot <be> opened')], 4)
    link = 'href="a%20b%3C/report.html">a b&lt;'
    assert page.index('cannot &lt;be&gt; opened') < page.index(link)
    assert '1 image &lt;lost&gt;' in page
    assert '<p>1 written; 1 written, something lost; 1 cannot be read; 4 not begun' in page
    assert '7 keyframes in all' in page
    assert 'href="z' not in page


def test_hours_are_those_of_the_windows():
    assert WindowCost(1.8, 4, '').hours(1000) == pytest.approx(0.125)
    assert WindowCost(1.8, 4, '').hours(1001) > 0.125


def test_what_would_run_is_a_table_with_a_sum(capsys):
    """What nobody knows is no zero."""
    Preview((
        Forecast('a', '/a', True, 100, 0.5), Forecast('b', 's3://b', True, text='not here'),
        Forecast('c', '/c', True, 300, 1.5), Forecast('d', '/d', False, text='done')), 2,
        ('windows of 8 views',)).write(None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'windows of 8 views'
    assert lines[3:7] == [
        '| a | yes | 100 | 0.5 |  |', '| b | yes | - | - | not here |',
        '| c | yes | 300 | 1.5 |  |', '| d | no | - | - | done |']
    assert lines[7] == (
        '3 of 4 recordings would run: at most 2 hours of inference, and 1 of which nobody knows; '
        'with 2 workers 1 hours')


def test_what_is_not_known_before_is_said(tmp_path):
    entry, = entries_of(tmp_path, 's3://bucket/bag.mcap -p model.name:=auto')
    assert measure_recording(entry) == Size(text='not here')
    assert 'each worker chooses' in measure_windows(entry.job.settings)


def test_what_is_done_needs_no_cluster(task, tmp_path, monkeypatch, capsys):
    """The same command again ends at once, with what was lost in its code."""
    listed = tmp_path / 'list.txt'
    words = [str(listed), '--out', task.out, '--log', 'json', *QUICK]
    monkeypatch.setitem(sys.modules, 'ray', None)
    assert command.main(words) == FleetCode.CLUSTER
    assert 'Ray is not installed' in capsys.readouterr().out
    outcome = Worker(load_steady_engine).process(task)
    place = open_place(task.out)
    for losses, code in (([], FleetCode.WRITTEN), (['a loss'], FleetCode.PARTLY)):
        dataclasses.replace(outcome, losses=losses).keep(place)
        assert command.main(words) == code
    line, = capsys.readouterr().out.splitlines()[1:]
    assert json.loads(line)['text'].startswith('1 written')


@pytest.mark.parametrize('address', ['127.0.0.1:9', 'nonsense'])
def test_a_cluster_that_is_not_there_is_told_at_once(address, tmp_path, capsys):
    """Ray itself waits for minutes."""
    pytest.importorskip('ray', reason="Ray is an extra: pip install 'da3_ros[fleet]'")
    (tmp_path / 'list.txt').write_text('none.mcap\n')
    words = [str(tmp_path / 'list.txt'), '--out', str(tmp_path / 'out'), '--ray', address]
    assert command.main(words) == FleetCode.CLUSTER
    assert f'fleet: ray: got {address!r}: ' in capsys.readouterr().err


@pytest.mark.parametrize(('words', 'code', 'complaint'), [
    (['{tmp}/none.txt'], FleetCode.INPUT, 'list: got'),
    (['{tmp}/list.txt', '--workers', '-1'], FleetCode.ARGUMENTS, 'workers: got -1'),
    (['{tmp}/list.txt', '--cpus', '0'], FleetCode.ARGUMENTS, 'cpus: got 0'),
    (['{tmp}/list.txt', '--wrote', 'npz'], FleetCode.ARGUMENTS, 'unrecognized arguments: --wrote'),
    (['{tmp}/list.txt', '--out', 'nowhere://a'], FleetCode.ARGUMENTS, 'Protocol not known'),
    (['{tmp}/list.txt', '--out', '{tmp}/list.txt'], FleetCode.OUTPUT, 'index.html cannot'),
])
def test_what_is_wrong_is_said_in_a_line_with_a_code(words, code, complaint, tmp_path, capsys):
    (tmp_path / 'list.txt').write_text('none.mcap\n')
    assert command.main([word.format(tmp=tmp_path) for word in words]) == code
    error = capsys.readouterr().err
    assert complaint in error
    assert 'Traceback' not in error


def test_codes_are_documented_and_those_of_process():
    assert all(f'{int(code)} ' in command.__doc__ for code in FleetCode)
    shared = {code.name: int(code) for code in FleetCode} | {
        code.name: int(code) for code in process.ExitCode}
    assert {code.name: int(code) for code in FleetCode}.items() <= shared.items()
