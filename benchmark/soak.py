# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
A very long drive through the real node, ten times as fast as real: nothing may grow.

A camera process sends small images, stamped as if they were taken at 30 Hz; the node runs an
engine that costs nothing, and all outputs are listened to. Then the node is taken down and up
again many times. Ends with 1 if memory, file handles or threads grew.
"""

import argparse
from collections.abc import Callable, Sequence
import json
import os
from pathlib import Path
import sys
import time

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from load_listener import Listener, OUTPUTS
from load_process import LoadProcess, Usage
from nav_msgs.msg import Path as PathMessage

_PROFILE = Path(__file__).resolve().parents[1] / 'config/fastdds_large_images.xml'
_SPEED = 10.0
_CAMERA_RATE_HZ = 30.0
_NUM_SAMPLES = 20
# Caches, the path and the histories of the middleware fill in the first part of the way.
_FILLING_SHARE = 0.4
_MOST_GROWTH_MIB = 8.0
_LIFE = (
    Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP,
    Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE,
)
_PARAMETERS = {
    'autostart': True, 'preprocess.size': 56, 'keyframe.mode': 'time', 'path.max_size': 100,
    'queue.size': 16, 'tf.publish_map': True,
}
_COUNTS = ('images received', 'keyframes', 'keyframes published', 'dropped keyframes: queue full')


class Soak:
    """The node, who listens to it, and what it holds from time to time."""

    def __init__(self) -> None:
        """Start the node."""
        environment = {'FASTRTPS_DEFAULT_PROFILES_FILE': str(_PROFILE)}
        os.environ.update(environment)
        self._environment = environment
        self._listener = Listener(OUTPUTS | {'/da3/path': PathMessage})
        self._node = LoadProcess(
            'load_node.py', ['--seconds', '0.0'], parameters=_PARAMETERS, environment=environment)
        self._listener.wait_for_diagnostics()
        sys.stdout.write(
            '| | s | memory MiB | files | threads | received | keyframes | published | dropped |\n'
            '|---|---|---|---|---|---|---|---|---|\n')

    def drive(self, num_frames: int) -> list[Usage]:
        """
        Stream images; return what the node held meanwhile, but not while things fill.

        :param num_frames: images.
        """
        rate_hz = _SPEED * _CAMERA_RATE_HZ
        camera = LoadProcess(
            'load_camera.py',
            ['--width', '160', '--height', '120', '--frames', str(num_frames), '--rate-hz',
             str(rate_hz), '--speed', str(_SPEED), '--info-every', '30'],
            environment=self._environment)
        camera.read_line()
        pause_s = num_frames / rate_hz / _NUM_SAMPLES
        usages = self._sample(lambda: time.sleep(pause_s), _NUM_SAMPLES, 'images')
        result = json.loads(camera.read_line())
        camera.read()
        self._listener.wait_for_diagnostics()
        counts = [int(self._listener.counts[name]) for name in _COUNTS]
        sys.stdout.write(
            f'\n{result["sent"]} images sent in {result["seconds"]:.0f} s; {counts[0]} received, '
            f'{counts[1]} keyframes, {counts[2]} published, {counts[3]} dropped.\n\n')
        return usages[round(_FILLING_SHARE * _NUM_SAMPLES):]

    def live(self, num_lives: int) -> list[Usage]:
        """
        Take the node down and up again; return what it held, but not in the first lives.

        :param num_lives: how often.
        """
        client = self._listener.node.create_client(ChangeState, '/da3/change_state')

        def begin_anew() -> None:
            for transition in _LIFE:
                request = ChangeState.Request(transition=Transition(id=transition))
                future = client.call_async(request)
                while not future.done():
                    time.sleep(0.01)
                assert future.result().success

        usages = self._sample(begin_anew, num_lives, 'lives')
        return usages[round(_FILLING_SHARE * num_lives):]

    def close(self) -> None:
        """End everything."""
        self._node.end()
        self._listener.close()

    def _sample(self, action: Callable[[], None], count: int, what: str) -> list[Usage]:
        usages, started = [], time.monotonic()
        for number in range(1, count + 1):
            action()
            usages.append(self._node.usage())
            counts = ' | '.join(self._listener.counts[name] for name in _COUNTS)
            last = usages[-1]
            sys.stdout.write(
                f'| {what} {number}/{count} | {time.monotonic() - started:.0f} | '
                f'{last.rss_mib:.1f} | {last.num_files} | {last.num_threads} | {counts} |\n')
            sys.stdout.flush()
        return usages


def growth(usages: Sequence[Usage]) -> list[str]:
    """
    Name what grew.

    :param usages: in order of time, of a process that should stay as it is.
    """
    half = len(usages) // 2
    early, late = usages[:half], usages[half:]
    grown = max(u.rss_mib for u in late) - max(u.rss_mib for u in early)
    complaints = [f'memory by {grown:.1f} MiB'] if grown > _MOST_GROWTH_MIB else []
    for name in ('num_files', 'num_threads'):
        before, after = (max(getattr(u, name) for u in part) for part in (early, late))
        if after > before:
            complaints.append(f'{name} from {before} to {after}')
    return complaints


def main(arguments: Sequence[str] | None = None) -> int:
    """Drive, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--frames', type=int, default=100_000)
    parser.add_argument('--lives', type=int, default=50)
    options = parser.parse_args(arguments)
    soak = Soak()
    try:
        complaints = growth(soak.drive(options.frames)) + growth(soak.live(options.lives))
    finally:
        soak.close()
    sys.stdout.write(f'\nGrown: {", ".join(complaints) or "nothing"}.\n')
    return 1 if complaints else 0


if __name__ == '__main__':
    sys.exit(main())
