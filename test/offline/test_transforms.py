# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The frames of a recording, against tf2 itself; and poses that a person gives."""

from da3_ros.errors import InputError
from da3_ros.offline.input.given_poses import read_poses
from da3_ros.offline.input.transforms import TransformTree
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

MS = 10**6


def random_tree(random):
    """Give the transforms of a robot: (parent, child, stamp, values, is_static)."""
    def pose(turn=0.2):
        return (*random.normal(size=3), *Rotation.from_rotvec(
            random.normal(size=3) * turn).as_quat())

    moving = [('map', 'odom', 500), ('odom', 'base', 40), ('base', 'arm', 100)]
    for parent, child, period in moving:
        for stamp in range(1000, 3001, period):
            yield parent, child, stamp * MS, pose(), False
    yield 'base', 'camera_link', 0, pose(2.0), True
    yield 'camera_link', 'camera', 0, pose(2.0), True


def to_tf2(each):
    """Make a message of tf2."""
    from builtin_interfaces.msg import Time
    from geometry_msgs.msg import TransformStamped

    parent, child, stamp_ns, values, _ = each
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp = Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    names = ('translation.x', 'translation.y', 'translation.z', 'rotation.x', 'rotation.y',
             'rotation.z', 'rotation.w')
    for name, value in zip(names, values, strict=True):
        part, axis = name.split('.')
        setattr(getattr(message.transform, part), axis, float(value))
    return message


def test_the_tree_answers_as_tf2():
    """At stamps, between them, before and after them; up, down and across the tree."""
    tf2_ros = pytest.importorskip('tf2_ros')
    from rclpy.time import Time

    random = np.random.default_rng(3)
    links = list(random_tree(random))
    tree, buffer = TransformTree(), tf2_ros.Buffer()
    for index in random.permutation(len(links)):
        parent, child, stamp_ns, values, is_static = links[index]
        tree.add('/' + parent, child, stamp_ns, values, is_static=is_static)
        set_transform = buffer.set_transform_static if is_static else buffer.set_transform
        set_transform(to_tf2(links[index]), 'test')
    frames = ['map', 'odom', 'base', 'arm', 'camera', 'nowhere']
    num_found = 0
    for _ in range(300):
        target, source = random.choice(frames, 2)
        stamp_ns = int(random.integers(900, 3100)) * MS + int(random.integers(2)) * 12345
        found = tree.look_up(str(target), str(source), stamp_ns)
        try:
            expected = buffer.lookup_transform(
                str(target), str(source), Time(nanoseconds=stamp_ns)).transform
        except tf2_ros.TransformException:
            assert isinstance(found, str) or target == source == 'nowhere', (target, source)
            continue
        num_found += 1
        assert not isinstance(found, str), found
        t, q = expected.translation, expected.rotation
        np.testing.assert_allclose(found[:3, 3], [t.x, t.y, t.z], atol=1e-9)
        np.testing.assert_allclose(
            found[:3, :3], Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), atol=1e-9)
    assert num_found > 100


def test_what_tf2_refuses_is_passed_over():
    """NaN, no rotation, no name, a frame above itself."""
    tree = TransformTree()
    nan = float('nan')
    for parent, child, values in (
            ('a', 'b', (nan, 0, 0, 0, 0, 0, 1)), ('a', 'b', (0, 0, 0, 0, 0, 0, 0)),
            ('', 'b', (0, 0, 0, 0, 0, 0, 1)), ('b', 'b', (0, 0, 0, 0, 0, 0, 1))):
        tree.add(parent, child, 0, values)
    assert not tree
    for parent, child in (('a', 'b'), ('b', 'a')):
        tree.add(parent, child, 0, (0, 0, 0, 0, 0, 0, 1), is_static=True)
    assert 'above itself' in tree.look_up('c', 'a', 0)


def test_why_there_is_no_transform_is_told():
    tree = TransformTree()
    for stamp_ns in (10**9, 2 * 10**9):
        tree.add('odom', 'base', stamp_ns, (0, 0, 0, 0, 0, 0, 1))
    assert tree.look_up('odom', 'base', 3 * 10**9) == (
        'odom -> base is known from 1.000 to 2.000 s, not at 3.000 s')
    assert tree.look_up('odom', 'lidar', 10**9) == 'odom and lidar are not in one tree of frames'


TUM = (
    '# timestamp tx ty tz qx qy qz qw\n10.0 0 0 0 0 0 0 1\n\n10.2,2,0,0,0,0,0,1\n'
    '11.5 4 0 0 0 0 0 1\n')


def test_a_tum_file_is_read_between_its_stamps(tmp_path):
    """Not beyond them, and not where they are too far apart."""
    path = tmp_path / 'poses.txt'
    path.write_text(TUM)
    given = read_poses(path)
    assert given.pose('', 10 * 10**9 + 50_000)[0, 3] == 0.0
    assert given.pose('', 10_150_000_000)[0, 3] == pytest.approx(1.5)
    assert 'knows poses from 10.0000 to 11.5000 s only' in given.pose('', 9 * 10**9)
    assert 'from 10.0000 to 11.5000 s only' in given.pose('', 12 * 10**9)
    assert 'close enough in time' in given.pose('', 11 * 10**9)


@pytest.mark.parametrize(('line', 'complaint'), [
    ('1 2 3', 'got 3 values in .*poses.txt, line 2, expected 8'),
    ('a 0 0 0 0 0 0 1', "got 'a' in .*line 2, expected seconds"),
    ('nan 0 0 0 0 0 0 1', "got 'nan' in .*line 2, expected seconds"),
    ('2 0 x 0 0 0 0 1', 'in .*line 2, expected numbers'),
    ('2 0 0 0 0 0 0 0', 'in .*line 2, expected finite numbers and a quaternion of length 1'),
    ('2 nan 0 0 0 0 0 1', 'in .*line 2, expected finite numbers and'),
    ('1 0 0 0 0 0 0 1', 'got the stamp 1 again in .*line 2'),
])
def test_what_is_wrong_in_a_file_of_poses_is_told_with_its_line(tmp_path, line, complaint):
    path = tmp_path / 'poses.txt'
    path.write_text(f'1 0 0 0 0 0 0 1\n{line}\n')
    with pytest.raises(InputError, match=complaint):
        read_poses(path)


@pytest.mark.parametrize(('content', 'complaint'), [
    (None, 'No such file'), ('', 'without a pose'), (b'\xff\xfe', 'expected a TUM file'),
    ('folder', 'expected a COLMAP model')])
def test_what_is_no_file_of_poses_is_told(tmp_path, content, complaint):
    path = tmp_path / 'poses.txt'
    if content == 'folder':
        path.mkdir()
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=complaint):
        read_poses(path)


# As COLMAP writes them: `colmap model_converter` of a model with two images.
IMAGES_TXT = """# Image list with two lines of data per image:
#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME
#   POINTS2D[] as (X, Y, POINT3D_ID)
# Number of images: 2, mean observations per image: 0.5
1 0.7071067811865476 0 0 0.7071067811865476 1 2 3 1 left/frame 1.jpg
10.5 20.5 -1
2 1 0 0 0 0 0 0 1 frame2.jpg

"""


def test_a_colmap_model_is_read(tmp_path):
    """Text and binary say the same: camera_T_world by name."""
    import struct

    text = tmp_path / 'sparse' / '0' / 'images.txt'
    text.parent.mkdir(parents=True)
    text.write_text(IMAGES_TXT)
    half = 0.5 ** 0.5
    binary = tmp_path / 'images.bin'
    binary.write_bytes(
        struct.pack('<Q', 2)
        + struct.pack('<I7dI', 1, half, 0, 0, half, 1, 2, 3, 1) + b'left/frame 1.jpg\0'
        + struct.pack('<Q2dq', 1, 10.5, 20.5, -1)
        + struct.pack('<I7dI', 2, 1, 0, 0, 0, 0, 0, 0, 1) + b'frame2.jpg\0'
        + struct.pack('<Q', 0))
    for path in (tmp_path / 'sparse', text, binary):
        given = read_poses(path)
        assert set(given.by_name) == {'frame 1.jpg', 'frame2.jpg'}
        expected = np.linalg.inv(np.array(
            [[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]))
        np.testing.assert_allclose(given.pose('frame 1.jpg', 0), expected, atol=1e-12)
        assert 'does not name the image' in given.pose('frame3.jpg', 0)
    binary.write_bytes(binary.read_bytes()[:80])
    with pytest.raises(InputError, match=r'images\.bin, which cannot be read'):
        read_poses(binary)
    text.write_text('1 1 0 0\n\n')
    with pytest.raises(InputError, match=r'4 values in .*images\.txt, line 1, expected 10'):
        read_poses(text)
