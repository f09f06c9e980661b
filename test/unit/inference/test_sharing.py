# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Windows that several devices share beside those of one: processes on the CPU."""

import os
from pathlib import Path
import pickle
import subprocess
import sys

from da3_ros.inference.sharing import Peers, Share
import pytest
from reduced_networks import build_reduced
from sharing_cases import cases
from sharing_ranks import run
from test_executor import assert_equal
import torch

CASES = cases()
# An uneven division differs from an even one in few things.
OF_THREE = ('da3-small large', 'da3-giant large', 'da3-small stream', 'da3metric-large stream',
            'few', 'heads', 'rays 0')


class Some(Peers):
    """Devices of which there are some."""

    def __init__(self, num_devices, rank=0):
        self._num_devices, self._rank = num_devices, rank

    num_devices = property(lambda self: self._num_devices)
    rank = property(lambda self: self._rank)


@pytest.fixture(scope='module')
def alone():
    """Run cases on one device, each once."""
    known = {}

    def get(name):
        if name not in known:
            known[name] = run(build_reduced(CASES[name].model), None, CASES[name])
        return known[name]

    return get


@pytest.fixture(scope='module')
def shared(tmp_path_factory):
    """Run all cases on so many devices once."""
    known = {}

    def get(num_devices):
        if num_devices not in known:
            folder = tmp_path_factory.mktemp(f'devices{num_devices}')
            known[num_devices] = run_on(num_devices, folder)
        return known[num_devices]

    return get


def run_on(num_devices, folder):
    """Return what each of the devices gives for every case."""
    names = OF_THREE if num_devices == 3 else CASES
    (folder / 'cases').write_bytes(pickle.dumps([CASES[name] for name in names]))
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(
        [*paths, os.environ.get('PYTHONPATH', '')])}
    processes = [
        subprocess.Popen(
            [sys.executable, '-m', 'sharing_ranks', str(folder), str(rank), str(num_devices)],
            env=environment, stderr=subprocess.PIPE, text=True)
        for rank in range(num_devices)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert all(process.returncode == 0 for process in processes), errors
    ranks = [
        pickle.loads((folder / f'found{rank}').read_bytes()) for rank in range(num_devices)]
    return [dict(zip(names, found, strict=True)) for found in ranks]


@pytest.mark.parametrize(
    ('num_devices', 'name'), [*((2, name) for name in CASES), *((3, name) for name in OF_THREE)])
def test_equal_to_one_device(shared, alone, name, num_devices):
    """Random rays hardly determine a camera, which magnifies rounding."""
    tolerance = 1e-3 if 'use_ray_pose' in CASES[name].strategy else 1e-5
    for rank in shared(num_devices):
        for found, expected in zip(rank[name], alone(name), strict=True):
            assert_equal(found, expected, cameras=tolerance)


@pytest.mark.parametrize('num_devices', [1, 2, 3, 8])
@pytest.mark.parametrize(('num_views', 'wanted'), [
    (1, None), (2, None), (7, None), (32, None), (9, [8]), (10, [3, 1]), (12, [11, 0, 4, 5, 6]),
])
def test_every_view_runs_once_and_shares_are_even(num_devices, num_views, wanted):
    shares = [Share.of(num_views, wanted, Some(num_devices, rank)) for rank in range(num_devices)]
    placed = torch.cat([share.views[share.own] for share in shares])
    assert torch.equal(placed, shares[0].views)
    assert torch.equal(shares[0].views[shares[0].places], torch.arange(num_views))
    for sizes in ([share.own.stop - share.own.start for share in shares],
                  [share.num_own_maps for share in shares]):
        assert max(sizes) - min(sizes) <= 1
    chosen = list(range(num_views)) if wanted is None else wanted
    mapped = [share.views[share.own][-share.num_own_maps:] for share in shares
              if share.num_own_maps]
    # As they were asked for, so that each device writes to where they are expected.
    assert torch.cat(mapped).tolist() == chosen
    assert shares[0].map_places is None


def test_views_run_where_they_are_kept():
    peers = Some(2, 1)
    share = Share.of(5, [4, 1, 0], peers, owners=[1, 0, 0, 1, 0])
    assert share.views.tolist() == [2, 4, 1, 3, 0]
    assert (share.own, share.own_maps) == (slice(3, 5), slice(2, 3))
    maps = {'depth': torch.tensor([4.0, 1.0, 0.0])}
    assert share.as_asked(maps)['depth'].tolist() == [4.0, 1.0, 0.0]
    share = Share.of(4, [3, 2, 1], peers, owners=[0, 0, 1, 1])
    maps = {'depth': torch.tensor([1.0, 3.0, 2.0])}
    assert share.as_asked(maps)['depth'].tolist() == [3.0, 2.0, 1.0]
