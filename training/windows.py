# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Windows of views through seeded scenes, as the arrays that a renderer takes (numpy only).

Seeds below ``FIRST_TRAINING_SEED`` are never trained on: the demo, the tests and the held-out
evaluation draw from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
import math

from da3_ros.geometry.arrays import Array
from da3_ros.simulation.generator import generate_scene, Place
from da3_ros.simulation.scene import Scene, SceneArrays
from da3_ros.simulation.trajectory import Motion, PathLimits, plan_path
import numpy as np
from numpy.typing import NDArray

from training.handling import brought_near, handled, Handling, Mounted, mounted
from training.panoramas import light_row, NUM_LIGHT_COLUMNS
from training.photos import paint, PhotoList
from training.props import furnish, Props

Floats = NDArray[np.float32]

FIRST_TRAINING_SEED = 1_000_000
VIEW_COLUMNS = 20
_RATE_HZ = 2.0
_COURT_SHARE = 0.3
_BLUR_SHARE = 0.4
_MAX_EXPOSURE_SHARE = 0.06
_KEPT_FURNITURE = (0.2, 0.9)
_SALT = 20_261_128


@dataclass(frozen=True)
class Looks:
    """
    What makes training windows look like real ones; without any, scenes are as they are.

    :param photos: of surfaces.
    :param props: furniture and things as meshes.
    :param lights: (K, h, w, 3) small panoramas, see ``panoramas``.
    :param light_share: of scenes that are lit by one of them instead of evenly.
    """

    photos: PhotoList = field(default_factory=PhotoList)
    props: Props = field(default_factory=Props)
    lights: Floats = field(default_factory=lambda: np.zeros((0, 2, 4, 3), np.float32))
    light_share: float = 0.0


@dataclass(frozen=True, eq=False)
class Window:
    """
    A scene and the views of it, in the order of the path.

    :param scene: what is seen.
    :param world_T_camera: (N, 4, 4).
    :param fov_x_rad: horizontal field of view.
    :param motion: (N, 6) rotation vector (camera) and translation (world) during the exposure.
    :param num_cameras: of the body; so many views at a time are of one instant.
    :param distortion: see ``render.cu``.
    :param light: (27,) what falls on surfaces from all around, see ``panoramas.light_row``.
    """

    scene: SceneArrays
    world_T_camera: Array
    fov_x_rad: float
    motion: Array
    num_cameras: int = 1
    distortion: float = 0.0
    light: Floats = field(default_factory=lambda: np.zeros(NUM_LIGHT_COLUMNS, np.float32))


@dataclass(frozen=True, eq=False)
class WindowArrays:
    """
    S windows of N views each, padded to one size.

    :param primitives: (S, P, 16).
    :param materials: (S, P, 13).
    :param lights: (S, L, 7).
    :param environments: (S, 36): the scene's nine columns, then the windows' light.
    :param world_T_camera: (S, N, 4, 4).
    :param tangents: (S,) tangent of half the horizontal field of view.
    :param motion: (S, N, 6).
    :param num_cameras: (S,).
    :param distortion: (S,).
    """

    primitives: Floats
    materials: Floats
    lights: Floats
    environments: Floats
    world_T_camera: Floats
    tangents: Floats
    motion: Floats
    num_cameras: NDArray[np.int64]
    distortion: Floats


def draw_window(
    seed: int, num_views: int, *, handling: Handling | None = None, looks: Looks | None = None
) -> Window:
    """
    Draw a window.

    :param seed: gives the scene, the path and the lens.
    :param num_views: N.
    :param handling: how the camera may be held, shaken, blurred and mounted otherwise than the
        simulated robot's.
    :param looks: photos, meshes and light.
    """
    rng = np.random.default_rng((seed, num_views))
    place = Place.COURT if rng.uniform() < _COURT_SHARE else Place.ROOM
    scene = _scene(seed, place, looks)
    limits = PathLimits(
        speed_m_s=float(rng.uniform(0.2, 0.8)), turn_deg_s=float(rng.uniform(10.0, 40.0)),
        clearance_m=0.25, height_m=(0.25, 1.8))
    motion = list(Motion)[int(rng.integers(len(Motion)))]
    try:
        path = plan_path(
            scene, seed, motion=motion, num_frames=num_views, rate_hz=_RATE_HZ, limits=limits)
    except ValueError:  # too crowded: the next scene of a disjoint range of seeds
        return draw_window(seed + (1 << 40), num_views, handling=handling, looks=looks)
    views = Mounted(path.world_T_camera.copy(), 1)
    exposure = 0.0
    if handling is not None:
        held = handled(rng, views.world_T_camera) if handling.is_free else views.world_T_camera
        near = brought_near(rng, scene, held, handling)
        # Near things, there is no room for another camera.
        views = mounted(rng, held, handling) if near is held else Mounted(near, 1)
        is_blurred = handling.is_free and rng.uniform() < _BLUR_SHARE
        exposure = rng.uniform(0.0, _MAX_EXPOSURE_SHARE) if is_blurred else 0.0
    fov_x_rad = math.radians(rng.uniform(45.0, 100.0))
    window = Window(
        scene=scene.arrays(), world_T_camera=views.world_T_camera,
        motion=exposure * _steps(views.world_T_camera, views.num_cameras), fov_x_rad=fov_x_rad,
        num_cameras=views.num_cameras, distortion=_distortion(rng, fov_x_rad, handling),
    )
    return window if looks is None else _with_looks(window, seed, looks)


def _with_looks(window: Window, seed: int, looks: Looks) -> Window:
    """Paint and light a window's scene."""
    rng = np.random.default_rng((seed, _SALT))
    arrays = window.scene
    painted = replace(arrays, materials=paint(
        looks.photos, arrays.primitives, arrays.materials, rng))
    if not len(looks.lights) or rng.uniform() >= looks.light_share:
        return replace(window, scene=painted)
    number, yaw = int(rng.integers(len(looks.lights))), rng.uniform(0.0, 2.0 * math.pi)
    ambient = arrays.environment[:3]
    environment = arrays.environment.copy()
    environment[:3] = 0.0
    light = np.tile(ambient, NUM_LIGHT_COLUMNS // 3) * light_row(looks.lights[number], yaw)
    return replace(window, scene=replace(painted, environment=environment), light=light)


def _distortion(rng: np.random.Generator, fov_x_rad: float, handling: Handling | None) -> float:
    """Draw what bends rays at the left and right border by a share."""
    if handling is None or rng.uniform() >= handling.distorted_share:
        return 0.0
    share = handling.max_distortion * rng.uniform(-1.0, 1.0)
    return float(share / math.tan(fov_x_rad / 2.0) ** 2)


def _scene(seed: int, place: Place, looks: Looks | None) -> Scene:
    """Generate a scene; where there are real pieces, they stand in for some of its own."""
    if looks is None or not looks.props.furniture:
        return generate_scene(seed, place)
    rng = np.random.default_rng((seed, _SALT + 1))
    scene = generate_scene(seed, place, furnished=float(rng.uniform(*_KEPT_FURNITURE)))
    return furnish(rng, scene, looks.props)


def stack_windows(windows: Sequence[Window]) -> WindowArrays:
    """
    Stack windows of equally many views.

    :param windows: at least one.
    """
    scenes = [window.scene for window in windows]
    rows = max(len(scene.primitives) for scene in scenes)
    lamps = max(len(scene.lights) for scene in scenes)
    return WindowArrays(
        primitives=np.stack([_pad(scene.primitives, rows, -1.0) for scene in scenes]),
        materials=np.stack([_pad(scene.materials, rows, 0.0) for scene in scenes]),
        lights=np.stack([_pad(scene.lights, lamps, 0.0) for scene in scenes]),
        environments=np.stack([
            np.concatenate((window.scene.environment, window.light)) for window in windows]),
        world_T_camera=np.stack([w.world_T_camera for w in windows]).astype(np.float32),
        tangents=np.array([math.tan(w.fov_x_rad / 2) for w in windows], dtype=np.float32),
        motion=np.stack([window.motion for window in windows]).astype(np.float32),
        num_cameras=np.array([window.num_cameras for window in windows], dtype=np.int64),
        distortion=np.array([window.distortion for window in windows], dtype=np.float32),
    )


def draw_windows(
    first_seed: int, num_windows: int, num_views: int, *, handling: Handling | None = None,
    looks: Looks | None = None,
) -> WindowArrays:
    """
    Draw windows of consecutive seeds.

    :param first_seed: seed of the first one.
    :param num_windows: S.
    :param num_views: N.
    :param handling: see ``draw_window``.
    :param looks: see ``draw_window``.
    """
    return stack_windows([
        draw_window(first_seed + i, num_views, handling=handling, looks=looks)
        for i in range(num_windows)
    ])


def view_rows(arrays: WindowArrays, width: int) -> Floats:
    """
    Lay the views out as the kernel takes them.

    :param arrays: S windows of N views.
    :param width: image width [px].
    :returns: (S * N, 20).
    """
    num_windows, num_views = arrays.world_T_camera.shape[:2]
    rows = np.zeros((num_windows, num_views, VIEW_COLUMNS), dtype=np.float32)
    rows[..., :9] = arrays.world_T_camera[..., :3, :3].reshape(num_windows, num_views, 9)
    rows[..., 9:12] = arrays.world_T_camera[..., :3, 3]
    rows[..., 12] = width / (2.0 * arrays.tangents[:, None])
    rows[..., 13:19] = arrays.motion
    rows[..., 19] = arrays.distortion[:, None]
    return rows.reshape(-1, VIEW_COLUMNS)


def _pad(rows: Floats, length: int, value: float) -> Floats:
    missing = length - len(rows)
    return np.pad(rows, ((0, missing), (0, 0)), constant_values=np.float32(value))


def _steps(poses: Array, num_cameras: int) -> Array:
    """Return (N, 6): how each camera moves towards its next view; the last stand still."""
    following = np.arange(len(poses)) + num_cameras
    following = np.where(following < len(poses), following, np.arange(len(poses)))
    turn = np.swapaxes(poses[:, :3, :3], 1, 2) @ poses[following, :3, :3]
    antisymmetric = 0.5 * (turn - np.swapaxes(turn, 1, 2))
    vectors = antisymmetric[:, (2, 0, 1), (1, 2, 0)]
    return np.concatenate((vectors, poses[following, :3, 3] - poses[:, :3, 3]), axis=1)
