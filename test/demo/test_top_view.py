# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""Point clouds read back and drawn from above."""

from da3_ros.demo.evaluation import at_pixels_of, evaluate
from da3_ros.demo.messages import ColouredPoints, MessageCodec, read_points
from da3_ros.demo.readback import Output, read_truth
from da3_ros.demo.top_view import Area, CEILING_M, published_cloud, rasterize, true_cloud
from da3_ros.geometry import camera, rigid
from da3_ros.geometry.sim3 import Sim3
import numpy as np
import pytest

RED, GREEN = (255, 0, 0), (0, 255, 0)
AREA = Area((-1.0, 1.0, -2.0, 2.0))


def cloud(*rows):
    """Build a cloud of (x, y, z, colour)."""
    return ColouredPoints(
        np.array([row[:3] for row in rows], np.float32), np.array([row[3] for row in rows], 'u1'))


def test_the_highest_point_below_the_ceiling_is_seen():
    for order in (1, -1):
        points = [(0.5, 1.0, 0.2, RED), (0.5, 1.0, 0.9, GREEN), (0.5, 1.0, CEILING_M + 0.1, RED)]
        view = rasterize(cloud(*points[::order]), AREA)
        drawn = np.argwhere(np.any(view.image != 255, axis=-1))
        assert len(drawn) == 1
        row, column = drawn[0]
        assert tuple(view.image[row, column]) == GREEN
        assert view.share == pytest.approx(2 / 3)
        # The first row is the least y, the first column the least x.
        rows, columns = view.image.shape[:2]
        assert row / rows == pytest.approx(0.75, abs=0.01)
        assert column / columns == pytest.approx(0.75, abs=0.01)


def test_points_outside_are_not_drawn():
    view = rasterize(cloud((1.5, 0.0, 0.0, RED), (0.0, -2.5, 0.0, RED)), AREA)
    assert view.share == 0.0
    assert np.all(view.image == 255)


def test_published_points_of_a_perfect_node_lie_on_the_true_ones(small_bag):
    truth = read_truth(small_bag)
    odom_S_world = Sim3(
        0.4, rigid.from_quaternion(np.array([0.1, 0.2, -0.3, 0.9])), np.array([3.0, 1.0, -1.0]))
    outputs = {}
    for stamp, view in truth.items():
        points = camera.unproject(view.depth, view.intrinsics).reshape(-1, 3)
        outputs[stamp] = Output(
            stamp, np.float32(0.4) * at_pixels_of(view.depth, np.empty((24, 32))),
            view.intrinsics, odom_S_world.transform_pose(view.world_T_camera),
            np.float32(0.4) * points, view.image.reshape(-1, 3))
    evaluation = evaluate(truth, outputs, dict.fromkeys(truth, 0))
    published, true = published_cloud(outputs, evaluation), true_cloud(truth, sorted(truth))
    np.testing.assert_allclose(published.points, true.points, atol=1e-4)
    np.testing.assert_array_equal(published.colours, true.colours)


def test_a_point_cloud_is_read_by_its_fields():
    codec = MessageCodec()
    types = codec.typestore.types
    layout = np.dtype({
        'names': ['rgb', 'x', 'y', 'z'], 'formats': ['<u4', '<f4', '<f4', '<f4'],
        'offsets': [20, 0, 4, 8], 'itemsize': 24})
    rows = np.zeros(3, layout)
    rows['x'], rows['y'], rows['z'] = [1.0, 2.0, np.nan], [3.0, 4.0, 0.0], [5.0, 6.0, 1.0]
    rows['rgb'] = [0x00102030, 0x00ff8001, 0]
    field = types['sensor_msgs/msg/PointField']
    header = types['std_msgs/msg/Header'](
        types['builtin_interfaces/msg/Time'](1, 2), 'camera_optical_frame')
    message = types['sensor_msgs/msg/PointCloud2'](
        header=header, height=1, width=3, is_bigendian=False, point_step=24, row_step=72,
        is_dense=False, data=rows.view(np.uint8),
        fields=[field(n, layout.fields[n][1], 7, 1) for n in ('x', 'y', 'z', 'rgb')])
    points = read_points(codec.deserialize(codec.serialize(message), message.__msgtype__))
    np.testing.assert_array_equal(points.points, [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]])
    np.testing.assert_array_equal(points.colours, [[0x10, 0x20, 0x30], [0xff, 0x80, 0x01]])
