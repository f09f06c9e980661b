# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The command: a recording in, files out, with the shipped network."""

import json
from pathlib import Path
import subprocess
import sys

import cv2
from da3_ros.demo.readback import read_truth
from da3_ros.errors import InputError
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.keyframe import Frame
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.mapping.session_record import SessionRecord
from da3_ros.offline.exit_code import ExitCode
from da3_ros.offline.input.recordings import Recording
from da3_ros.offline.job import Job, process_recording
from da3_ros.offline.process import main
from da3_ros.offline.settings_file import read_settings
import numpy as np
import pytest
import short_recording
from short_recording import load_steady_engine, NUM_FRAMES, PARAMETERS, SteadyEngine, tree


def test_the_shipped_network_gives_all_formats(short_bag, tmp_path, arguments):
    """And nothing else is left."""
    out = tmp_path / 'out'
    assert main([str(short_bag), '--out', str(out), *arguments]) == ExitCode.WRITTEN
    assert list(tmp_path.iterdir()) == [out]
    files = tree(out)
    names = {name.partition('/')[2] for name in files if '/' in name}
    assert {'cloud.ply', 'trajectory.txt', 'keyframes.npz', 'colmap/sparse/0/cameras.txt',
            'colmap/images/000001.jpg'} <= names
    page = files['report.html'].decode()
    assert page.count('<img ') == 6
    assert '<td>keyframes</td><td>10</td>' in page
    summary = json.loads(files['summary.json'])
    assert summary['counts']['num_keyframes'] == NUM_FRAMES
    assert summary['losses'] == []


def test_depth_pose_and_stamps_are_those_of_the_pipeline(processed, short_bag):
    """What the node runs, on the frames as they were rendered."""
    settings = read_settings(None, PARAMETERS)
    config = settings.pipeline(4)
    pipeline = DepthPipeline(SteadyEngine(), config)
    stream, updates = FrameStream(config), []
    for stamp_ns, view in read_truth(short_bag).items():
        frame = Frame(stamp_ns, view.image, view.intrinsics)
        updates += [pipeline.add(instant) for instant in stream.take(frame).instants]
    updates += [pipeline.add(instant) for instant in stream.end().instants]
    updates.append(pipeline.flush())
    record = SessionRecord()
    windows = [window for update in updates for window in update.windows]
    for window in windows:
        if window.correction is not None:
            record.correct(window.correction)
        for keyframe in window.keyframes:
            record.add(keyframe, window.map_T_odom, max_keyframes=NUM_FRAMES)
    session = record.session()
    saved = np.load(next(processed.glob('*/keyframes.npz')))
    np.testing.assert_array_equal(saved['stamp_ns'], [k.stamp_ns for k in session.keyframes])
    poses = [session.frame_S_camera(keyframe.id) for keyframe in session.keyframes]
    np.testing.assert_array_equal(
        saved['frame_T_camera'], [pose.rigid_part() for pose in poses])
    np.testing.assert_array_equal(saved['depth'], [
        (keyframe.depth * np.float32(pose.scale)).astype(np.float16)
        for keyframe, pose in zip(session.keyframes, poses, strict=True)])
    assert np.isfinite(saved['depth']).mean() > 0.5


@pytest.mark.parametrize(('wanted', 'size'), [('network', (28, 14)), ('image', (84, 56))])
@pytest.mark.usefixtures('steady')
def test_colmap_images_have_the_size_that_is_wanted(
    wanted, size, short_bag, tmp_path, arguments
):
    """With the camera that fits them; depth stays as the network gave it."""
    out = tmp_path / 'out'
    assert main([str(short_bag), '--out', str(out), *arguments,
                 '-p', f'depth.size:={wanted}']) == ExitCode.WRITTEN
    folder = next(out.glob('*/colmap'))
    _, camera = (folder / 'sparse/0/cameras.txt').read_text().splitlines()
    width, height, _, _, *centre = map(float, camera.split()[2:])
    assert (width, height) == size
    assert centre == pytest.approx([width / 2, height / 2])
    pictures = sorted((folder / 'images').iterdir())
    assert len(pictures) == NUM_FRAMES
    assert {cv2.imread(str(path)).shape for path in pictures} == {(*size[::-1], 3)}
    assert np.load(folder.parent / 'keyframes.npz')['depth'].shape[1:] == (14, 28)


@pytest.mark.parametrize('kind', ['film', 'folder'])
@pytest.mark.usefixtures('steady')
def test_a_film_and_a_folder_of_images(kind, short_bag, tmp_path, arguments):
    views = list(read_truth(short_bag).values())
    path = tmp_path / ('film.avi' if kind == 'film' else 'images')
    if kind == 'film':
        # Written by OpenCV's own codec.
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 5.0, (84, 56))
        for view in views:
            writer.write(view.image[..., ::-1])
        writer.release()
    else:
        path.mkdir()
        for index, view in enumerate(views):
            cv2.imwrite(str(path / f'{index}.png'), view.image[..., ::-1])
    calibration = tmp_path / 'camera.yaml'
    k = views[0].intrinsics
    calibration.write_text(
        'image_width: 84\nimage_height: 56\ncamera_name: test\ncamera_matrix:\n  rows: 3\n'
        f'  cols: 3\n  data: {k.ravel().tolist()}\ndistortion_model: plumb_bob\n'
        'distortion_coefficients:\n  rows: 1\n  cols: 5\n  data: [0, 0, 0, 0, 0]\n')
    out = tmp_path / 'out'
    code = main([str(path), '--out', str(out), '--calibration', str(calibration), '--rate', '5',
                 '--write', 'npz', 'tum', *arguments])
    assert code == ExitCode.WRITTEN
    saved = np.load(next(out.glob('*/keyframes.npz')))
    np.testing.assert_allclose(np.diff(saved['stamp_ns']), 0.2e9, atol=1.0)
    assert len(saved['K']) == NUM_FRAMES
    assert not list(out.glob('*/cloud.ply'))


@pytest.mark.usefixtures('steady')
def test_another_size_in_the_middle_is_another_session(short_bag, tmp_path, arguments):
    """Of two sizes nothing is known together: two folders."""
    folder = tmp_path / 'images'
    folder.mkdir()
    for index, view in enumerate(read_truth(short_bag).values()):
        image = view.image if index < NUM_FRAMES // 2 else view.image[:42]
        cv2.imwrite(str(folder / f'{index}.png'), image[..., ::-1])
    out = tmp_path / 'out'
    assert main([str(folder), '--out', str(out), '--write', 'npz', *arguments]) == 0
    saved = [np.load(path) for path in sorted(out.glob('*/keyframes.npz'))]
    assert [len(each['stamp_ns']) for each in saved] == [NUM_FRAMES // 2] * 2


def test_a_full_disk_leaves_what_was_inferred(short_bag, tmp_path, arguments):
    """Nothing half written is called an output."""
    out = tmp_path / 'out'
    ended = subprocess.run(
        ['bash', '-c', 'ulimit -f 4; exec "$@"', '-', sys.executable, short_recording.__file__,
         str(short_bag), '--out', str(out), *arguments],
        capture_output=True, text=True, check=False)
    assert ended.returncode == ExitCode.OUTPUT, ended.stderr
    assert '--resume goes on' in ended.stderr
    assert not out.exists()


@pytest.mark.usefixtures('steady')
def test_what_is_left_of_a_cut_bag_comes_out_with_its_own_status(
        short_bag, tmp_path, arguments, capsys):
    """And report and summary say what was lost."""
    cut, out = tmp_path / 'cut.mcap', tmp_path / 'out'
    data = next(short_bag.glob('*.mcap')).read_bytes()
    cut.write_bytes(data[:-100])
    assert main([str(cut), '--out', str(out), *arguments, '--write', 'tum']) == ExitCode.PARTLY
    assert 'cut.mcap has no end' in capsys.readouterr().err
    summary = json.loads((out / 'summary.json').read_text())
    assert summary['counts']['num_keyframes'] == NUM_FRAMES
    assert 'cut.mcap has no end' in summary['losses'][0]
    assert 'cut.mcap has no end' in (out / 'report.html').read_text()


@pytest.mark.parametrize(('words', 'code', 'complaint'), [
    (['{bag}', '-p', 'window.size:=two'], ExitCode.ARGUMENTS, 'expected a whole number'),
    (['{bag}', '-p', 'windows.size:=2'], ExitCode.ARGUMENTS, 'windows.size, which there are not'),
    (['{bag}', '-p', 'window.size:=100000'], ExitCode.ARGUMENTS, 'window.size: got 100000'),
    (['{bag}', '-p', 'scale.source:=tf'], ExitCode.ARGUMENTS, 'expected tf.mode map_to_odom'),
    (['{bag}', '--out', '{tmp}'], ExitCode.ARGUMENTS, 'which exists'),
    (['{tmp}/none'], ExitCode.INPUT, 'got nothing, expected a bag'),
    (['{bag}', '--image', '/front'], ExitCode.INPUT,
     r'got /front, expected a topic of .*the bag has .*/camera/image (sensor_msgs/msg/Image, 10'),
    (['{bag}', '-p', 'model.weights:={tmp}/none.safetensors'], ExitCode.NETWORK, 'none'),
])
def test_what_is_wrong_is_said_in_a_line_with_a_code(
        words, code, complaint, short_bag, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    texts = [word.format(bag=short_bag, tmp=tmp_path) for word in words]
    assert main([*texts, '-p', 'model.name:=da3-tiny']) == code
    error = capsys.readouterr().err
    for part in complaint.split('.*'):
        assert part in error
    assert 'Traceback' not in error
    assert not list(tmp_path.iterdir())


def test_the_nodes_own_file_is_read(tmp_path):
    """config/da3.yaml gives the defaults; a value of the node outdoes one of all."""
    root = Path(__file__).parents[2]
    assert read_settings(root / 'config/da3.yaml') == read_settings(None)
    file = tmp_path / 'mine.yaml'
    file.write_text('/**:\n  ros__parameters:\n    window: {size: 6}\n'
                    '/da3:\n  ros__parameters:\n    window.size: 8\n')
    assert read_settings(file).window.size == 8


@pytest.mark.usefixtures('steady')
def test_json_lines_and_no_lines(short_bag, tmp_path, arguments, capfd):
    """A program can follow; who wants quiet gets it."""
    base = [str(short_bag), *arguments, '--write', 'tum', '--out']
    assert main([*base, str(tmp_path / 'a'), '--log', 'json']) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert lines[-1]['event'] == 'done'
    assert lines[-1]['images'] == lines[-1]['keyframes'] == NUM_FRAMES
    assert lines[-1]['times_real_time'] > 0.0
    assert main([*base, str(tmp_path / 'b'), '--quiet']) == 0
    captured = capfd.readouterr()
    assert captured.out == captured.err == ''


def test_who_has_many_recordings_calls_a_function(processed, short_bag, tmp_path):
    """The same outputs, from an engine that is there already; what is raised has a number."""
    told, settings = [], read_settings(None, PARAMETERS)
    loaded = load_steady_engine(settings)
    job = Job(Recording(short_bag), settings, tmp_path / 'out')
    done = process_recording(
        job, load=lambda _settings, **_report: loaded,
        tell=lambda counts, num_images: told.append((counts.num_frames, num_images)))
    assert (done.out, done.is_whole, done.num_repeated) == (job.out, True, 0)
    assert tree(done.out) == tree(processed)
    assert told[-1] == (NUM_FRAMES, NUM_FRAMES)
    with pytest.raises(ValueError, match='which exists') as raised:
        process_recording(job)
    assert ExitCode.of(raised.value) == ExitCode.ARGUMENTS
    with pytest.raises(InputError) as raised:
        process_recording(Job(Recording(tmp_path / 'none'), settings, tmp_path / 'other'))
    assert ExitCode.of(raised.value) == ExitCode.INPUT
    assert ExitCode.of(KeyError()) == ExitCode.FAULT
