# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Several cameras, and where they were: by the robot's transforms, or by a file."""

import dataclasses
import json

import cv2
from da3_ros.demo.messages import MessageCodec
from da3_ros.demo.readback import read_truth
from da3_ros.geometry import rigid
from da3_ros.offline import process
from da3_ros.offline.exit_code import ExitCode
from da3_ros.offline.process import main
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores
from scipy.spatial.transform import Rotation
from short_recording import load_steady_engine, NUM_FRAMES, SteadyEngine

BASE_T_CAMERA = rigid.from_rotation_translation(rigid.BODY_R_OPTICAL, np.array([0.1, 0.0, 0.5]))
LATE_NS = 7_000_000


class AskedEngine(SteadyEngine):
    """Keeps what it is asked, and takes poses that it is given."""

    def __init__(self):
        """Not asked yet."""
        self.poses, self.num_views = [], []

    def infer(self, images, *, poses=None, intrinsics=None):
        """Answer as ever, from where it is told."""
        self.num_views.append(len(images))
        self.poses.append(poses)
        answer = super().infer(images, intrinsics=intrinsics)
        return answer if poses is None else dataclasses.replace(answer, poses=poses)


@pytest.fixture
def engine(monkeypatch):
    """Give the engine that the command runs."""
    engine = AskedEngine()

    def load(settings, *, report=None):
        return dataclasses.replace(load_steady_engine(settings, report=report), engine=engine)

    monkeypatch.setattr(process, 'load_engine', load)
    return engine


def robot_bag(path, film, cameras=('camera',), *, moving=True):
    """Write the film as a robot would have: each camera, /tf of odom, /tf_static of cameras."""
    codec, store = MessageCodec(), get_typestore(Stores.ROS2_JAZZY)
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topics = {}

        def write(topic, time_ns, message):
            if topic not in topics:
                topics[topic] = writer.add_connection(
                    topic, message.__msgtype__, typestore=store)
            writer.write(
                topics[topic], time_ns, store.serialize_cdr(message, message.__msgtype__))

        for index, (stamp_ns, view) in enumerate(read_truth(film).items()):
            height, width = view.image.shape[:2]
            for number, name in enumerate(cameras):
                frame, stamp = f'{name}_optical', stamp_ns + number * LATE_NS
                info = codec.camera_info(
                    view.intrinsics, stamp, frame, width=width, height=height)
                write(f'/{name}/camera_info', stamp, info)
                write(f'/{name}/image_raw', stamp, codec.image(view.image, stamp, frame))
                write(f'/{name}/depth/image', stamp, codec.image(view.image, stamp, frame))
                if index == 0:
                    write('/tf_static', stamp, codec.transform(
                        mount(number), stamp, parent='base_link', child=frame))
            if moving:
                # Recorded later than the image, and not at its time.
                for offset_ns in (-LATE_NS, 2 * LATE_NS):
                    odom_T_base = odometry(index + offset_ns / 2e8)
                    write('/tf', stamp_ns + 10**8, codec.transform(
                        odom_T_base, stamp_ns + offset_ns, parent='odom', child='base_link'))
    return path


def mount(number):
    """Give base_T_camera."""
    base_T_camera = BASE_T_CAMERA.copy()
    base_T_camera[1, 3] = -0.3 * number
    return base_T_camera


def odometry(steps):
    """Give odom_T_base: forward, in a line."""
    pose = np.eye(4)
    pose[0, 3] = 0.25 * steps
    return pose


def summary(out):
    """Read what came out."""
    return json.loads((out / 'summary.json').read_text())


def test_the_cameras_of_a_rig_are_inferred_together(short_bag, tmp_path, arguments, engine):
    """Metres come from their distance on /tf_static, as in the node."""
    bag, out = robot_bag(tmp_path / 'bag', short_bag, ('left', 'right')), tmp_path / 'out'
    assert main([str(bag), '--out', str(out), *arguments, '-p', 'camera.names:=[left, right]',
                 '-p', 'scale.source:=rig', '--write', 'npz']) == ExitCode.WRITTEN
    files = [np.load(path) for path in sorted(out.glob('*/keyframes*.npz'))]
    assert {str(each['frame_id'][0]) for each in files} == {'left_optical', 'right_optical'}
    assert [len(each['stamp_ns']) for each in files] == [NUM_FRAMES] * 2
    assert set(engine.num_views) == {4}
    assert summary(out)['counts']['num_frames'] == 2 * NUM_FRAMES
    assert summary(out)['source'] == (
        '/left/image_raw with /left/camera_info, /right/image_raw with /right/camera_info')


@pytest.mark.parametrize(('names', 'options', 'code', 'complaint'), [
    ('[left, top]', [], ExitCode.INPUT, 'expected a topic of camera top (with top between'),
    ('[left, up]', ['--image', 'up:=/right/image_raw'], ExitCode.WRITTEN, ''),
    ('[left, up]', ['--image', 'up:=/left/image_raw'], ExitCode.INPUT,
     'got /left/image_raw for the cameras left and up'),
    ('[left, right]', ['--image', '/left/image_raw'], ExitCode.ARGUMENTS,
     "image: got '/left/image_raw', expected NAME:=TOPIC with a name of camera.names, left, ri"),
    ('[left, right]', ['--image', 'top:=/left/image_raw'], ExitCode.ARGUMENTS, 'expected NAME:='),
    ("['']", ['--image', 'left:=/left/image_raw'], ExitCode.ARGUMENTS, 'expected TOPIC'),
    ("['']", [], ExitCode.INPUT, 'the bag has several cameras; name one'),
    ("['']", ['--image', '/right/image_raw'], ExitCode.WRITTEN, ''),
])
@pytest.mark.usefixtures('engine')
def test_topics_of_a_rig(names, options, code, complaint, short_bag, tmp_path, arguments, capsys):
    """Found by the names of the cameras, or given; what is wrong is told."""
    bag = robot_bag(tmp_path / 'bag', short_bag, ('left', 'right'))
    assert main([str(bag), '--out', str(tmp_path / 'out'), *arguments, '-p',
                 f'camera.names:={names}', '--write', 'tum', *options]) == code
    assert complaint in capsys.readouterr().err


def test_the_robots_poses_condition_the_windows(short_bag, tmp_path, arguments, engine):
    """Interpolated at the stamps of the images, from transforms that were recorded later."""
    bag, out = robot_bag(tmp_path / 'bag', short_bag), tmp_path / 'out'
    assert main([str(bag), '--out', str(out), *arguments, '-p', 'scale.source:=pose', '-p',
                 'tf.mode:=map_to_odom', '--write', 'npz']) == ExitCode.WRITTEN
    expected = [odometry(index) @ mount(0) for index in range(NUM_FRAMES)]
    np.testing.assert_allclose(engine.poses[-1], expected[-4:], atol=1e-9)
    saved = np.load(next(out.glob('*/keyframes.npz')))
    assert saved['is_metric'].all()
    # In the robot's own frame.
    np.testing.assert_allclose(saved['frame_T_camera'], expected, atol=1e-6)
    assert str(saved['frame'][0]) == 'map'


@pytest.mark.parametrize(('moving', 'code', 'told'), [
    (True, ExitCode.PARTLY,
     'without a pose, odom from camera_optical: odom -> base_link is known'),
    (False, ExitCode.PARTLY, 'odom and camera_optical are not in one tree of frames'),
])
@pytest.mark.usefixtures('engine')
def test_images_without_a_transform_are_told(
        moving, code, told, short_bag, tmp_path, arguments, capsys):
    bag, out = tmp_path / 'bag', tmp_path / 'out'
    robot_bag(bag, short_bag, moving=moving)
    if moving:
        cut = tmp_path / 'cut'
        cut_transforms(bag, cut)
        bag = cut
    assert main([str(bag), '--out', str(out), *arguments, '-p', 'scale.source:=tf', '-p',
                 'tf.mode:=none', '--write', 'tum']) == code
    assert told in capsys.readouterr().err
    assert any(told in line for line in summary(out)['losses'])


def cut_transforms(bag, out):
    """Copy a bag without the transforms of its second half, as of an odometry that died."""
    from rosbags.rosbag2 import Reader
    store = get_typestore(Stores.ROS2_JAZZY)
    with Reader(bag) as reader, Writer(out, version=9) as writer:
        topics = {c.topic: writer.add_connection(c.topic, c.msgtype, typestore=store)
                  for c in reader.connections}
        middle = (reader.start_time + reader.end_time) // 2
        for connection, time_ns, data in reader.messages():
            if connection.topic != '/tf' or time_ns < middle:
                writer.write(topics[connection.topic], time_ns, data)


@pytest.mark.usefixtures('engine')
def test_a_recording_without_transforms_is_refused_where_they_are_needed(
        short_bag, tmp_path, arguments, capsys):
    views = tmp_path / 'images'
    views.mkdir()
    for index, view in enumerate(read_truth(short_bag).values()):
        cv2.imwrite(str(views / f'{index}.png'), view.image)
    assert main([str(views), '--out', str(tmp_path / 'out'), *arguments, '-p',
                 'scale.source:=tf', '-p', 'tf.mode:=none']) == ExitCode.INPUT
    assert "scale.source: got 'tf', and the recording has no /tf" in capsys.readouterr().err


def test_poses_that_condition_nothing_are_told(short_bag, tmp_path, arguments, engine):
    """As those of images without a calibration."""
    folder, poses, out = tmp_path / 'images', tmp_path / 'poses.txt', tmp_path / 'out'
    folder.mkdir()
    for index, view in enumerate(read_truth(short_bag).values()):
        cv2.imwrite(str(folder / f'{index}.png'), view.image)
    poses.write_text('0 0 0 0 0 0 0 1\n0.4 1 0 0 0 0 0 1\n0.8 2 0 0 0 0 0 1\n1 3 0 0 0 0 0 1\n')
    assert main([str(folder), '--out', str(out), '--poses', str(poses), '--write', 'tum',
                 *arguments]) == ExitCode.PARTLY
    assert not any(given is not None for given in engine.poses)
    assert summary(out)['losses'] == [
        'no window was conditioned on the poses of the camera (scale.source: pose): that takes a '
        'calibration, a pose of every keyframe, and motion']


@pytest.mark.parametrize('kind', ['tum', 'colmap'])
def test_poses_from_a_file_condition_the_windows(kind, short_bag, tmp_path, arguments, engine):
    """The outputs are in their world; an image without one is told."""
    truth = read_truth(short_bag)
    folder, lines = tmp_path / 'images', []
    folder.mkdir()
    for index, (stamp_ns, view) in enumerate(truth.items()):
        name = f'{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}.png'
        cv2.imwrite(str(folder / name), view.image[..., ::-1])
        if index == 0:
            continue
        pose = view.world_T_camera if kind == 'tum' else rigid.inverse(view.world_T_camera)
        t, q = pose[:3, 3], Rotation.from_matrix(pose[:3, :3]).as_quat()
        lines.append(
            ' '.join(map(repr, map(float, (*t, *q)))) if kind == 'tum' else
            f'{index} ' + ' '.join(map(repr, map(float, (q[3], *q[:3], *t)))) + f' 1 {name}\n')
        lines[-1] = f'{name[:-4]} {lines[-1]}' if kind == 'tum' else lines[-1]
    poses = tmp_path / ('poses.txt' if kind == 'tum' else 'images.txt')
    poses.write_text('\n'.join(lines) + '\n')
    k = next(iter(truth.values())).intrinsics
    calibration = tmp_path / 'camera.yaml'
    calibration.write_text(
        f'image_width: 84\nimage_height: 56\ncamera_matrix:\n  data: {k.ravel().tolist()}\n')
    out = tmp_path / 'out'
    assert main([str(folder), '--out', str(out), '--poses', str(poses), '--write', 'npz',
                 '--calibration', str(calibration), *arguments]) == ExitCode.PARTLY
    expected = np.stack([view.world_T_camera for view in truth.values()])
    np.testing.assert_allclose(engine.poses[-1], expected[-4:], atol=1e-6)
    losses = summary(out)['losses']
    assert len(losses) == 1
    assert losses[0].startswith('1 image without a pose, in the given poses: ')
    saved = np.load(next(out.glob('*/keyframes.npz')))
    assert saved['stamp_ns'].tolist() == [*truth]
    np.testing.assert_allclose(saved['frame_T_camera'][1], expected[1], atol=1e-5)
