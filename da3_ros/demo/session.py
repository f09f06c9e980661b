# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""The three processes of a run: replay, node and recorder, and what they said."""

from collections.abc import Mapping
from dataclasses import dataclass
import importlib.util
from pathlib import Path
import re
import shutil
import sys
import time

from da3_ros.demo.child import Child, DemoError
from da3_ros.demo.progress import Say
import yaml

NODE = '/da3'
_START_S = 300.0
_SETTLE_S = 600.0
_REPORT_S = 60.0
_STALL_S = 180.0


@dataclass(frozen=True)
class NodeStatus:
    """
    What the node said about itself on /diagnostics.

    :param stream: counters of images and keyframes.
    :param model: network, weights, licence, device.
    :param world: segments and joins.
    """

    stream: Mapping[str, str]
    model: Mapping[str, str]
    world: Mapping[str, str]

    @property
    def counts(self) -> dict[str, int]:
        """Return the counters of the stream."""
        return {name: int(value) for name, value in self.stream.items() if value.isdigit()}

    def count_all(self, prefix: str) -> int:
        """Return the sum of the counters whose names begin alike."""
        return sum(n for name, n in self.counts.items() if name.startswith(prefix))

    @property
    def is_idle(self) -> bool:
        """Whether every keyframe has come out or is accounted for."""
        done = self.counts['keyframes published'] + self.count_all('dropped keyframes')
        return self.counts['keyframes'] == done


@dataclass(frozen=True)
class RunLog:
    """
    What happened in a run.

    :param sent_ns: wall clock when each image was sent, by stamp.
    :param most_late_s: greatest delay of the replay behind the bag's pace [s].
    :param status: the node's, at the end.
    :param counts: recorded messages by topic.
    :param pids: of replay, node and recorder.
    :param started_by: ``launch`` or ``python``.
    """

    sent_ns: Mapping[int, int]
    most_late_s: float
    status: NodeStatus
    counts: Mapping[str, int]
    pids: Mapping[str, int]
    started_by: str


def run_processes(
    film: Path, parameters: Mapping[str, object], out: Path, *, rate: float, say: Say,
) -> RunLog:
    """
    Replay a film into a node and record what it publishes, each in a process of its own.

    :param film: bag of the film.
    :param parameters: of the node.
    :param out: folder for the bag ``node_output``, the parameters and the logs.
    :param rate: times the film's pace.
    :param say: takes lines of progress for a person.
    :raises DemoError: if a process fails or nothing comes.
    """
    logs = out / 'log'
    logs.mkdir(exist_ok=True)
    params_file = out / 'node.yaml'
    params_file.write_text(yaml.safe_dump({'/**': {'ros__parameters': dict(parameters)}}))
    command, started_by = node_command(params_file)
    children: list[Child] = []

    def start(name: str, *arguments: str) -> Child:
        command = [sys.executable, '-m', f'da3_ros.demo.{name}', *arguments]
        children.append(Child(name, command, logs / f'{name}.txt'))
        return children[-1]

    try:
        say(f'starting the node by {started_by}: {" ".join(command)}')
        node = Child('node', command, logs / 'node.txt', ends_with_stdin=False)
        children.append(node)
        recorder = start(
            'record', str(out / 'node_output'), '--node', NODE, '--wait-for',
            f'{NODE}/depth/image')
        recorder.wait_for('ready', _START_S, others=[node])
        replay = start('replay', str(film), '--rate', str(rate))
        replay.wait_for('started', _START_S, others=[node, recorder])
        say(f"replaying at {rate:g} times the film's pace, with /clock")
        played = replay.wait_for('finished', _SETTLE_S, others=[node, recorder])
        say(f'sent {len(played["sent"])} images; waiting for the node to finish')
        recorder.forget()
        status = _settle(recorder, [node, replay], say)
        recorder.close()
        counts = recorder.wait_for('finished', _REPORT_S)['counts']
        node_pid = _node_pid(node, started_by)
    finally:
        for child in reversed(children):
            child.stop()
    pids = {'replay': replay.pid, 'node': node_pid, 'record': recorder.pid}
    sent_ns = {int(stamp): int(wall) for stamp, wall in played['sent']}
    return RunLog(sent_ns, played['most_late_s'], status, counts, pids, started_by)


def node_command(params_file: Path) -> tuple[list[str], str]:
    """
    Return how to start the node, and by what.

    Through the launch file where ``ros2 launch`` and the installed package are, else as a module.
    """
    remaps = {'image': '/camera/image', 'camera_info': '/camera/camera_info'}
    if shutil.which('ros2') and importlib.util.find_spec('launch_ros') and _is_installed():
        arguments = [f'{name}:={topic}' for name, topic in remaps.items()]
        return ['ros2', 'launch', 'da3_ros', 'da3.launch.py', f'params_file:={params_file}',
                'use_sim_time:=true', *arguments], 'launch'
    arguments = [item for name, topic in remaps.items() for item in ('-r', f'{name}:={topic}')]
    return [sys.executable, '-m', 'da3_ros.node', '--ros-args', '--params-file', str(params_file),
            '-p', 'use_sim_time:=true', '-p', 'autostart:=true', *arguments], 'python'


def _is_installed() -> bool:
    """Return whether ROS finds an installed da3_ros."""
    from ament_index_python.packages import get_package_share_directory, PackageNotFoundError
    try:
        return Path(get_package_share_directory('da3_ros'), 'launch', 'da3.launch.py').exists()
    except PackageNotFoundError:
        return False


def _settle(recorder: Child, others: list[Child], say: Say) -> NodeStatus:
    """Wait until the node has nothing left to do; return its last status."""
    before: dict[str, int] = {}
    progress_s = time.monotonic()
    while True:
        status = _status(recorder.wait_for('diagnostics', _REPORT_S, others=others)['status'])
        if status is None:
            continue
        counts = status.counts
        if counts['unexpected errors']:
            raise DemoError(f'the node met {counts["unexpected errors"]} unexpected errors')
        # The same twice: an image may be under way during the first.
        if status.is_idle and counts == before:
            return status
        if counts != before:
            progress_s = time.monotonic()
            say(f'{counts["keyframes published"]} of {counts["keyframes"]} keyframes are out')
        if time.monotonic() - progress_s > _STALL_S:
            raise DemoError(f'the node made no progress for {_STALL_S:.0f} s')
        before = counts


def _status(statuses: Mapping[str, Mapping[str, str]]) -> NodeStatus | None:
    parts = {name.rpartition(': ')[2]: values for name, values in statuses.items()}
    if not {'stream', 'model', 'world'} <= parts.keys():
        return None
    return NodeStatus(parts['stream'], parts['model'], parts['world'])


def _node_pid(node: Child, started_by: str) -> int:
    """Return the node's own process id; launch is its parent and tells it."""
    if started_by == 'python':
        return node.pid
    told = re.search(r'process started with pid \[(\d+)\]', node.log.read_text())
    if told is None:
        raise DemoError(f'launch did not tell the process id of the node (log: {node.log})')
    return int(told[1])
