# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Photos and meshes change looks and shapes exactly as they say."""

from dataclasses import replace
from pathlib import Path

import cv2
from da3_ros.simulation.generator import generate_scene, Place
from da3_ros.simulation.scene import Scene, Shape
from da3_ros.simulation.trajectory import Motion, plan_path
import numpy as np
import pytest
import torch

from training.handling import Handling
from training.mesh_bank import build_bank, load_bank, MESH, Mesh, Part, Piece, save_pieces
from training.photos import LEVELS, paint, PhotoBank, PhotoList, SIZE
from training.prepare_meshes import _read_obj
from training.props import furnish, MeshPrimitive, Props
from training.renderer import HostRenderer, Rendering
from training.windows import draw_windows, Looks, stack_windows, Window

_SIZE = (84, 112)
_FACES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))


def _cube() -> np.ndarray:
    """Return the twelve triangles of [-1, 1]^3."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    triangles = [corners[list(t)] for a, b, c, d in _FACES for t in ((a, b, c), (a, c, d))]
    return np.stack(triangles).reshape(-1, 9)


def _render(
    renderer: HostRenderer, scene: Scene, materials: np.ndarray | None = None
) -> Rendering:
    poses = plan_path(generate_scene(4, Place.ROOM), 4, motion=Motion.ARC, num_frames=2,
                      rate_hz=1.0).world_T_camera
    arrays = scene.arrays()
    if materials is not None:
        arrays = replace(arrays, materials=materials)
    window = Window(scene=arrays, world_T_camera=poses, fov_x_rad=1.4, motion=np.zeros((2, 6)))
    return renderer(stack_windows([window]), _SIZE, samples=1)


@pytest.fixture(scope='module')
def with_cube(tmp_path_factory: pytest.TempPathFactory) -> HostRenderer:
    """Build a renderer with one mesh, which is a cube, behind another one."""
    other = np.random.default_rng(0).uniform(-1, 1, (40, 9)).astype(np.float32)
    return HostRenderer(tmp_path_factory.mktemp('cube'), meshes=build_bank([other, _cube()]))


def test_a_cube_of_triangles_is_a_box(with_cube: HostRenderer) -> None:
    """Depth, light, shadows and texture are those of the box that the numpy renderer knows."""
    scene = generate_scene(4, Place.ROOM)
    meshes = tuple(
        MeshPrimitive(p.shape, p.centre, p.half_size, p.world_R_local, p.material, number=1)
        if p.shape is Shape.BOX else p for p in scene.primitives)
    assert sum(isinstance(p, MeshPrimitive) for p in meshes) > 10
    boxes = _render(with_cube, scene)
    cubes = _render(with_cube, replace(scene, primitives=meshes))
    same_depth = torch.isclose(boxes.depth, cubes.depth, rtol=1e-4).double().mean()
    same_light = torch.isclose(boxes.radiance, cubes.radiance, atol=2e-3).all(2).double().mean()
    assert same_depth > 0.998 and same_light > 0.99


def _brute_force(triangles: np.ndarray, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Solve o + t d = a + x u + y v for every ray and triangle: (N,) nearest t."""
    a, b, c = triangles.reshape(-1, 3, 3).transpose(1, 0, 2).astype(np.float64)
    nearest = np.full(len(rays), np.inf)
    for first, u, v in zip(a, b - a, c - a, strict=True):
        sides = [np.broadcast_to(side, rays.shape) for side in (u, v)]
        matrices = np.stack([*sides, -rays], axis=-1)
        x, y, t = np.linalg.solve(
            matrices, np.broadcast_to(origin - first, rays.shape)[..., None])[..., 0].T
        hit = (x >= 0) & (y >= 0) & (x + y <= 1) & (t > 0.02)
        nearest[hit] = np.minimum(nearest[hit], t[hit])
    return nearest


def test_rays_meet_the_nearest_triangle(tmp_path: Path) -> None:
    """No box of the hierarchy hides a triangle that a ray meets."""
    triangles = np.random.default_rng(1).uniform(-1, 1, (150, 9)).astype(np.float32)
    renderer = HostRenderer(tmp_path, meshes=build_bank([_cube(), triangles]))
    scene = generate_scene(4, Place.ROOM)
    soup = MeshPrimitive(Shape.BOX, np.zeros(3), np.array([1.5, 1.0, 0.8]), np.eye(3),
                         scene.primitives[0].material, number=1)
    pose = np.eye(4)
    pose[:3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    pose[:3, 3] = (0.1, -3.0, 0.05)
    window = Window(scene=replace(scene, primitives=(soup,)).arrays(),
                    world_T_camera=pose[None], fov_x_rad=1.0, motion=np.zeros((1, 6)))
    depth = renderer(stack_windows([window]), _SIZE, samples=1).depth[0, 0].numpy().ravel()
    focal = _SIZE[1] / (2 * np.tan(0.5))
    v, u = np.mgrid[:_SIZE[0], :_SIZE[1]].reshape(2, -1)
    rays = np.stack([(u - (_SIZE[1] - 1) / 2) / focal, (v - (_SIZE[0] - 1) / 2) / focal,
                     np.ones(u.size)], axis=1) @ pose[:3, :3].T
    expected = _brute_force(triangles, pose[:3, 3] / soup.half_size, rays / soup.half_size)
    assert np.isfinite(expected).mean() > 0.2
    assert np.isclose(depth, expected, rtol=1e-4).mean() > 0.998


def _bank(image: np.ndarray) -> PhotoBank:
    coded = cv2.imencode('.png', image[:, :, ::-1])[1].ravel()
    return PhotoBank(coded, np.array([0, len(coded)]), PhotoList(1, (0,)))


def test_a_photo_lies_on_its_surface(tmp_path: Path) -> None:
    """A wall shows the photo where its material says: the colours of the texels, tinted."""
    image = np.kron(np.random.default_rng(0).integers(0, 256, (4, 4, 3)), np.ones((40, 40, 1)))
    image = image.astype(np.uint8)
    renderer = HostRenderer(tmp_path, photos=_bank(image))
    scene = generate_scene(4, Place.ROOM)
    floor = replace(scene.primitives[0], centre=np.zeros(3), half_size=np.array([2.0, 2.0, 1.0]),
                    world_R_local=np.eye(3))
    lit = replace(scene, primitives=(floor,), lights=(replace(
        scene.lights[0], colour=(0.0, 0.0, 0.0)),))
    # One tile of 4 m over the whole floor, half as bright in red.
    row = np.array([[-1, 0.5, 1, 1, 0.5, 0.5, 1, 0.25, 1, 0, 0, 1, 0]], dtype=np.float32)
    pose = np.eye(4)
    pose[:3, :3] = np.diag([1.0, -1.0, -1.0])
    pose[2, 3] = 4.0
    arrays = replace(lit.arrays(), materials=row)
    window = Window(scene=arrays, world_T_camera=pose[None], fov_x_rad=2 * np.arctan(0.5),
                    motion=np.zeros((1, 6)))
    radiance = renderer(stack_windows([window]), (160, 160), samples=1).radiance[0, 0]
    albedo = radiance / torch.from_numpy(arrays.environment[:3])[:, None, None]
    texels = image[::40, ::40] / 255.0
    linear = np.where(texels <= 0.04045, texels / 12.92, ((texels + 0.055) / 1.055) ** 2.4)
    middles = albedo.permute(1, 2, 0).numpy()[20::40, 20::40]
    np.testing.assert_allclose(middles, linear * (0.5, 1.0, 1.0), atol=0.01)


def test_photos_change_looks_only(renderer: HostRenderer, tmp_path: Path) -> None:
    """Depth is bit-equal with and without photos, and most surfaces look otherwise."""
    scene = generate_scene(4, Place.ROOM)
    arrays = scene.arrays()
    photos = PhotoList(1, (0,))
    painted = paint(photos, arrays.primitives, arrays.materials, np.random.default_rng(3))
    again = paint(photos, arrays.primitives, arrays.materials, np.random.default_rng(3))
    np.testing.assert_array_equal(painted, again)
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    with_photos = HostRenderer(tmp_path, photos=_bank(noise))
    plain, photo = _render(renderer, scene), _render(with_photos, scene, painted)
    assert torch.equal(plain.depth, photo.depth)
    assert ((plain.radiance - photo.radiance).abs() > 0.01).any(2).double().mean() > 0.5
    assert LEVELS[0] == SIZE


def test_pieces_survive_their_file(tmp_path: Path) -> None:
    """What is written is read: parts, where they are, and what kind of piece."""
    box = _cube().reshape(-1, 3).astype(np.float64)
    vertices, index = np.unique(box, axis=0, return_inverse=True)
    mesh = Mesh(vertices * (0.5, 0.25, 0.125) + (0, 0, 1), index.reshape(-1, 3))
    save_pieces(tmp_path / 'm.npz', [Piece((mesh, mesh), True), Piece((mesh,), False)])
    bank = load_bank(tmp_path / 'm.npz')
    assert [len(piece) for piece in bank.furniture] == [2]
    assert bank.things == ((Part(2, (0.0, 0.0, 1.0), (0.5, 0.25, 0.125)),),)
    assert len(bank.triangles) == 36
    first = bank.triangles[:12].reshape(-1, 3)
    np.testing.assert_array_equal(np.unique(first, axis=0), np.unique(box, axis=0))


def test_wavefront_files_are_read_as_others_write_them() -> None:
    """Polygons, negative indices and materials, as exporters write them."""
    text = ('# a comment\nmtllib x.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvn 0 0 1\n'
            'usemtl wood\nf 1/1/1 2/1/1 3/1/1 4/1/1\nusemtl steel\nf -4//1 -3//1 -2//1\n')
    wood, steel = _read_obj(text)
    assert wood.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert steel.faces.tolist() == [[0, 1, 2]]


def test_furniture_keeps_the_way_free() -> None:
    """Pieces stand on the ground with their parts in place; paths keep clear of them."""
    part = Part(0, (0.0, 0.0, 0.4), (0.3, 0.2, 0.4))
    props = Props(furniture=((part,),), things=((replace(part, half_size=(0.1, 0.1, 0.1)),),))
    scene = furnish(np.random.default_rng(0), generate_scene(1, Place.ROOM), props)
    pieces = [p for p in scene.primitives if isinstance(p, MeshPrimitive)]
    assert len(pieces) > 5
    assert all(p.row()[0] == MESH for p in pieces)
    windows = draw_windows(50, 2, 6, handling=Handling(), looks=Looks(props=props))
    for window in range(2):
        rows = windows.primitives[window]
        for row in rows[rows[:, 0] >= MESH]:
            offset = windows.world_T_camera[window, :, :3, 3] - row[1:4]
            local = np.abs(offset @ row[7:16].reshape(3, 3)) - row[4:7]
            # A second camera on the body is at most as far from it as that is from things.
            assert (local.max(axis=1) > 0.0).all()
