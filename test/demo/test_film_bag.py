# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""The film's bag says what was rendered, and is rendered once."""

import dataclasses

from da3_ros.demo import film_bag as film_bag_module
from da3_ros.demo import topics
from da3_ros.demo.film_bag import film_bag
from da3_ros.demo.messages import MessageCodec
from da3_ros.demo.readback import read_truth
from da3_ros.geometry import camera, rigid
from da3_ros.simulation.renderer import render_depth
import numpy as np
import pytest
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import Reader


def test_the_bag_holds_the_truth_of_every_frame(small_film, small_bag):
    scene, trajectory = small_film.scene(), small_film.trajectory()
    truth = read_truth(small_bag)
    assert list(truth) == [small_film.stamp_ns(i) for i in range(small_film.num_frames)]
    for index, view in enumerate(truth.values()):
        pose = trajectory.world_T_camera[index]
        np.testing.assert_allclose(view.world_T_camera, pose, atol=1e-12)
        np.testing.assert_array_equal(view.depth, render_depth(scene, small_film.lens, pose))
        np.testing.assert_array_equal(view.intrinsics, small_film.lens.intrinsics)
        assert view.image.shape == (48, 64, 3)
        assert view.image.std() > 5.0


def test_depth_in_the_bag_is_where_the_scene_is(small_film, small_bag):
    """Points of all frames lie in the room: depth, intrinsics and poses fit together."""
    scene = small_film.scene()
    for view in read_truth(small_bag).values():
        points = rigid.transform_points(
            view.world_T_camera, camera.unproject(view.depth, view.intrinsics).astype(float))
        inside = np.all((points > scene.lower - 0.4) & (points < scene.upper + 0.4), axis=-1)
        assert inside.all()


def test_players_know_that_static_transforms_are_latched(small_bag):
    with Reader(small_bag) as reader:
        durability = {c.topic: c.ext.offered_qos_profiles[0].durability
                      for c in reader.connections}
        static = next(c for c in reader.connections if c.topic == topics.STATIC_TF)
        _, _, data = next(reader.messages([static]))
    assert durability.pop(topics.STATIC_TF) is QosDurability.TRANSIENT_LOCAL
    assert set(durability.values()) == {QosDurability.VOLATILE}
    transform = MessageCodec().deserialize(data, static.msgtype).transforms[0]
    assert (transform.header.frame_id, transform.child_frame_id) == (
        topics.CAMERA_FRAME, topics.LINK_FRAME)
    q = transform.transform.rotation
    optical_R_link = rigid.from_quaternion(np.array([q.x, q.y, q.z, q.w]))
    np.testing.assert_allclose(optical_R_link @ [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], atol=1e-12)


def test_a_film_is_rendered_once(small_film, small_bag, monkeypatch):
    def fail(*_):
        raise AssertionError('rendered again')

    monkeypatch.setattr(film_bag_module, '_render', fail)
    assert film_bag(small_film, small_bag.parent, say=[].append) == small_bag
    other = dataclasses.replace(small_film, path_seed=small_film.path_seed + 1)
    with pytest.raises(AssertionError, match='rendered again'):
        film_bag(other, small_bag.parent, say=[].append)


def test_half_a_bag_is_rendered_anew(small_film, tmp_path):
    film = dataclasses.replace(small_film, num_frames=3)
    finished = film_bag(film, tmp_path, say=[].append)
    unfinished = finished.with_suffix('.unfinished')
    finished.rename(unfinished)
    next(unfinished.glob('*.mcap')).write_bytes(b'half')
    assert film_bag(film, tmp_path, say=[].append) == finished
    assert len(read_truth(finished)) == 3
    assert not unfinished.exists()
