# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The node under load: 1080p at 30 Hz while it infers, beside a plain rclpy node that echoes.

Every figure is of processes of their own that talk over DDS. Run it on a machine that does nothing
else: the echo's rows tell whether it was.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
import os
from pathlib import Path
import platform
import sys
import time

from da3_ros.ros.insight.latency import Stage
from load_listener import ECHO, echo_topic, Listener, OUTPUTS
from load_process import LoadProcess, machine_cpu_s
import numpy as np
from rclpy.node import Node
from std_srvs.srv import SetBool

_PROFILE = Path(__file__).resolve().parents[1] / 'config/fastdds_large_images.xml'
_RATE_HZ = 30.0
_IDLE_S = 10.0
_PARAMETERS = {'autostart': True}


@dataclass(frozen=True)
class Load:
    """
    Processor time per second.

    :param cores: of the process under test.
    :param others: of all that does not belong to this benchmark, as a share of the machine.
    """

    cores: float
    others: float


class LoadMeter:
    """Measure from now on."""

    def __init__(self, process: LoadProcess, *others: LoadProcess) -> None:
        """
        Begin.

        :param process: under test.
        :param others: of this benchmark, besides this process itself.
        """
        self._processes = (process, *others)
        self._before, self._started = self._used(), time.monotonic()

    def stop(self) -> Load:
        """Return what was used since the beginning."""
        seconds = time.monotonic() - self._started
        machine_s, own_s, *rest_s = (
            after - before for after, before in zip(self._used(), self._before, strict=True))
        others_s = machine_s - own_s - sum(rest_s)
        return Load(own_s / seconds, max(0.0, others_s) / seconds / (os.cpu_count() or 1))

    def _used(self) -> list[float]:
        used = [process.usage().cpu_s for process in self._processes]
        return [machine_cpu_s(), *used, time.process_time()]


@dataclass(frozen=True)
class Row:
    """
    One line of the table.

    :param name: what ran.
    :param sent: images sent.
    :param received: images that reached the callback.
    :param came_out: echoes or keyframes that came out.
    :param load: what it took of the machine.
    :param latencies_s: from the camera's stamp to the arrival of what came out.
    """

    name: str
    sent: int
    received: int
    came_out: int
    load: Load
    latencies_s: tuple[float, ...] = ()

    def text(self) -> str:
        """Format as Markdown."""
        times = ' | '.join('-' * 3)
        if self.latencies_s:
            values = 1000.0 * np.percentile(self.latencies_s, (50, 95, 100))
            times = ' | '.join(f'{value:.1f}' for value in values)
        return (
            f'| {self.name} | {self.sent} | {self.sent - self.received} | {self.came_out} | '
            f'{100.0 * self.load.cores:.3g} % | {100.0 * self.load.others:.0f} % | {times} |')


class Run:
    """Conditions that all rows share."""

    def __init__(self, *, frames: int, is_distorted: bool, environment: dict[str, str]) -> None:
        """
        Fix them.

        :param frames: images per row.
        :param is_distorted: whether the node has to rectify.
        :param environment: of all processes.
        """
        self._frames = frames
        self._camera_arguments = ['--frames', str(frames)]
        if is_distorted:
            self._camera_arguments.append('--distorted')
        self._environment = environment
        self.stages: list[str] = []
        """Lines of a table: the durations that the first node which inferred told."""

    def echo(self, *, of_images: bool) -> Row:
        """
        Measure the plain node.

        :param of_images: send whole images back, not headers.
        """
        listener = Listener(echo_topic(of_images=of_images))
        echo = LoadProcess(
            'load_echo.py', ['--images'] if of_images else [], environment=self._environment)
        num_received = 0
        try:
            load = self._stream(echo)
        finally:
            num_received = int(echo.end())
            listener.close()
        latencies_s = listener.latencies_s(ECHO)
        name = f'plain rclpy, {"images" if of_images else "headers"} back'
        return Row(
            name, self._frames, num_received, len(latencies_s), load, tuple(latencies_s))

    def node(self, name: str, *, way: str, seconds: float) -> Row:
        """
        Measure the node while it infers.

        :param name: for the table.
        :param way: how the inference's time is spent.
        :param seconds: per window.
        """
        listener = Listener(OUTPUTS)
        node = self._start_node(way, seconds)
        try:
            load = self._stream(node)
            listener.wait_for_diagnostics()
            latencies_s = listener.latencies_s('/da3/points')
        finally:
            node.end()
            listener.close()
        self.stages = self.stages or _stages(listener.counts)
        return Row(name, self._frames, int(listener.counts['images received']),
                   int(listener.counts['keyframes published']), load, tuple(latencies_s))

    def paused(self) -> list[Row]:
        """Measure the node while it has nothing to do: without images, and paused."""
        listener = Listener(OUTPUTS)
        node = self._start_node('sleep', 0.0)
        try:
            listener.wait_for_diagnostics()
            meter = LoadMeter(node)
            time.sleep(_IDLE_S)
            idle = meter.stop()
            _pause(listener.node)
            paused = self._stream(node)
            listener.wait_for_diagnostics()
        finally:
            node.end()
            listener.close()
        received = int(listener.counts['images received'])
        return [Row('da3_ros, active, no images', 0, 0, 0, idle),
                Row('da3_ros, paused', self._frames, received, 0, paused)]

    def _start_node(self, way: str, seconds: float) -> LoadProcess:
        return LoadProcess(
            'load_node.py', ['--way', way, '--seconds', str(seconds)], parameters=_PARAMETERS,
            environment=self._environment | {'OPENBLAS_NUM_THREADS': '1'})

    def _stream(self, process: LoadProcess) -> Load:
        """Run the camera, and measure meanwhile."""
        camera = LoadProcess(
            'load_camera.py', self._camera_arguments, environment=self._environment)
        camera.read_line()
        meter = LoadMeter(process, camera)
        result = json.loads(camera.read_line())
        load = meter.stop()
        camera.read()
        if result['latest_s'] > 1.0 / _RATE_HZ:
            sys.stderr.write(f'the camera was {result["latest_s"]:.3f} s late\n')
        return load


def _stages(told: Mapping[str, str]) -> list[str]:
    rows = []
    for stage in Stage:
        values = [told[f'{stage.value}: {name} [s]'] for name in ('median', '95 %', 'max')]
        times = ' | '.join(f'{1000.0 * float(value):.1f}' for value in values)
        rows.append(f'| {stage.value} | {times} |')
    return rows


def _pause(node: Node) -> None:
    client = node.create_client(SetBool, '/da3/set_paused')
    client.wait_for_service()
    future = client.call_async(SetBool.Request(data=True))
    while not future.done():
        time.sleep(0.01)
    assert future.result().success


def _machine() -> str:
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            return f'{line.split(":", 1)[1].strip()}, {os.cpu_count()} cores'
    return f'{platform.machine()}, {os.cpu_count()} cores'


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--frames', type=int, default=300, help='images per row')
    parser.add_argument('--undistorted', action='store_true', help='nothing to rectify')
    options = parser.parse_args(arguments)
    environment = {'FASTRTPS_DEFAULT_PROFILES_FILE': str(_PROFILE)}
    os.environ.update(environment)
    run = Run(
        frames=options.frames, is_distorted=not options.undistorted, environment=environment)
    python, load = platform.python_version(), os.getloadavg()[0]
    sys.stdout.write(f'{_machine()}, Python {python}; load before: {load:.2f}\n')
    sys.stdout.write(
        '\n| | images | lost | came out | of a core | others | ms median | 95 % | most |\n'
        '|---|---|---|---|---|---|---|---|---|\n')
    rows = [
        lambda: [run.echo(of_images=False)],
        lambda: [run.echo(of_images=True)],
        run.paused,
        lambda: [run.node('da3_ros, inference of 0.5 s waits', way='sleep', seconds=0.5)],
        lambda: [run.node('da3_ros, inference takes a core', way='core', seconds=0.5)],
        lambda: [run.node('da3_ros, inference holds Python', way='python', seconds=0.5)],
    ]
    for measure in rows:
        for row in measure():
            sys.stdout.write(f'{row.text()}\n')
            sys.stdout.flush()
    sys.stdout.write('\n| stage, inference waits | ms median | 95 % | most |\n|---|---|---|---|\n')
    sys.stdout.writelines(f'{line}\n' for line in run.stages)
    listener = Listener(OUTPUTS)
    conversion = LoadProcess('load_conversion.py', environment=environment)
    sys.stdout.write(conversion.read())
    conversion.end()
    listener.close()
    return 0


if __name__ == '__main__':
    sys.exit(main())
