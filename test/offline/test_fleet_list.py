# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The list of a fleet: what lines mean, and what is said of wrong ones."""

import pickle

from da3_ros.errors import InputError
from da3_ros.export import save
from fleet_entries import entries_of
import pytest


def test_lines_are_read_as_process_reads_its_arguments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'camera.yaml').write_text('')
    first, second, third = entries_of(
        tmp_path, '# a comment', '"my bag.mcap" --start 2 --write npz -p window.size:=5', '',
        'film.mp4 --calibration camera.yaml # another', 's3://bucket/day/film.mp4')
    assert first.place == str(tmp_path / 'my bag.mcap')
    assert (first.name, first.job.recording.part.start_s) == ('my bag', 2.0)
    assert first.job.settings.window.size == 5
    assert second.job.settings.window.size == 4
    assert first.job.formats == {'npz'}
    assert second.job.formats == set(save.FORMATS)
    assert second.job.recording.path == tmp_path / 'film.mp4'
    assert second.job.recording.calibration == tmp_path / 'camera.yaml'
    assert (third.name, third.place) == ('day_film', 's3://bucket/day/film.mp4')
    file, = entries_of(tmp_path, 'file:///data/film.mp4')
    assert file.place == '/data/film.mp4'
    # It travels to the workers.
    assert pickle.loads(pickle.dumps(third)).asked == third.asked


def test_names_stay_when_lines_are_added(tmp_path):
    lines = ['/a/run1/bag.mcap', '/a/run2/bag.mcap', '/b/.hidden/', '/c/bag.mcap --out mine']
    names = [entry.name for entry in entries_of(tmp_path, *lines)]
    assert names == ['bag', 'run2_bag', 'hidden', 'mine']
    lines += ['/d/run2/bag.db3', '/index.html.bag']
    more = [entry.name for entry in entries_of(tmp_path, *lines)]
    assert more == [*names, 'd_run2_bag', '_index.html']


@pytest.mark.parametrize(('lines', 'common', 'complaint'), [
    (['bag', 'bag'], [], 'line 2: got .*bag again'),
    (['bag --out a', 'bag --out a'], [], 'line 2: out: got a, which is taken'),
    (['bag --out ../a'], [], 'line 1: out: got ../a, expected the name of a folder'),
    (['', '--start 3 bag'], [], "line 2: got '--start' first"),
    (['bag --stride 3'], [], 'line 1: unrecognized arguments: --stride 3'),
    (['bag -p windows.size:=3'], [], 'line 1: parameters: got windows.size'),
    (['bag "a'], [], 'line 1: No closing quotation'),
    (['bag --resume'], [], 'line 1: got --resume, which is not for a list'),
    (['bag --help'], [], 'line 1: got --help'),
    (['bag'], ['--wirte', 'npz'], '^unrecognized arguments: --wirte npz'),
])
def test_what_is_wrong_in_a_list_is_told_with_its_line(tmp_path, lines, common, complaint):
    with pytest.raises(ValueError, match=complaint):
        entries_of(tmp_path, *lines, common=common)


def test_a_list_without_recordings_is_none(tmp_path):
    with pytest.raises(InputError, match='without a recording'):
        entries_of(tmp_path, '# nothing')


def test_what_is_asked_for_tells_runs_apart(tmp_path):
    """Whatever changes the outputs changes the digest, and nothing else does."""
    calibrated = tmp_path / 'camera.yaml'
    calibrated.write_text('a')
    lines = ['bag', 'bag --start 1', 'bag --write npz', 'bag -p depth.max_m:=3.0', 'bog',
             f'bag --calibration {calibrated}']
    digests = [entries_of(tmp_path, line)[0].asked for line in lines]
    assert len(set(digests)) == len(lines)
    assert entries_of(tmp_path, '# first', 'bag --out other')[0].asked == digests[0]
    calibrated.write_text('b')
    assert entries_of(tmp_path, lines[-1])[0].asked != digests[-1]
