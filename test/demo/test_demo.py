# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""The whole demo in its real processes; its numbers against others computed from the bags."""

from html.parser import HTMLParser
import json
from pathlib import Path
import shutil
import subprocess
import sys

from da3_ros.demo.messages import MessageCodec
import numpy as np
import pytest
from rosbags.rosbag2 import Reader
from scipy.spatial.transform import Rotation

pytest.importorskip('rclpy')
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NUM_FRAMES = 30
MAX_ABS_REL, MIN_DELTA, MAX_ATE_SHARE = 0.08, 0.93, 0.03


def run_demo(out, *arguments):
    """Run the command."""
    return subprocess.run(
        [sys.executable, '-m', 'da3_ros.demo', '--out', str(out), *arguments],
        capture_output=True, text=True, check=False, timeout=800)


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    """Run a short demo with random weights."""
    out = tmp_path_factory.mktemp('demo')
    run = run_demo(out, '--frames', str(NUM_FRAMES), '--weights', 'random')
    assert run.returncode == 0, run.stderr
    return out, run


@pytest.fixture(scope='module')
def summary(demo):
    """Give its summary."""
    return json.loads((demo[0] / 'summary.json').read_text())


def by_stamp(bag, topic):
    """Return a bag's messages of a topic by integer stamp."""
    codec = MessageCodec()
    with Reader(bag) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        messages = [
            codec.deserialize(data, connection.msgtype)
            for connection, _, data in reader.messages(connections)]
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in messages]
    assert len(set(stamps)) == len(stamps)
    return dict(sorted(zip(stamps, messages, strict=True)))


@pytest.fixture(scope='module')
def truth_bag(demo):
    """Give the film's bag."""
    return next(path for path in demo[0].glob('film-*') if path.is_dir())


def test_every_image_is_accounted_for(summary):
    stream = summary['stream']
    assert stream['frames_sent'] == NUM_FRAMES
    assert stream['images_received'] + stream['images_lost_on_the_way'] == NUM_FRAMES
    assert stream['images_lost_on_the_way'] == 0
    assert stream['keyframes'] == stream['keyframes_published'] + stream['keyframes_dropped']
    assert stream['keyframes_published'] == stream['keyframes_recorded'] >= 5
    assert stream['sessions'] == 1
    assert stream['replay_rate'] == 1.0


def test_three_processes_took_part(summary):
    assert set(summary['processes']) == {'replay', 'node', 'record'}
    assert len(set(summary['processes'].values())) == 3


def test_every_output_has_the_stamp_of_an_image(demo, summary, truth_bag):
    images = by_stamp(truth_bag, '/camera/image')
    assert len(images) == NUM_FRAMES
    for name in ('depth/image', 'depth/camera_info', 'depth/confidence', 'rgb/image', 'points',
                 'odometry'):
        outputs = by_stamp(demo[0] / 'node_output', f'/da3/{name}')
        assert len(outputs) == summary['stream']['keyframes_published'], name
        assert outputs.keys() <= images.keys(), name
        assert summary['messages_recorded'][f'/da3/{name}'] == len(outputs)


def test_depth_scores_are_those_of_the_bags(demo, summary, truth_bag):
    truths, estimates = [], []
    true = by_stamp(truth_bag, '/truth/depth/image')
    for stamp, message in by_stamp(demo[0] / 'node_output', '/da3/depth/image').items():
        depth = message.data.view(np.float32).reshape(message.height, message.width)
        full = true[stamp].data.view(np.float32).reshape(240, 320)
        v = np.floor((np.arange(message.height) + 0.5) * 240 / message.height).astype(int)
        u = np.floor((np.arange(message.width) + 0.5) * 320 / message.width).astype(int)
        truths.append(full[v][:, u].ravel().astype(float))
        estimates.append(depth.ravel().astype(float))
    truth, estimate = np.concatenate(truths), np.concatenate(estimates)
    known = np.isfinite(estimate)
    assert summary['depth']['coverage'] == pytest.approx(known.mean())
    truth, estimate = truth[known], estimate[known]
    scale = 1.0 / np.median(estimate / truth)
    assert summary['depth_scale'] == pytest.approx(scale, rel=1e-5)
    error = np.abs(scale * estimate - truth) / truth
    assert summary['depth']['abs_rel'] == pytest.approx(error.mean(), rel=1e-4)
    within = np.maximum(scale * estimate / truth, truth / (scale * estimate)) < 1.25
    assert summary['depth']['delta_1_25'] == pytest.approx(within.mean(), abs=1e-4)


def test_path_scores_are_those_of_the_bags(demo, summary, truth_bag):
    def centres(messages):
        points = [message.pose.pose.position for message in messages]
        return np.array([[p.x, p.y, p.z] for p in points])

    outputs = by_stamp(demo[0] / 'node_output', '/da3/odometry')
    true = by_stamp(truth_bag, '/truth/odometry')
    a, b = centres([true[stamp] for stamp in outputs]), centres(outputs.values())
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    rotation, _ = Rotation.align_vectors(a, b)
    turned = rotation.apply(b)
    scale = (a * turned).sum() / (turned * turned).sum()
    ate = np.sqrt(np.mean(np.sum((a - scale * turned) ** 2, axis=1)))
    path = summary['trajectory']
    assert path['ate_rmse_m'] == pytest.approx(ate, rel=1e-6)
    assert path['alignment_scale'] == pytest.approx(scale, rel=1e-6)
    assert path['standing_still_ate_rmse_m'] == pytest.approx(
        np.sqrt(np.mean(np.sum(a ** 2, axis=1))))
    steps = np.diff(centres(true.values()), axis=0)
    assert path['path_length_m'] == pytest.approx(np.linalg.norm(steps, axis=1).sum())


def test_latency_is_positive_and_within_the_run(summary):
    latency = summary['latency']
    assert 0.0 < latency['median_s'] <= latency['p95_s'] <= latency['max_s']
    assert latency['max_s'] < summary['durations_s']['run']


class _Links(HTMLParser):
    """Collects what a page refers to and says."""

    def __init__(self):
        super().__init__()
        self.sources = []
        self.text = []

    def handle_starttag(self, tag, attrs):  # noqa: ARG002
        self.sources += [value for name, value in attrs if name in ('src', 'href')]

    def handle_data(self, data):
        self.text.append(data)


def test_the_report_holds_everything_and_names_the_weights(demo, summary):
    out, _ = demo
    page = _Links()
    page.feed((out / 'report.html').read_text())
    assert len(page.sources) == 4
    assert all(source.startswith('data:image/png;base64,') for source in page.sources)
    text = ' '.join(page.text)
    assert 'RANDOM WEIGHTS' in text
    assert f'{summary["trajectory"]["ate_rmse_m"]:.3f} m' in text
    assert summary['weights']['is_random'] is True
    for name in ('depth', 'cloud', 'trajectory', 'latency'):
        assert (out / f'{name}.png').stat().st_size > 10_000


def test_random_weights_are_said_on_every_picture(demo):
    cv2 = pytest.importorskip('cv2')
    for name in ('depth', 'cloud', 'trajectory', 'latency'):
        header = cv2.imread(str(demo[0] / f'{name}.png'))[:115]
        red = np.all(header == (0x2a, 0x2a, 0xc9), axis=-1)
        assert red.sum() > 5_000, name


def test_the_shipped_weights_see(demo, tmp_path):
    """The floor under what ships: depth and path of the demo's own film."""
    for film in demo[0].glob('film-*'):
        (shutil.copytree if film.is_dir() else shutil.copy)(film, tmp_path / film.name)
    run = run_demo(tmp_path, '--frames', str(NUM_FRAMES))
    assert run.returncode == 0, run.stderr
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert summary['weights']['is_random'] is False
    assert summary['stream']['windows_not_joined'] == 0
    assert summary['depth']['abs_rel'] < MAX_ABS_REL
    assert summary['depth']['delta_1_25'] > MIN_DELTA
    assert summary['trajectory']['ate_share_of_path'] < MAX_ATE_SHARE


def test_the_second_run_finds_the_film_and_fails_in_one_line_without_weights(demo):
    out, _ = demo
    run = run_demo(out, '--frames', str(NUM_FRAMES), '--weights', '/nowhere/w.safetensors')
    assert run.returncode == 1
    assert f'{NUM_FRAMES} frames lie rendered' in run.stderr
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith('demo: FAILED: the node logged: ')
    assert '/nowhere/w.safetensors' in last
    assert not Path(out, 'summary.json').exists(), 'results of an earlier run are left'
