# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Real furniture and things, as triangle meshes, in the scenes of the training."""

from dataclasses import dataclass, replace

from da3_ros.simulation import furniture
from da3_ros.simulation.materials import random_material
from da3_ros.simulation.scene import Material, Primitive, Scene, Shape, Vector
import numpy as np

from training.mesh_bank import MESH, Part

_NUM_PIECES = (8, 24)
_NUM_THINGS = (8, 40)
_TRIES = 24
_MIN_TOP_M = 0.15
_HEIGHTS_M = (0.25, 0.9)


@dataclass(frozen=True)
class Props:
    """
    What may stand and lie about.

    :param furniture: pieces, of parts each.
    :param things: likewise.
    """

    furniture: tuple[tuple[Part, ...], ...] = ()
    things: tuple[tuple[Part, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class MeshPrimitive(Primitive):
    """
    A part of a bank; paths keep clear of its box.

    :param number: of the part.
    """

    number: int = 0

    def row(self) -> list[float]:
        """Return the row of the array ``primitives``."""
        return [float(MESH + self.number), *super().row()[1:]]


def furnish(rng: np.random.Generator, scene: Scene, props: Props) -> Scene:
    """
    Put furniture where there is room, and things on what is flat, or on the ground.

    :param rng: source of randomness.
    :param scene: gets more primitives.
    :param props: what there is.
    """
    for _ in range(int(rng.integers(*_NUM_PIECES)) if props.furniture else 0):
        piece = props.furniture[int(rng.integers(len(props.furniture)))]
        size = rng.uniform(0.85, 1.15)
        reach = size * max(float(np.hypot(*part.half_size[:2])) for part in piece)
        spot = _free_spot(rng, scene, 0.7 * reach)
        if spot is not None:
            scene = _with(scene, _placed(rng, piece, spot, size))
    tops = [p for p in scene.primitives if _is_top(p)]
    for _ in range(int(rng.integers(*_NUM_THINGS)) if props.things else 0):
        piece = props.things[int(rng.integers(len(props.things)))]
        where = _somewhere(rng, scene, tops)
        scene = _with(scene, _placed(rng, piece, where, rng.uniform(0.8, 1.6)))
    return scene


def _with(scene: Scene, added: list[Primitive]) -> Scene:
    return replace(scene, primitives=(*scene.primitives, *added))


def _free_spot(rng: np.random.Generator, scene: Scene, reach_m: float) -> Vector | None:
    places = rng.uniform(scene.lower[:2], scene.upper[:2], (_TRIES, 2))
    clear = np.minimum.reduce([
        scene.clearance(np.column_stack([places, np.full(_TRIES, height)]))
        for height in _HEIGHTS_M])
    free = np.flatnonzero(clear > min(reach_m, 0.5))
    return np.array([*places[free[0]], 0.0]) if len(free) else None


def _is_top(primitive: Primitive) -> bool:
    """Tell whether things can lie on a primitive."""
    top = primitive.centre[2] + primitive.half_size[2]
    return (
        primitive.shape is Shape.BOX and not isinstance(primitive, MeshPrimitive)
        and min(primitive.half_size[:2]) > _MIN_TOP_M
        and primitive.world_R_local[2, 2] > 0.999 and 0.2 < top < 1.4
    )


def _somewhere(rng: np.random.Generator, scene: Scene, tops: list[Primitive]) -> Vector:
    if not tops or rng.uniform() < 0.4:
        return np.array([*rng.uniform(scene.lower[:2], scene.upper[:2]), 0.0])
    top = tops[int(rng.integers(len(tops)))]
    local = np.array([*(rng.uniform(-0.85, 0.85, 2) * top.half_size[:2]), top.half_size[2]])
    place: Vector = top.centre + top.world_R_local @ local
    return place


def _placed(
    rng: np.random.Generator, piece: tuple[Part, ...], where: Vector, size: float
) -> list[Primitive]:
    """Put a piece somewhere, turned; some of its parts look alike."""
    world_R_piece = furniture.rotation_z(rng.uniform(0.0, 2.0 * np.pi))
    looks: list[Material] = [random_material(rng, cells_per_m=(2.0, 16.0)) for _ in piece]
    return [
        MeshPrimitive(
            Shape.BOX, where + world_R_piece @ (size * np.array(part.centre)),
            size * np.array(part.half_size), world_R_piece,
            looks[int(rng.integers(len(looks)))], number=part.number)
        for part in piece
    ]
