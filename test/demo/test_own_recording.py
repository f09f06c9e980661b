# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The demo on a film of somebody's own."""

import html

import cv2
from da3_ros.demo.__main__ import main
from da3_ros.demo.readback import read_truth
from da3_ros.model import MODELS
from da3_ros.offline.exit_code import ExitCode
import pytest


@pytest.fixture
def film(small_bag, tmp_path):
    """Give a film that OpenCV wrote."""
    path = tmp_path / 'mine.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 20.0, (64, 48))
    for view in read_truth(small_bag).values():
        writer.write(view.image[..., ::-1])
    writer.release()
    return path


def test_depth_cloud_and_path_with_a_warning(film, tmp_path, capsys):
    """By the shipped network; a second run takes the place of the first."""
    out = tmp_path / 'out'
    words = ['--input', str(film), '--out', str(out), '-p', 'keyframe.mode:=time', '-p',
             'preprocess.size:=56']
    for _ in range(2):
        assert main(words) == ExitCode.WRITTEN
        captured = capsys.readouterr()
        assert captured.out == f'report: {out}/recording/report.html\n'
        assert MODELS['da3-tiny'].caveat in captured.err
    assert [path.name for path in out.iterdir()] == ['recording']
    page = (out / 'recording/report.html').read_text()
    assert html.escape(MODELS['da3-tiny'].caveat) in page
    assert '<img ' in page and '<polyline ' in page
    assert len(list(out.glob('recording/*/cloud.ply'))) == 1
    assert len(list(out.glob('recording/*/trajectory.txt'))) == 1


@pytest.mark.parametrize('name', ['none.mp4', 'out/recording/cloud.avi'])
def test_what_is_no_recording_is_told_and_nothing_is_deleted(name, tmp_path, capsys):
    out = tmp_path / 'out'
    earlier = out / 'recording/cloud.avi'
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(b'mine')
    assert main(['--input', str(tmp_path / name), '--out', str(out)]) == ExitCode.INPUT
    captured = capsys.readouterr()
    assert f'demo: input: got {tmp_path / name}, expected a bag' in captured.err
    assert captured.out == ''
    assert earlier.read_bytes() == b'mine'


def test_options_of_process_are_only_for_a_recording(capsys):
    with pytest.raises(SystemExit) as ended:
        main(['--calibration', 'camera.yaml'])
    assert ended.value.code == 2
    assert 'unrecognized arguments: --calibration' in capsys.readouterr().err


def test_only_weights_that_need_it_have_a_caveat():
    """The published networks have cards of their own."""
    assert [name for name, config in MODELS.items() if config.caveat] == ['da3-tiny']
