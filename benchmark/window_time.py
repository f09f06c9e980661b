# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Time of one window on as many cores as are named: what a laptop can keep up with.

    PYTHONPATH=. python benchmark/window_time.py --model da3-tiny --size 168 224 --views 2 8 32
"""

import argparse
import os
from pathlib import Path
import statistics
import sys
import time

from da3_ros.inference import InferenceEngine
from da3_ros.model import build_network, MODELS
import numpy as np
import torch


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description='Time of one window.')
    parser.add_argument('--model', default='da3-tiny', choices=MODELS)
    parser.add_argument('--size', nargs=2, type=int, default=[168, 224], metavar=('H', 'W'))
    parser.add_argument('--views', nargs='+', type=int, default=[2, 8, 32])
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--runs', type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    height, width = options.size
    engine = InferenceEngine(build_network(options.model), device='cpu', size=max(options.size))
    random = np.random.default_rng(0)
    load = os.getloadavg()[0]
    sys.stdout.write(
        f'{options.model} at {width}x{height}, {_processor()}, {options.threads} threads, torch '
        f'{torch.__version__}, load of the machine before: {load:.1f}\n'
        '| views | median s | fastest s |\n|---|---|---|\n')
    for num_views in options.views:
        images = [
            random.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(num_views)]
        engine.infer(images)
        seconds = [_seconds(engine, images) for _ in range(options.runs)]
        sys.stdout.write(
            f'| {num_views} | {statistics.median(seconds):.3f} | {min(seconds):.3f} |\n')


def _seconds(engine: InferenceEngine, images: list[np.ndarray]) -> float:
    start = time.perf_counter()
    engine.infer(images)
    return time.perf_counter() - start


def _processor() -> str:
    lines = Path('/proc/cpuinfo').read_text().splitlines()
    names = [line.split(':')[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else 'unknown processor'


if __name__ == '__main__':
    main()
