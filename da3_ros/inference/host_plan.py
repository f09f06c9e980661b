# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Windows that a machine without a GPU can hold and finish."""

import os
from pathlib import Path

from da3_ros.inference.branch import Branch
from da3_ros.inference.calibration import pair_seconds, run_probe, shortest_seconds
from da3_ros.inference.counted_memory import CountedMemory
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.maps import Maps
from da3_ros.inference.memory_model import Calibration, WindowModel
from da3_ros.inference.placement import main_branch, weight_bytes
from da3_ros.model.build import Network
import numpy as np
from numpy.typing import NDArray
import torch

_KIB = 2**10
# Of the RAM that is free; the robot's other programs grow too, and swapping is worse than a
# small window.
_USABLE_SHARE = 0.5
# Enough for attention to reach its speed on a few cores.
_ATTENTION_TOKENS = 1024
# Limit and usage of the container that the process is in; of cgroups version 2, then 1.
_CGROUPS = (
    ('sys/fs/cgroup/memory.max', 'sys/fs/cgroup/memory.current'),
    ('sys/fs/cgroup/memory/memory.limit_in_bytes', 'sys/fs/cgroup/memory/memory.usage_in_bytes'),
)


def usable_ram_bytes(root: Path = Path('/')) -> float:
    """
    Return how much more RAM windows may take at the moment.

    :param root: of the file system that the kernel's files are in.
    """
    free = float(_free_of_machine(root))
    for limit, usage in _CGROUPS:
        try:
            left = int((root / limit).read_text()) - int((root / usage).read_text())
        except (OSError, ValueError):
            # No such version, or 'max': no limit.
            continue
        free = min(free, max(left, 0))
    return _USABLE_SHARE * free


def _free_of_machine(root: Path) -> int:
    try:
        for line in (root / 'proc/meminfo').read_text().splitlines():
            name, _, value = line.partition(':')
            if name == 'MemAvailable':
                return int(value.split()[0]) * _KIB
    except (OSError, ValueError, IndexError):
        pass
    return os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')


@torch.inference_mode()
def calibrate_on_host(
    network: Network, executor: WindowExecutor, image_size: tuple[int, int]
) -> WindowModel:
    """
    Probe what windows cost on the CPU; takes about as long as two views.

    :param network: on the CPU.
    :param executor: of that network.
    :param image_size: height and width [px].
    """
    main = main_branch(network)
    cpu = torch.device('cpu')
    pixels = np.zeros((1, *image_size, 3), dtype=np.uint8)
    # What is counted warms up what is timed.
    head_bytes = _head_bytes(executor.branches[0], pixels)
    pair_s = pair_seconds(main, image_size, num_tokens=_ATTENTION_TOKENS, num_timed=1)
    seconds = shortest_seconds(
        lambda: run_probe(executor, pixels), cpu, num_timed=1, is_warm=True)
    view_s = max(seconds - pair_s, 0.0)
    calibration = Calibration(weight_bytes(network, cpu), head_bytes, head_bytes, view_s, pair_s)
    return WindowModel(
        network.config, image_size, main.backbone.compute_dtype, executor.options, calibration,
        executor.with_rays, is_fused=False,
    )


def _head_bytes(branch: Branch, pixels: NDArray[np.uint8]) -> int:
    """Return what the depth head needs for some views at once."""
    memory = CountedMemory()
    with memory:
        features = branch.features(torch.from_numpy(pixels), None)
        before = memory.held_bytes
        memory.forget_peak()
        branch.decode(features, Maps(len(pixels), torch.device('cpu')))
    return memory.peak_bytes - before
