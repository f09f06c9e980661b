# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Make the bank of photos from a folder of crops.

    python -m training.prepare_photos --crops FOLDER --out photos.npz

The folder holds ``crops.csv`` (columns shard, file, source) and the shards it names, tar files of
JPEGs of one size. Sources that would drown the others are thinned out.
"""

import argparse
import csv
import logging
from pathlib import Path
import tarfile

import cv2
import numpy as np
from numpy.typing import NDArray

from training.photos import SIZE

_MOST_OF_A_SOURCE = 250
_QUALITIES = range(92, 50, -3)

_logger = logging.getLogger('training')


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description='Make the bank of photos.')
    parser.add_argument('--crops', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--megabytes', type=float, default=16.5)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    rows = _chosen(options.crops / 'crops.csv')
    images = _read(options.crops, rows)
    coded = _fit([images[row['file']] for row in rows], 1e6 * options.megabytes)
    names = sorted({row['source'] for row in rows})
    np.savez(
        options.out, data=np.concatenate(coded),
        offsets=np.cumsum([0] + [len(part) for part in coded]).astype(np.int64),
        source=np.array([names.index(row['source']) for row in rows], dtype=np.int16),
        source_names=np.array(names))
    _logger.info('%d photos of %d sources, %.1f MB', len(rows), len(names),
                 options.out.stat().st_size / 1e6)


def _chosen(table: Path) -> list[dict[str, str]]:
    """Read the table and take of each source at most so many, always the same ones."""
    with table.open() as file:
        rows = list(csv.DictReader(file))
    rng = np.random.default_rng(0)
    chosen: list[dict[str, str]] = []
    for source in sorted({row['source'] for row in rows}):
        of = [row for row in rows if row['source'] == source]
        chosen += [of[i] for i in sorted(rng.permutation(len(of))[:_MOST_OF_A_SOURCE])]
    return chosen


def _read(folder: Path, rows: list[dict[str, str]]) -> dict[str, NDArray[np.uint8]]:
    images = {}
    for shard in sorted({row['shard'] for row in rows}):
        with tarfile.open(folder / shard) as archive:
            for name in (row['file'] for row in rows if row['shard'] == shard):
                file = archive.extractfile(name)
                if file is None:
                    raise ValueError(f'{shard}: got no file {name}, expected what crops.csv names')
                image = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
                images[name] = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return images


def _fit(images: list[NDArray[np.uint8]], num_bytes: float) -> list[NDArray[np.uint8]]:
    """Code images at the best quality that fits."""
    for quality in _QUALITIES:
        coded = [cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality,
                                              cv2.IMWRITE_JPEG_OPTIMIZE, 1])[1].ravel()
                 for image in images]
        if sum(map(len, coded)) <= num_bytes:
            break
    return coded


if __name__ == '__main__':
    main()
