# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The map goes out when somebody wants it, whole, in time, and where it belongs."""

import threading
import time

from da3_ros.geometry import rigid
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.config import GridConfig, MapConfig
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.points import observe
from da3_ros.mapping.session_record import SessionRecord
from da3_ros.ros.conversions import stamp_ns
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.interface import create_publishers
from da3_ros.ros.output.grid_output import GridOutput
from da3_ros.ros.output.map_publisher import MapPublisher
from nav_msgs.msg import OccupancyGrid
from node_harness import eventually
import numpy as np
import pytest
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from sensor_msgs_py import point_cloud2
from spun_graph import SpunGraph

HEIGHT, WIDTH = 6, 8
K = np.array([[8.0, 0.0, 3.5], [0.0, 8.0, 2.5], [0.0, 0.0, 1.0]])
IDENTITY = np.eye(4)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
OBSERVE = 'da3_ros.ros.output.map_publisher.observe'


def keyframe(id_, *, x=0.0):
    """Look at a plane one metre ahead, from somewhere along x."""
    pose = np.eye(4)
    pose[0, 3] = x
    return PosedKeyframe(
        id_, 1_000_000_001 * (id_ + 1), 'camera', np.full((HEIGHT, WIDTH, 3), 90, np.uint8),
        np.ones((HEIGHT, WIDTH), np.float32), np.full((HEIGHT, WIDTH), 4.0, np.float32), K, pose,
        0, True)


class Side(SpunGraph):
    """The node's publisher of maps, and who listens to it."""

    def __init__(self, domain_id) -> None:
        """Start with nobody listening."""
        super().__init__(domain_id)
        self.node = LifecycleNode('da3', context=self.context)
        self._publishers = create_publishers(
            self.node, [''], on_map_subscriber=lambda: self.publisher.catch_up(self.config))
        self.node.trigger_configure()
        self.node.trigger_activate()
        self.counters = Counters()
        self.config = MapConfig(voxel_m=0.01, period_s=0.1)
        self.grid_config = GridConfig(cell_m=0.1, min_height_m=-1.0, max_height_m=1.0)
        self.max_keyframes = 200
        self.record = SessionRecord()
        self.record.show('odom', np.eye(4))
        self.publisher = MapPublisher(
            self._publishers.map, self.counters, self.record, self.config,
            GridOutput(self._publishers.grid, self.record, lambda: self.grid_config))
        self.spin(self.node)

    def add(self, keyframe, map_T_odom=IDENTITY):
        """Publish a keyframe: it is recorded, and fused if somebody listens."""
        packed = self.record.add(keyframe, map_T_odom, max_keyframes=self.max_keyframes)
        self.publisher.add(packed, self.config)

    def correct(self, shift):
        """Move everything."""
        correction = MapCorrection.of([(0, Sim3(1.0, np.eye(3), np.array(shift)))])
        self.record.correct(correction)
        self.publisher.correct(correction)

    def listen_to_grid(self):
        """Subscribe to the grid; give the list of what comes."""
        grids = []
        self.node.create_subscription(OccupancyGrid, '/da3/grid', grids.append, LATCHED)
        return grids

    def listen(self):
        """Subscribe; give the list of what comes."""
        clouds = []
        self.node.create_subscription(PointCloud2, '/da3/map', clouds.append, LATCHED)
        assert eventually(lambda: self._publishers.map.get_subscription_count() > 0)
        return clouds

    @property
    def num_listeners(self) -> int:
        """Return how many subscribe to the map."""
        return self._publishers.map.get_subscription_count()

    def close(self) -> None:
        """End."""
        assert self.publisher.stop(5.0)
        super().close()


@pytest.fixture
def side(domain_id):
    """Give both sides."""
    side = Side(domain_id)
    yield side
    side.close()


@pytest.fixture
def fused(monkeypatch):
    """Give the ids of the keyframes that were fused, in order."""
    ids = []
    monkeypatch.setattr(OBSERVE, lambda keyframe, *arguments, **keywords: (
        ids.append(keyframe.id) or observe(keyframe, *arguments, **keywords)))
    return ids


def positions(cloud):
    """Read the positions."""
    return point_cloud2.read_points_numpy(cloud, ['x', 'y', 'z'])


def test_what_is_remembered_is_fused_for_who_comes_late(side, fused):
    """At once, also where no keyframe comes any more; and only once."""
    for index in range(3):
        side.add(keyframe(index, x=5.0 * index))
    clouds = side.listen()
    assert eventually(lambda: clouds and clouds[-1].width == 3 * HEIGHT * WIDTH)
    assert stamp_ns(clouds[-1].header.stamp) == keyframe(2).stamp_ns
    assert set(point_cloud2.read_points(clouds[-1], ['confidence'])['confidence']) == {4.0}
    for index in (2, 3):
        side.add(keyframe(index, x=5.0 * index))
    assert eventually(lambda: clouds[-1].width == 4 * HEIGHT * WIDTH)
    assert fused == [0, 1, 2, 3]


def test_what_was_missed_while_nobody_listened_is_fused_later(side, fused):
    """A listener that comes back sees no gap, nothing twice, and what waited where it is now."""
    clouds = side.listen()
    for index in range(6):
        if index == 2:
            side.node.destroy_subscription(next(iter(
                subscription for subscription in side.node.subscriptions
                if subscription.topic_name == '/da3/map')))
            assert eventually(lambda: side.num_listeners == 0)
        side.add(keyframe(index, x=5.0 * index))
        if index == 1:
            assert eventually(lambda: clouds and clouds[-1].width == 2 * HEIGHT * WIDTH)
    side.correct([0.0, 7.0, 0.0])
    clouds = side.listen()
    assert eventually(lambda: clouds and clouds[-1].width == 6 * HEIGHT * WIDTH)
    assert positions(clouds[-1])[:, 1].min() > 6.0
    assert sorted(fused) == list(range(6))


def test_what_nobody_asks_for_is_not_fused(side):
    """Where nothing is remembered, who comes gets only what is seen from then on."""
    side.max_keyframes = 0
    side.add(keyframe(0))
    clouds = side.listen()
    side.add(keyframe(1, x=5.0))
    assert eventually(lambda: len(clouds) == 1)
    assert positions(clouds[0])[:, 0].min() > 4.0


def test_an_enabled_map_is_there_for_who_comes_late(side):
    """All of it, with the newest stamp, and again for the one who comes even later."""
    side.config = MapConfig(enabled=True, voxel_m=0.01, period_s=0.1)
    side.add(keyframe(0))
    side.add(keyframe(1, x=5.0))
    for clouds in (side.listen(), side.listen()):
        assert eventually(
            lambda clouds=clouds: clouds and clouds[-1].width == 2 * HEIGHT * WIDTH)
        cloud = clouds[-1]
        assert (cloud.header.frame_id, stamp_ns(cloud.header.stamp)) == ('odom', 2_000_000_002)
        points = point_cloud2.read_points(cloud, ['rgb', 'confidence'])
        assert set(points['rgb'].view(np.uint32)) == {90 << 16 | 90 << 8 | 90}
        np.testing.assert_allclose(points['confidence'], 4.0)


def test_maps_are_rare_and_the_last_is_complete(side):
    """At most one per period; what came meanwhile is in the next."""
    period_s = 0.5
    side.config = MapConfig(voxel_m=0.01, period_s=period_s)
    clouds = side.listen()
    started = time.monotonic()
    for index in range(12):
        side.add(keyframe(index, x=2.0 * index))
        time.sleep(0.05)
    assert eventually(lambda: clouds and clouds[-1].width == 12 * HEIGHT * WIDTH)
    assert len(clouds) <= 2 + (time.monotonic() - started) / period_s


def test_the_correction_of_the_newest_pose_is_applied(side):
    """``map_T_odom`` brings the points into the map, ``path_T_map`` to where it is shown."""
    clouds = side.listen()
    map_T_odom = rigid.from_rotation_translation(np.eye(3), np.array([0.0, 10.0, 0.0]))
    shown_T_map = rigid.from_rotation_translation(np.eye(3), np.array([0.0, 0.0, 100.0]))
    side.record.show('map', shown_T_map)
    side.add(keyframe(0), map_T_odom)
    assert eventually(lambda: len(clouds) == 1)
    assert clouds[0].header.frame_id == 'map'
    np.testing.assert_allclose(
        positions(clouds[0]).mean(axis=0), [0.0, 10.0, 101.0], atol=1e-4)


def test_a_closed_loop_moves_what_was_fused(side):
    """And the moved map goes out without another keyframe."""
    clouds = side.listen()
    side.add(keyframe(0))
    assert eventually(lambda: len(clouds) == 1)
    side.correct([3.0, 0.0, 0.0])
    assert eventually(lambda: len(clouds) == 2)
    np.testing.assert_allclose(
        positions(clouds[1]), positions(clouds[0]) + [3.0, 0.0, 0.0], atol=1e-5)


def test_who_comes_while_a_loop_closes_sees_everything_moved_once(side):
    """The record is corrected already, and the map's own correction comes later."""
    for index in range(3):
        side.add(keyframe(index, x=5.0 * index))
    correction = MapCorrection.of([(0, Sim3(1.0, np.eye(3), np.array([0.0, 7.0, 0.0])))])
    side.record.correct(correction)
    clouds = side.listen()
    # The thread of the map has all the time to do what it must not do yet.
    time.sleep(0.3)
    side.publisher.correct(correction)
    side.add(keyframe(3, x=15.0))
    assert eventually(lambda: clouds and clouds[-1].width == 4 * HEIGHT * WIDTH)
    seen = positions(clouds[-1])
    assert seen[seen[:, 0] < 12.0, 1].mean() == pytest.approx(7.0, abs=1e-4)
    assert seen[seen[:, 0] > 12.0, 1].mean() == pytest.approx(0.0, abs=1e-4)


def test_a_new_session_takes_the_old_map_away(side):
    """At once, and the new one has nothing of it."""
    clouds = side.listen()
    side.add(keyframe(0))
    assert eventually(lambda: len(clouds) == 1)
    side.record.begin_session()
    side.publisher.begin_session()
    assert eventually(lambda: clouds[-1].width == 0)
    side.add(keyframe(1, x=7.0))
    assert eventually(lambda: clouds[-1].width == HEIGHT * WIDTH)
    assert positions(clouds[-1])[:, 0].min() > 6.0


def test_nothing_of_the_old_world_is_fused_into_the_new_one(side, monkeypatch):
    """Neither keyframes nor corrections that waited while one was fused."""
    gate = threading.Event()
    monkeypatch.setattr(OBSERVE, lambda *arguments, **keywords: (
        gate.wait(10.0) and observe(*arguments, **keywords)))
    side.config = MapConfig(enabled=True, voxel_m=0.01, period_s=0.1)
    for index in range(3):
        side.add(keyframe(index, x=5.0 * index))
    side.correct([0.0, 50.0, 0.0])
    side.record.begin_session()
    side.publisher.begin_session()
    side.add(keyframe(3, x=20.0))
    gate.set()
    clouds = side.listen()
    assert eventually(lambda: clouds and clouds[-1].width == HEIGHT * WIDTH)
    assert positions(clouds[-1])[:, 0].min() > 19.0
    assert abs(positions(clouds[-1])[:, 1]).max() < 10.0


def test_fusing_that_falls_behind_leaves_keyframes_out(side, monkeypatch):
    """Memory stays bounded; what is missing is counted."""
    gate = threading.Event()
    monkeypatch.setattr(OBSERVE, lambda *_args, **_kwargs: gate.wait(10.0))
    side.config = MapConfig(enabled=True)
    for index in range(40):
        side.add(keyframe(index))
    assert 40 - 34 <= side.counters[Event.MAP_BEHIND] <= 40 - 32
    gate.set()


def test_a_fault_of_the_map_is_only_the_maps(side, monkeypatch):
    """It is counted, and the next keyframe is fused again."""
    clouds = side.listen()
    with monkeypatch.context() as patch:
        patch.setattr(OBSERVE, None)
        side.add(keyframe(0))
        assert eventually(lambda: side.counters[Event.EXCEPTIONS] == 1)
    side.add(keyframe(1))
    assert eventually(lambda: len(clouds) == 1 and clouds[0].width == HEIGHT * WIDTH)


def test_a_grid_comes_to_who_listens_to_nothing_else(side):
    """In the frame of the map, in the convention of map_server; late ones get it too."""
    grids = side.listen_to_grid()
    side.record.show('map', Sim3(1.0, np.eye(3), np.array([0.05, 20.05, 0.0])).rigid_part())
    side.add(keyframe(0, x=10.0))
    assert eventually(lambda: grids)
    grid = grids[-1]
    assert (grid.header.frame_id, stamp_ns(grid.header.stamp)) == ('map', keyframe(0).stamp_ns)
    assert grid.info.map_load_time == grid.header.stamp
    assert grid.info.resolution == pytest.approx(0.1)
    # The points lie a metre ahead along z; of them x and y are seen from above.
    assert grid.info.origin.position.x == pytest.approx(10.05 - 3.5 / 8.0, abs=0.1)
    assert grid.info.origin.position.y == pytest.approx(20.05 - 2.5 / 8.0, abs=0.1)
    assert grid.info.origin.orientation.w == 1.0
    cells = np.array(grid.data).reshape(grid.info.height, grid.info.width)
    assert (cells.shape, set(np.unique(cells))) == ((7, 9), {-1, 0, 100})
    late = side.listen_to_grid()
    assert eventually(lambda: late)
    assert late[-1].data == grid.data


def test_who_asks_for_the_grid_after_the_map_gets_it_at_once(side):
    """Without a new keyframe; and the map is not sent again."""
    clouds = side.listen()
    side.add(keyframe(0))
    assert eventually(lambda: clouds)
    grids = side.listen_to_grid()
    assert eventually(lambda: grids and grids[-1].data)
    assert len(clouds) == 1


def test_new_settings_of_the_grid_hold_for_the_next_one(side):
    """They may change at any time."""
    grids = side.listen_to_grid()
    side.add(keyframe(0))
    assert eventually(lambda: grids)
    side.grid_config = GridConfig(cell_m=0.05, min_height_m=2.0, max_height_m=3.0)
    side.add(keyframe(1))
    assert eventually(lambda: grids[-1].info.resolution == pytest.approx(0.05))
    assert 100 not in grids[-1].data
