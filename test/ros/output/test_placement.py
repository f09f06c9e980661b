# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Keyframes are placed in the robot's frames, and no frame gets a second parent."""

from dataclasses import replace
import logging

from da3_ros.geometry import rigid
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.ros.conversions import from_transform
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.output import placement
from da3_ros.ros.output.placement import KeyframePlacer
from da3_ros.ros.parameters.settings import TfSettings
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

BASE_T_CAMERA = rigid.from_rotation_translation(
    Rotation.from_euler('y', 0.3).as_matrix() @ rigid.BODY_R_OPTICAL, np.array([0.2, 0.0, 0.5]))


class Frames:
    """The robot's frames by hand: who publishes what, and where the robot says that it is."""

    def __init__(self) -> None:
        """Know the mounting of the camera only."""
        self.odom_T_base = {}
        self.known_parents = {}

    def parents(self, child):
        """Return the parents that were announced."""
        return frozenset(self.known_parents.get(child, ()))

    def ask(self, keyframe):
        """Add what the robot says of a keyframe."""
        odom_T_base = self.odom_T_base.get(keyframe.stamp_ns)
        return replace(
            keyframe, base_T_camera=BASE_T_CAMERA,
            robot_T_camera=None if odom_T_base is None else odom_T_base @ BASE_T_CAMERA)


def planar(x, y, heading):
    """Give the pose of a base on the floor."""
    return rigid.from_rotation_translation(
        Rotation.from_euler('z', heading).as_matrix(), np.array([x, y, 0.0]))


BASES = [planar(0.0, 0.0, 0.0), planar(0.5, 0.1, 0.2), planar(1.0, 0.3, 0.5)]


def keyframes(bases=BASES):
    """Give what the pipeline makes of a drive: poses in a world that starts at a level camera."""
    start_T_world = rigid.from_rotation_translation(rigid.BODY_R_OPTICAL, np.zeros(3)) @ (
        rigid.inverse(bases[0] @ BASE_T_CAMERA))
    depth = np.ones((2, 2), np.float32)
    image = np.zeros((2, 2, 3), np.uint8)
    for index, base in enumerate(bases):
        pose = start_T_world @ base @ BASE_T_CAMERA
        yield PosedKeyframe(
            index, 1000 + index, 'camera', image, depth, None, np.eye(3), pose, 0, True)


@pytest.fixture
def frames():
    """Give the robot's frames."""
    return Frames()


@pytest.fixture
def counters():
    """Give counters."""
    return Counters()


@pytest.fixture
def warnings():
    """Give the warnings; where launch is imported, loggers hand nothing on to caplog."""
    texts = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: texts.append(record.getMessage())
    logging.getLogger(placement.__name__).addHandler(handler)
    yield texts
    logging.getLogger(placement.__name__).removeHandler(handler)


def links(placed):
    """Give the transforms by parent and child."""
    return {
        (message.header.frame_id, message.child_frame_id): from_transform(message.transform)
        for message in placed.transforms
    }


def test_camera_mode_publishes_the_pose_itself(frames, counters):
    """From odom to the camera."""
    placer = KeyframePlacer(TfSettings(), frames, counters)
    for keyframe in keyframes():
        placed = placer.place(frames.ask(keyframe), np.eye(4))
        np.testing.assert_allclose(
            links(placed)['odom', 'camera'], keyframe.odom_T_camera, atol=1e-9)
        assert (placed.world_frame, placed.body_frame) == ('odom', 'camera')


def test_odom_to_base_recovers_the_drive(frames, counters):
    """The base starts at the origin, upright, whatever the tilt of its camera."""
    placer = KeyframePlacer(TfSettings(mode='odom_to_base'), frames, counters)
    for base, keyframe in zip(BASES, keyframes(), strict=True):
        placed = placer.place(frames.ask(keyframe), np.eye(4))
        np.testing.assert_allclose(links(placed)['odom', 'base_link'], base, atol=1e-9)
        np.testing.assert_allclose(placed.world_T_body, base, atol=1e-9)
        np.testing.assert_allclose(placed.world_T_camera, base @ BASE_T_CAMERA, atol=1e-9)


def test_map_to_odom_corrects_the_wheels(frames, counters):
    """Wheels that slip: map -> odom -> base is where the camera says."""
    slipping = [base @ planar(0.1 * index, 0.0, 0.05 * index) for index, base in enumerate(BASES)]
    frames.odom_T_base = {1000 + index: base for index, base in enumerate(slipping)}
    placer = KeyframePlacer(TfSettings(mode='map_to_odom'), frames, counters)
    for index, keyframe in enumerate(keyframes()):
        placed = placer.place(frames.ask(keyframe), np.eye(4))
        map_T_odom = links(placed)['map', 'odom']
        np.testing.assert_allclose(map_T_odom @ slipping[index], BASES[index], atol=1e-9)
        np.testing.assert_allclose(placed.world_T_body, BASES[index], atol=1e-9)
        assert placed.world_frame == 'map'
        if index == 0:
            np.testing.assert_allclose(map_T_odom, np.eye(4), atol=1e-9)


def test_corrections_of_the_past_move_the_map_and_not_odom(frames, counters):
    """In odom_to_base the correction acts on map -> odom only, in the robot's own axes."""
    correction = planar(0.0, 2.0, 0.0)
    settings = TfSettings(mode='odom_to_base', publish_map=True)
    placer = KeyframePlacer(settings, frames, counters)
    first, second, _ = keyframes()
    placed = links(placer.place(frames.ask(first), np.eye(4)))
    assert placed['map', 'odom'] == pytest.approx(np.eye(4))
    placed = links(placer.place(frames.ask(second), correction))
    np.testing.assert_allclose(placed['odom', 'base_link'], BASES[1], atol=1e-9)
    start_T_odom = keyframes_start()
    np.testing.assert_allclose(
        placed['map', 'odom'],
        rigid.inverse(start_T_odom) @ correction @ start_T_odom, atol=1e-9)


def keyframes_start():
    """Give the pipeline's world seen from odom's: ``start_T_odom``."""
    first = next(keyframes())
    return first.odom_T_camera @ rigid.inverse(BASE_T_CAMERA)


@pytest.mark.parametrize('segment', [0, 1])
@pytest.mark.parametrize('jump', [planar(1.0, 0.0, 0.0), planar(0.0, 0.0, 0.8)])
def test_the_other_cameras_go_on_with_the_motion_but_not_with_a_jump(
        frames, counters, segment, jump):
    """Three instants at 0.1 m each, then one that lies elsewhere; a second camera 0.3 later."""
    placer = KeyframePlacer(TfSettings(mode='odom_to_base'), frames, counters)
    for instant in range(4):
        is_jump = instant == 3
        first, second = (
            planar(0.1 * steps, 0.0, 0.0) @ (jump if is_jump else np.eye(4))
            for steps in (instant, instant + 0.3))
        start = keyframes([planar(0.0, 0.0, 0.0), first, second])
        next(start)
        for number, (keyframe, base) in enumerate(zip(start, (first, second), strict=True)):
            placed = placer.place(replace(
                frames.ask(keyframe), id=2 * instant + number,
                stamp_ns=100 * instant + 30 * number, instant=instant,
                segment=segment if is_jump else 0), np.eye(4))
            # Of the second camera the motion is known only if there was one before.
            expected = first if instant == 0 or is_jump else base
            np.testing.assert_allclose(placed.world_T_body, expected, atol=1e-9)


def test_a_session_begins_at_the_origin_again(frames, counters):
    """What the placer learnt about the old world is forgotten."""
    for start in (keyframes(), keyframes(BASES[1:])):
        placer = KeyframePlacer(TfSettings(mode='odom_to_base'), frames, counters)
        placed = placer.place(frames.ask(next(start)), np.eye(4))
        np.testing.assert_allclose(placed.world_T_body, np.eye(4), atol=1e-9)


def test_missing_transforms_cost_the_pose_only(frames, counters):
    """Nobody told where the wheels are."""
    placer = KeyframePlacer(TfSettings(mode='map_to_odom'), frames, counters)
    for keyframe in keyframes():
        assert placer.place(frames.ask(keyframe), np.eye(4)) is None


@pytest.mark.parametrize('parent', ['camera_link', 'odom'])
def test_a_frame_gets_no_second_parent(frames, counters, warnings, parent):
    """Not even the same one from somebody else, who was there before."""
    frames.known_parents = {'camera': {parent}}
    placer = KeyframePlacer(TfSettings(), frames, counters)
    for keyframe in keyframes():
        placed = placer.place(frames.ask(keyframe), np.eye(4))
        assert placed.transforms == ()
        np.testing.assert_array_equal(placed.world_T_body, keyframe.odom_T_camera)
    assert counters[Event.TF_CONFLICT] == 3
    assert len(warnings) == 1


@pytest.mark.parametrize(('mode', 'child', 'parent', 'advice'), [
    ('camera', 'camera', 'camera_link',
     'camera has the parent camera_link already, as on a robot with a URDF, which tf.mode: camera '
     'is not for: odometry and path are in odom, which TF does not connect to it. Set tf.mode: '
     'odom_to_base if this node is the odometry of the robot, map_to_odom if it has another'),
    ('camera', 'odom', 'map', 'end one of the two, or set tf.publish_map: false'),
    ('odom_to_base', 'odom', 'map', 'end one of the two, or set tf.publish_map: false'),
    ('odom_to_base', 'base_link', 'odom', 'set tf.mode: map_to_odom'),
    ('map_to_odom', 'odom', 'map', 'end one of the two, or set tf.mode: none'),
])
def test_what_to_set_is_told_where_somebody_else_publishes(
        frames, counters, warnings, mode, child, parent, advice):
    """By what the node is asked to be for the robot."""
    frames.known_parents = {child: {parent}}
    frames.odom_T_base = {1000: BASES[0]}
    placer = KeyframePlacer(TfSettings(mode=mode, publish_map=True), frames, counters)
    placed = placer.place(frames.ask(next(keyframes())), np.eye(4))
    assert child not in {link for _, link in links(placed)}
    (warning,) = warnings
    assert advice in warning


def test_a_parent_that_comes_later_ends_the_transforms(frames, counters):
    """The robot is right."""
    placer = KeyframePlacer(TfSettings(), frames, counters)
    first, second, _ = keyframes()
    assert len(placer.place(frames.ask(first), np.eye(4)).transforms) == 1
    frames.known_parents = {'camera': {'camera_link'}}
    assert placer.place(frames.ask(second), np.eye(4)).transforms == ()


def test_mode_none_gives_poses_without_transforms(counters):
    """For who wants the odometry message only."""
    placer = KeyframePlacer(TfSettings(mode='none'), None, counters)
    placed = placer.place(next(keyframes()), np.eye(4))
    assert placed.transforms == ()
    assert placed.world_frame == 'odom'


@pytest.mark.parametrize('mode', ['camera', 'odom_to_base', 'map_to_odom', 'none'])
@pytest.mark.parametrize('publish_map', [False, True])
def test_the_map_is_shown_where_the_poses_are(mode, publish_map, frames, counters):
    """A point seen by the newest camera lies in the map where the transforms bring it."""
    correction = rigid.from_rotation_translation(
        Rotation.from_euler('z', 0.4).as_matrix(), np.array([0.3, -0.2, 0.0]))
    for index, base in enumerate(BASES):
        frames.odom_T_base[1000 + index] = base
    settings = TfSettings(mode=mode, publish_map=publish_map)
    placer = KeyframePlacer(settings, None if mode == 'none' else frames, counters)
    in_camera = np.array([0.3, 0.1, 2.0])
    for index, keyframe in enumerate(keyframes()):
        map_T_odom = np.eye(4) if index == 0 else correction
        placed = placer.place(frames.ask(keyframe), map_T_odom)
        in_map = rigid.transform_points(map_T_odom @ keyframe.odom_T_camera, in_camera)
        shown = rigid.transform_points(placed.path_T_map, in_map)
        in_world = rigid.transform_points(placed.world_T_camera, in_camera)
        links = {link.header.frame_id: from_transform(link.transform) for link in placed.transforms
                 if (link.header.frame_id, link.child_frame_id) == (placed.path_frame, 'odom')}
        if placed.path_frame != placed.world_frame:
            in_world = rigid.transform_points(links[placed.path_frame], in_world)
        np.testing.assert_allclose(shown, in_world, atol=1e-9)
    is_map_on_tf = mode == 'map_to_odom' or (publish_map and mode != 'none')
    assert placed.path_frame == ('map' if is_map_on_tf else 'odom')


@pytest.mark.parametrize('mode', ['camera', 'odom_to_base', 'map_to_odom'])
@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_pose_that_is_not_finite_never_gets_out(mode, value):
    """Neither the keyframe's nor the map's; the next sound one does."""
    counters = Counters()
    frames = Frames()
    frames.odom_T_base = {1000 + index: base for index, base in enumerate(BASES)}
    placer = KeyframePlacer(TfSettings(mode=mode), frames, counters)
    first, second, third = keyframes()
    wrong = np.full((4, 4), value)
    assert placer.place(frames.ask(first), wrong) is None
    assert placer.place(frames.ask(replace(second, odom_T_camera=wrong)), np.eye(4)) is None
    assert placer.place(frames.ask(third), np.eye(4)).transforms
    assert counters[Event.TF_NOT_FINITE] == 2
