# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""Replay and recorder in their own processes over DDS: what arrives is what lies in the bag."""

import os
import sys

from da3_ros.demo import topics
from da3_ros.demo.child import Child, DemoError
from da3_ros.demo.messages import MessageCodec
import pytest
from rosbags.rosbag2 import Reader

pytest.importorskip('rclpy')


def messages(bag, names):
    """Return time and content of the messages of a bag by topic; CDR's padding may be anything."""
    codec = MessageCodec()
    found = {name: [] for name in names}
    with Reader(bag) as reader:
        for connection, time_ns, data in reader.messages():
            if connection.topic in found:
                content = codec.serialize(codec.deserialize(data, connection.msgtype))
                found[connection.topic].append((time_ns, bytes(content)))
    return found


@pytest.fixture
def start(tmp_path):
    """Start the demo's processes; they end with the test."""
    children = []

    def start(name, *arguments):
        command = [sys.executable, '-m', f'da3_ros.demo.{name}', *arguments]
        children.append(Child(name, command, tmp_path / f'{name}.txt'))
        return children[-1]

    yield start
    for child in children:
        child.stop()


@pytest.mark.parametrize('rate', [0.5, 1.0])
def test_everything_arrives_at_the_pace_of_the_bag(small_film, small_bag, tmp_path, start, rate):
    copy = tmp_path / 'copy'
    replay = start('replay', str(small_bag), '--rate', str(rate))
    recorder = start(
        'record', str(copy), '--node', '/film_replay', '--wait-for', topics.IMAGE)
    ready = recorder.wait_for('ready', 60.0, others=[replay])
    finished = replay.wait_for('finished', 60.0, others=[recorder])
    assert {ready['pid'], finished['pid']} == {recorder.pid, replay.pid}
    recorder.close()
    counts = recorder.wait_for('finished', 60.0)['counts']

    names = (topics.STATIC_TF, topics.CAMERA_INFO, topics.IMAGE)
    original, received = messages(small_bag, names), messages(copy, [*names, '/clock'])
    for name in names:
        assert [data for _, data in received[name]] == [data for _, data in original[name]], name
        assert counts[name] == len(original[name])
    assert topics.TRUE_DEPTH not in counts
    sent = dict(finished['sent'])
    assert list(sent) == [small_film.stamp_ns(i) for i in range(small_film.num_frames)]
    arrivals = [time_ns for time_ns, _ in received[topics.IMAGE]]
    assert all(0 < b - a < 1e9 for a, b in zip(sent.values(), arrivals, strict=True))
    expected_s = (small_film.num_frames - 1) / small_film.rate_hz / rate
    times = list(sent.values())
    assert (times[-1] - times[0]) * 1e-9 == pytest.approx(expected_s, abs=0.1)
    # The clock goes on, at 50 Hz of film time.
    assert len(received['/clock']) > 40 * expected_s * rate


def test_the_replay_waits_for_both_camera_topics(small_bag, start):
    replay = start('replay', str(small_bag))
    replay.wait_for('ready', 60.0)
    with pytest.raises(DemoError, match='did not report "started" within 1 s'):
        replay.wait_for('started', 1.0)


def test_a_process_that_fails_is_named_with_its_last_words(tmp_path, start):
    replay = start('replay', str(tmp_path / 'nothing'))
    with pytest.raises(DemoError, match=r'the replay ended with status 1: .*nothing'):
        replay.wait_for('ready', 60.0)


def test_an_error_that_a_process_logs_is_a_failure(tmp_path):
    script = 'import sys, time; print("[ERROR] [1.5] [da3]: no weights", flush=True); ' \
        'time.sleep(60)'
    child = Child(
        'node', [sys.executable, '-c', script], tmp_path / 'node.txt', ends_with_stdin=False)
    try:
        with pytest.raises(DemoError, match=r'the node logged: .*no weights'):
            child.wait_for('ready', 30.0)
    finally:
        child.stop()


def test_a_process_that_ignores_its_stdin_is_ended_by_a_signal(tmp_path):
    script = 'import time; print("started", flush=True); time.sleep(60)'
    child = Child(
        'sleeper', [sys.executable, '-c', script], tmp_path / 'log.txt', ends_with_stdin=False)
    child.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)
