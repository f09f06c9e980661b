# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
What hours of recordings take: the tables of docs/scale.md, from the times of docs/benchmarks.md.

    PYTHONPATH=. python benchmark/scale.py
    PYTHONPATH=. python benchmark/scale.py --measure-decoding
    PYTHONPATH=. python benchmark/scale.py --measure-outputs FOLDER   # that da3 process wrote
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
import json
from pathlib import Path
import re
import sys
import time
from types import SimpleNamespace

import cv2
from da3_ros.inference.memory_planner import automatic_stride
from da3_ros.ros.input.compressed_decoding import decode_compressed
import numpy as np

BENCHMARKS = Path(__file__).resolve().parents[1] / 'docs' / 'benchmarks.md'
_HOURS = 10_000
_HOURS_OF_WEEK = 7 * 24
_MIB = 2**20
# Of a camera, for what is read: JPEG as cameras on robots send it.
_IMAGE_SIZE = (720, 1280)


@dataclass(frozen=True)
class Load:
    """
    What an hour of recording holds, and what the processor does with it; all of it is measured.

    :param images_hz: of the camera.
    :param keyframes_hz: of these.
    :param decode_ms: of an image.
    :param select_ms: of an image: whether it is a keyframe.
    :param keyframe_ms: of a keyframe: mapping, remembering, saving.
    :param keyframe_mib: that a keyframe leaves in all formats.
    """

    images_hz: float
    keyframes_hz: float
    decode_ms: float
    select_ms: float
    keyframe_ms: float
    keyframe_mib: float

    @property
    def cores(self) -> float:
        """Return how many processor cores one recording in real time keeps busy."""
        images_ms = self.images_hz * (self.decode_ms + self.select_ms)
        return (images_ms + self.keyframes_hz * self.keyframe_ms) / 1000.0


@dataclass(frozen=True)
class Windows:
    """
    Windows of one network on one machine.

    :param model: name of the variant.
    :param machine: that they were measured on.
    :param size: of the views, as WIDTHxHEIGHT.
    :param num_views: of a window.
    :param seconds: of a window.
    """

    model: str
    machine: str
    size: str
    num_views: int
    seconds: float

    @property
    def stride(self) -> int:
        """Return the new views of a window."""
        return automatic_stride(self.num_views)

    def busy(self, keyframes_hz: float) -> float:
        """
        Return the share of its time that a recording in real time keeps the machine busy.

        :param keyframes_hz: of the recording.
        """
        return keyframes_hz * self.seconds / self.stride


def read_windows(text: str) -> list[Windows]:
    """
    Read the times of docs/benchmarks.md.

    :param text: of the page.
    """
    found = []
    for model, views, ms in re.findall(
            r'^\| window \| (\S+) \| (\d+) \| \2 \| [\d.]+ \| [\d.]+ \| ([\d.]+) \|', text,
            re.MULTILINE):
        if int(views) >= 12:
            found.append(Windows(model, 'H200', '504x280', int(views), float(ms) / 1000.0))
    known = {(each.model, each.num_views) for each in found}
    for model, views, seconds in re.findall(
            r'^\| (da3-\S+) \| (\d+) \| ([\d.]+) \| [\d.]+ \| [\d.]+ \|', text, re.MULTILINE):
        if (model, int(views)) not in known and 12 <= int(views) <= 100:
            found.append(Windows(model, 'H200', '504x280', int(views), float(seconds)))
    cpu = text.partition('## Windows on a CPU')[2].partition('\n## ')[0]
    for views, seconds in re.findall(r'^\| (\d+) \| ([\d.]+) \| [\d.]+ \|$', cpu, re.MULTILINE):
        if int(views) >= 8:
            found.append(Windows('da3-tiny', '2 cores', '224x168', int(views), float(seconds)))
    return found


def at_size(windows: list[Windows], size: str) -> list[Windows]:
    """
    Predict windows of another size, as the planner does.

    A view costs as its pixels, attention between two views as their square.

    :param windows: of one model, size and machine, with different numbers of views.
    :param size: as WIDTHxHEIGHT.
    """
    ratio = _num_pixels(size) / _num_pixels(windows[0].size)
    num_views = np.array([each.num_views for each in windows])
    per_view = np.array([each.seconds for each in windows]) / num_views
    pair_s, view_s = np.maximum(np.polyfit(num_views, per_view, 1), 0.0)
    growth = ratio * (view_s + ratio * pair_s * num_views) / (view_s + pair_s * num_views)
    return [replace(each, size=size, seconds=each.seconds * float(factor))
            for each, factor in zip(windows, growth, strict=True)]


def _num_pixels(size: str) -> int:
    width, height = map(int, size.split('x'))
    return width * height


def time_table(windows: list[Windows], load: Load, larger: str) -> Iterator[str]:
    """
    Write what inference takes.

    :param windows: that were measured.
    :param load: of a recording.
    :param larger: another size, which is predicted.
    """
    yield ('| model | on | size | views / new | window s | times real time | hours for '
           f'{_HOURS} h | machines for a week | cores beside it | {larger}, predicted: hours for '
           f'{_HOURS} h |')
    yield '|' + '---|' * 10
    for each in windows:
        busy = each.busy(load.keyframes_hz)
        hours = _HOURS * busy
        is_gpu = each.machine == 'H200'
        alike = [other for other in windows
                 if (other.model, other.machine) == (each.model, each.machine)]
        predicted = at_size(alike, larger)[alike.index(each)].busy(load.keyframes_hz)
        yield (f'| {each.model} | {each.machine} | {each.size} | {each.num_views} / {each.stride} '
               f'| {each.seconds:.4g} | {1.0 / busy:.3g} | {hours:.4g} | '
               f'{hours / _HOURS_OF_WEEK:.2g} | {f"{load.cores / busy:.0f}" if is_gpu else "-"} '
               f'| {f"{_HOURS * predicted:.3g}" if is_gpu else "-"} |')


def load_table(load: Load) -> Iterator[str]:
    """
    Write what the processor, the network and the disk take.

    :param load: of a recording.
    """
    hours = load.cores
    kept = load.keyframes_hz * 3600.0 * load.keyframe_mib / 1024.0
    yield f'| | an hour of recording | {_HOURS} hours |'
    yield '|---|---|---|'
    for name, ms in (('decoding', load.images_hz * load.decode_ms),
                     ('selection', load.images_hz * load.select_ms),
                     ('keyframes', load.keyframes_hz * load.keyframe_ms)):
        yield f'| {name}: core hours | {ms / 1000.0:.3f} | {ms * _HOURS / 1000.0:.0f} |'
    yield f'| processor in all: core hours | {hours:.3f} | {hours * _HOURS:.0f} |'
    yield f'| outputs, all keyframes kept | {kept:.2f} GiB | {kept * _HOURS / 1024.0:.1f} TiB |'


def measure_decoding(num_batches: int = 5, num_images: int = 20) -> float:
    """
    Measure the processor's time for a JPEG image, at the quality of cameras' drivers.

    :param num_batches: of which the fastest counts: what else runs makes others slower.
    :param num_images: of a batch.
    :returns: milliseconds.
    """
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (45, 80, 3), dtype=np.uint8)
    image = cv2.resize(small, _IMAGE_SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    _, data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    message = SimpleNamespace(format='bgr8; jpeg compressed bgr8', data=data)
    times = []
    for _ in range(num_batches):
        began_s = time.process_time()
        for _ in range(num_images):
            decode_compressed(message)
        times.append(1000.0 * (time.process_time() - began_s) / num_images)
    return min(times)


def measure_outputs(folder: Path) -> Iterator[str]:
    """
    Write what a keyframe leaves, by the kind of file.

    :param folder: that ``da3 process`` wrote.
    """
    num_keyframes = json.loads((folder / 'summary.json').read_text())['counts']['num_keyframes']
    sizes: Counter[str] = Counter()
    for path in folder.rglob('*'):
        if path.is_file():
            kind = 'colmap' if 'colmap' in path.parts else path.name
            sizes[kind] += path.stat().st_size
    yield f'| {num_keyframes} keyframes | MiB per keyframe |\n|---|---|'
    for kind, size in sizes.most_common():
        yield f'| {kind} | {size / _MIB / num_keyframes:.3f} |'
    yield f'| all | {sizes.total() / _MIB / num_keyframes:.3f} |'


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments; the defaults are those of docs/scale.md, which says whence."""
    parser = argparse.ArgumentParser(description='What hours of recordings take.')
    add = parser.add_argument
    add('--images-hz', type=float, default=30.0)
    add('--keyframes-hz', type=float, default=2.0)
    add('--decode-ms', type=float, default=5.9, help='of --measure-decoding')
    add('--select-ms', type=float, default=3.97, help='of benchmark/keyframe_selection.py')
    add('--keyframe-ms', type=float, default=48.8, help='of endurance.py and load_outputs.py')
    add('--keyframe-mib', type=float, default=0.98, help='of --measure-outputs')
    add('--larger', default='504x378', help='size that is predicted')
    add('--measure-decoding', action='store_true')
    add('--measure-outputs', type=Path)
    return parser


def main() -> None:
    """Print the tables."""
    options = build_parser().parse_args()
    if options.measure_decoding:
        lines = iter([f'{_IMAGE_SIZE[1]}x{_IMAGE_SIZE[0]}: {measure_decoding():.2f} ms'])
    elif options.measure_outputs is not None:
        lines = measure_outputs(options.measure_outputs)
    else:
        load = Load(options.images_hz, options.keyframes_hz, options.decode_ms, options.select_ms,
                    options.keyframe_ms, options.keyframe_mib)
        windows = read_windows(BENCHMARKS.read_text())
        lines = iter([*time_table(windows, load, options.larger), '', *load_table(load)])
    sys.stdout.write('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
