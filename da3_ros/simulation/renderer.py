# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
A vectorised ray caster in numpy: radiance and exact depth of a scene.

Rays are not normalised: their z along the optical axis is 1, so the ray parameter is the depth.
A hit counts from ``NEAR_M`` on. The footprint of a pixel (``texture``) is
depth * |ray| / f_x / max(0.15, cosine between ray and normal).

Inner arrays have their components first: (3, N).
"""

from dataclasses import dataclass
import functools

from da3_ros.geometry.arrays import Array
from da3_ros.simulation import intersection, lighting, texture
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.scene import Floats, Scene, SceneArrays, Shape
from da3_ros.simulation.surface import describe
import numpy as np
from numpy.typing import NDArray

NEAR_M = 0.02


@dataclass(frozen=True, eq=False)
class Rendering:
    """
    What a perfect camera would measure.

    :param radiance: (H, W, 3) float32 linear RGB.
    :param depth: (H, W) float32 [m], z along the optical axis; +inf in the sky.
    :param primitive: (H, W) int16 number of the primitive seen, -1 in the sky.
    """

    radiance: Floats
    depth: Floats
    primitive: NDArray[np.int16]


def render(
    scene: Scene, lens: Lens, world_T_camera: Array, *,
    offset_px: tuple[float, float] = (0.0, 0.0),
) -> Rendering:
    """
    Cast one ray through every pixel.

    :param scene: what to look at.
    :param lens: how.
    :param world_T_camera: (4, 4), from where; optical axes (x right, y down, z forward).
    :param offset_px: u, v of the rays from the pixels' centres, for supersampling.
    """
    view = _View(lens, np.asarray(world_T_camera, dtype=np.float64), offset_px)
    arrays = scene.arrays()
    depth, primitive = _cast_all(view, arrays)
    radiance = _shade(view, arrays, depth.ravel(), primitive.ravel())
    return Rendering(radiance.reshape(lens.height, lens.width, 3), depth, primitive)


def render_depth(scene: Scene, lens: Lens, world_T_camera: Array) -> Floats:
    """
    Cast one ray through every pixel's centre without light.

    :returns: (H, W) float32 [m] as in ``Rendering``.
    """
    view = _View(lens, np.asarray(world_T_camera, dtype=np.float64), (0.0, 0.0))
    return _cast_all(view, scene.arrays())[0]


@dataclass(frozen=True, eq=False)
class _View:
    """Rays of a camera, separable in columns and rows."""

    lens: Lens
    world_T_camera: Array
    offset_px: tuple[float, float]

    @functools.cached_property
    def x(self) -> Floats:
        k = self.lens.intrinsics
        u = np.arange(self.lens.width) + self.offset_px[0]
        return np.asarray((u - k[0, 2]) / k[0, 0], dtype=np.float32)

    @functools.cached_property
    def y(self) -> Floats:
        k = self.lens.intrinsics
        v = np.arange(self.lens.height) + self.offset_px[1]
        return np.asarray((v - k[1, 2]) / k[1, 1], dtype=np.float32)

    def local_ray(self, row: Floats) -> tuple[Floats, Floats]:
        """Return origin (3,) and rotation (3, 3) local_R_camera in a primitive's frame."""
        local_R_world = row[7:16].reshape(3, 3).astype(np.float64).T
        origin = local_R_world @ (self.world_T_camera[:3, 3] - row[1:4])
        rotation = local_R_world @ self.world_T_camera[:3, :3]
        return origin.astype(np.float32), rotation.astype(np.float32)

    def window(self, row: Floats) -> tuple[slice, slice]:
        """Return rows and columns of the image that can see a primitive."""
        everything = slice(0, self.lens.height), slice(0, self.lens.width)
        corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3, indexing='ij'), axis=-1).reshape(8, 3)
        world = row[1:4] + (corners * row[4:7]) @ row[7:16].reshape(3, 3).T.astype(np.float64)
        camera = (world - self.world_T_camera[:3, 3]) @ self.world_T_camera[:3, :3]
        if np.all(camera[:, 2] < NEAR_M):
            return slice(0, 0), slice(0, 0)
        if np.any(camera[:, 2] < NEAR_M):
            return everything
        pixels = (camera[:, :2] / camera[:, 2:]) * self.lens.intrinsics[0, 0]
        pixels += self.lens.intrinsics[:2, 2]
        low = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - 1, 0)
        high = np.maximum(np.ceil(pixels.max(axis=0)).astype(int) + 2, 0)
        return slice(low[1], high[1]), slice(low[0], high[0])


def _cast_all(view: _View, arrays: SceneArrays) -> tuple[Floats, NDArray[np.int16]]:
    """Return depth (H, W) and the number of the nearest primitive (H, W)."""
    depth = np.full((view.lens.height, view.lens.width), np.inf, dtype=np.float32)
    primitive = np.full(depth.shape, -1, dtype=np.int16)
    for index, row in enumerate(arrays.primitives):
        _cast(view, row, index, depth, primitive)
    return depth, primitive


def _cast(
    view: _View, row: Floats, index: int, depth: Floats, primitive: NDArray[np.int16],
) -> None:
    """Update depth and primitive where this one is nearer."""
    window = view.window(row)
    seen = depth[window]
    if row[0] < 0 or seen.size == 0:
        return
    origin, rotation = view.local_ray(row)
    x, y = view.x[window[1]], view.y[window[0]]
    direction = [
        (rotation[k, 0] * x)[None, :] + (rotation[k, 1] * y + rotation[k, 2])[:, None]
        for k in range(3)
    ]
    distance = intersection.first_hit(Shape(int(row[0])), origin, direction, row[4:7])
    nearer = (distance > NEAR_M) & (distance < seen)
    np.copyto(seen, distance, where=nearer)
    primitive[window][nearer] = index


def _shade(
    view: _View, arrays: SceneArrays, depth: Floats, primitive: NDArray[np.int16],
) -> Floats:
    """Return radiance (H * W, 3)."""
    # Pixels sorted by what they see: every primitive's are one slice, the sky's the first.
    order = np.argsort(primitive, kind='stable')
    ends = np.cumsum(np.bincount(primitive + 1, minlength=len(arrays.primitives) + 1))
    rows, columns = np.divmod(order, view.lens.width)
    ray = np.stack([view.x[columns], view.y[rows], np.ones(len(order), dtype=np.float32)])
    length = np.sqrt((ray * ray).sum(axis=0))
    unit = (view.world_T_camera[:3, :3].astype(np.float32) @ ray) / length
    distance = depth[order]

    num_sky = int(ends[0])
    radiance = np.empty((3, len(order)), dtype=np.float32)
    radiance[:, :num_sky] = lighting.sky(arrays.environment, unit[2, :num_sky])
    albedo, normal, gloss = np.empty_like(radiance), np.empty_like(radiance), np.empty_like(length)
    for index in np.flatnonzero(np.diff(ends)):
        part = slice(int(ends[index]), int(ends[index + 1]))
        row, material = arrays.primitives[index], arrays.materials[index]
        origin, local_R_camera = view.local_ray(row)
        point = origin[:, None] + distance[part] * (local_R_camera @ ray[:, part])
        surface = describe(Shape(int(row[0])), row[4:7], point, origin)
        normal[:, part] = row[7:16].reshape(3, 3) @ surface.normal
        cosine = np.abs((normal[:, part] * unit[:, part]).sum(axis=0))
        reach = distance[part] * length[part] / np.float32(view.lens.intrinsics[0, 0])
        albedo[:, part] = texture.colour(
            material, surface.u, surface.v,
            footprint=reach / np.maximum(cosine, 0.15), face=surface.face,
        ).T
        gloss[part] = material[12]

    solid = slice(num_sky, None)
    centre = view.world_T_camera[:3, 3].astype(np.float32)
    radiance[:, solid] = lighting.illuminate(
        arrays, centre[:, None] + (distance * length)[solid] * unit[:, solid],
        normal=normal[:, solid], to_camera=-unit[:, solid],
        albedo=albedo[:, solid], gloss=gloss[solid],
    )
    result = np.empty((len(order), 3), dtype=np.float32)
    result[order] = radiance.T
    return result
