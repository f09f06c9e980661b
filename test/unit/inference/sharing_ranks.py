# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""One of several processes that share windows: runs cases, writes what comes out to a file."""

from datetime import timedelta
from pathlib import Path
import pickle
import sys

from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.team.process_peers import join, ProcessPeers
from reduced_networks import build_reduced
import torch

PATIENCE = timedelta(seconds=240)


def run(network, peers, case):
    """Run the windows of a case one after the other, by the same executor."""
    executor = WindowExecutor(network, case.options, peers=peers, **case.strategy)
    found = []
    for window in case.windows:
        try:
            output = executor.run(
                window.images, window.cameras, window.focal_px, keys=window.keys,
                wanted=window.wanted)
        except Exception as error:
            found.append(error)
            continue
        # The maps' memory is that of the next window.
        found.append(type(output)(**{
            name: None if part is None else part.clone() for name, part in vars(output).items()}))
    return found


def main():
    """Join the others, run all cases in their order."""
    folder, rank, num_devices = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    join(
        torch.device('cpu'), folder / 'meeting', rank=rank, num_devices=num_devices,
        patience_s=PATIENCE.total_seconds())
    peers, networks, found = ProcessPeers(torch.device('cpu')), {}, []
    for case in pickle.loads((folder / 'cases').read_bytes()):
        if case.model not in networks:
            networks[case.model] = build_reduced(case.model)
        found.append(run(networks[case.model], peers, case))
    (folder / f'found{rank}').write_bytes(pickle.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == '__main__':
    main()
