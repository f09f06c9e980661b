# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Every example runs, and does what it says."""

from pathlib import Path
import re
import runpy
import subprocess
import sys

import cv2
import da3_ros
from da3_ros.demo.readback import read_truth
from da3_ros.offline import command
import numpy as np
import pytest
from short_recording import NUM_FRAMES, PARAMETERS

EXAMPLES = Path(__file__).resolve().parents[2] / 'examples'


def run(monkeypatch, name, *arguments):
    """Run an example as a person does."""
    monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name='__main__')


def test_images_to_depth(tmp_path, monkeypatch):
    paths = [tmp_path / f'{number}.png' for number in range(2)]
    random = np.random.default_rng(0)
    for path in paths:
        cv2.imwrite(str(path), random.integers(0, 255, (28, 42, 3), np.uint8))
    run(monkeypatch, 'images_to_depth.py', 'da3-tiny', tmp_path / 'out.npz', *paths)
    saved = np.load(tmp_path / 'out.npz')
    assert len(saved['depth']) == len(saved['world_T_camera']) == len(saved['K']) == 2
    assert np.isfinite(saved['depth']).all()


def test_folder_to_cloud(short_bag, tmp_path, monkeypatch, capsys):
    """A cloud of as many points as it says, seen by the shipped network."""
    folder = tmp_path / 'images'
    folder.mkdir()
    for number, view in enumerate(read_truth(short_bag).values()):
        cv2.imwrite(str(folder / f'{number}.png'), view.image[..., ::-1])
    run(monkeypatch, 'folder_to_cloud.py', folder, tmp_path / 'out', *PARAMETERS)
    path, = capsys.readouterr().out.splitlines()
    header, _, points = Path(path).read_bytes().partition(b'end_header\n')
    count = int(re.search(rb'element vertex (\d+)', header)[1])
    assert count > 500
    assert len(points) % count == 0


def test_bag_to_colmap(short_bag, tmp_path, monkeypatch, capsys):
    """A model of all keyframes, at the size of the camera."""
    run(monkeypatch, 'bag_to_colmap.py', short_bag, tmp_path / 'out', *PARAMETERS)
    path, = capsys.readouterr().out.splitlines()
    pictures = sorted(Path(path, 'images').iterdir())
    assert len(pictures) == NUM_FRAMES
    assert cv2.imread(str(pictures[0])).shape == (56, 84, 3)
    assert Path(path, 'sparse/0/cameras.txt').exists()


def test_own_engine(monkeypatch, capsys):
    """The path is that of the engine: 0.2 units a frame, to the right."""
    run(monkeypatch, 'own_engine.py')
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [int(line[0]) for line in lines] == [number * 10**8 for number in range(10)]
    right = [-float(line[2]) for line in lines]
    np.testing.assert_allclose(np.diff(right), 0.2, atol=0.01)


def test_every_example_is_tested():
    tested = Path(__file__).read_text()
    assert all(path.name in tested for path in EXAMPLES.glob('*.py'))


def test_only_variants_are_loaded():
    with pytest.raises(ValueError, match="name: got 'da4', expected one of"):
        da3_ros.load('da4')


def test_verbs_are_called_and_listed(capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(['process', '--help'])
    assert ended.value.code == 0
    assert 'exit codes: 0 written' in capsys.readouterr().out
    assert command.main(['fly']) == command.main([]) == 2
    listed = capsys.readouterr().err
    assert all(verb in listed for verb in ('process', 'fleet', 'plan', 'fetch_weights'))
    assert command.main(['--help']) == 0


def test_recordings_need_no_graph():
    """Neither rclpy nor cv_bridge are imported; test_bag_output does without messages, too."""
    code = (
        'import sys, re\n'
        'from da3_ros.offline import process\n'
        'ros = [n for n in sys.modules if re.match(r"(rclpy|cv_bridge|rcl_|tf2_ros)", n)]\n'
        'assert not ros, ros\n')
    subprocess.run([sys.executable, '-c', code], check=True)
