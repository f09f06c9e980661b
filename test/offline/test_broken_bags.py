# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Of a bag that is broken what is whole is read, and what is lost is said."""

from da3_ros.errors import InputError
from da3_ros.offline.input.broken_mcap import mended
from made_bags import pictures, shots, write_bag
import pytest
from rosbags.rosbag2 import StoragePlugin


@pytest.mark.parametrize('cut', [0.01, 0.3, 0.6, 0.999])
def test_what_is_left_of_a_cut_mcap_is_read(tmp_path, cut):
    """And how much is lost is said; metadata.yaml is missing then, as of a killed recorder."""
    bag = write_bag(tmp_path / 'whole', pictures([(640, 480)] * 12),
                    storage_plugin=StoragePlugin.MCAP)
    data = next(bag.glob('*.mcap')).read_bytes()
    file = tmp_path / 'bag' / 'cut.mcap'
    file.parent.mkdir()
    file.write_bytes(data[:int(cut * len(data))])
    for path in (file, file.parent):
        if cut < 0.1:
            with pytest.raises(InputError, match=r'the bag has no messages; cut\.mcap has no end'):
                shots(path)
            continue
        found, losses = shots(path)
        assert 12 * cut - 2 < len(found) < 12 * cut + 1
        assert [int(shot.image[0, 0, 0]) for shot in found] == list(range(len(found)))
        assert 'cut.mcap has no end' in losses[0]
        assert f'of {file.stat().st_size} bytes are lost' in losses[0]


@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_of_many_files_those_are_read_that_can_be(tmp_path, plugin):
    """As a killed recorder leaves them: no metadata.yaml, one file broken, one cut off."""
    bag = tmp_path / 'bag'
    bag.mkdir()
    suffix = 'mcap' if plugin is StoragePlugin.MCAP else 'db3'
    messages = list(pictures([(64, 48)] * 12))
    for number, part in ((2, messages[:6]), (10, messages[6:])):
        whole = write_bag(tmp_path / str(number), part, storage_plugin=plugin)
        next(whole.glob(f'*.{suffix}')).rename(bag / f'bag_{number}.{suffix}')
    (bag / f'bag_11.{suffix}').write_bytes(b'nothing of it')
    found, losses = shots(bag)
    assert [int(shot.image[0, 0, 0]) for shot in found] == list(range(12))
    assert losses[0].startswith(f'bag_11.{suffix} cannot be opened: ')
    assert 'bag: the bag cannot be opened: ' in losses[1]
    if plugin is StoragePlugin.MCAP:
        last = bag / 'bag_10.mcap'
        last.write_bytes(last.read_bytes()[:-5000])
        found, losses = shots(bag)
        assert 6 <= len(found) < 12
        assert any('bag_10.mcap has no end' in line for line in losses)


def test_a_cut_database_gives_what_can_be_read(tmp_path):
    """Or says that nothing can."""
    bag = write_bag(tmp_path / 'bag', pictures([(64, 48)] * 40),
                    storage_plugin=StoragePlugin.SQLITE3)
    file = next(bag.glob('*.db3'))
    file.write_bytes(file.read_bytes()[:file.stat().st_size // 2])
    try:
        found, losses = shots(bag)
    except InputError as error:
        assert 'the bag cannot be opened' in str(error)
    else:
        assert len(found) < 40
        assert losses


def test_a_whole_mcap_and_another_file_need_no_mending(short_bag, tmp_path):
    assert mended(next(short_bag.glob('*.mcap'))) is None
    other = tmp_path / 'other.mcap'
    other.write_bytes(b'something else')
    assert mended(other) is None
    with pytest.raises(InputError, match=r'other\.mcap: the bag cannot be opened'):
        shots(other)
