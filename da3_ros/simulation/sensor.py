# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""
A camera's imperfections: exposure, colour cast, noise, motion blur, quantisation.

    value = clamp(radiance * exposure * white_balance, 0, 1)^(1 / 2.2)
    value += noise * normal();  image = round(255 * clamp(value, 0, 1))
"""

from dataclasses import dataclass

from da3_ros.geometry.arrays import Array
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.renderer import render, render_depth
from da3_ros.simulation.scene import Colour, Floats, Scene
from da3_ros.simulation.trajectory import Trajectory
import numpy as np
from numpy.typing import NDArray

_GAMMA = 2.2


@dataclass(frozen=True)
class Sensor:
    """
    How radiance becomes an image.

    :param exposure: factor on the radiance.
    :param white_balance: factors on red, green, blue.
    :param noise: standard deviation of the noise, of full scale.
    :param shutter_s: how long the shutter is open [s].
    :param num_samples: rays per pixel, spread over its area and the open time.
    """

    exposure: float = 1.0
    white_balance: Colour = (1.0, 1.0, 1.0)
    noise: float = 0.008
    shutter_s: float = 0.01
    num_samples: int = 4


@dataclass(frozen=True, eq=False)
class Shot:
    """
    One image with its truth at the middle of the exposure.

    :param image: (H, W, 3) uint8 RGB.
    :param depth: (H, W) float32 [m], z along the optical axis; +inf in the sky.
    :param world_T_camera: (4, 4).
    """

    image: NDArray[np.uint8]
    depth: Floats
    world_T_camera: Array


def develop(radiance: Floats, sensor: Sensor, rng: np.random.Generator) -> NDArray[np.uint8]:
    """
    Turn radiance into an image.

    :param radiance: (H, W, 3) float32 linear RGB.
    :param sensor: how.
    :param rng: source of the noise.
    :returns: (H, W, 3) uint8 RGB.
    """
    gains = np.float32(sensor.exposure) * np.array(sensor.white_balance, dtype=np.float32)
    value = np.clip(radiance * gains, 0.0, 1.0) ** np.float32(1.0 / _GAMMA)
    if sensor.noise > 0.0:
        value += np.float32(sensor.noise) * rng.standard_normal(value.shape, dtype=np.float32)
    return np.asarray(np.rint(255.0 * np.clip(value, 0.0, 1.0)), dtype=np.uint8)


def capture(
    scene: Scene, lens: Lens, trajectory: Trajectory, index: int, *,
    sensor: Sensor, seed: int = 0,
) -> Shot:
    """
    Take the picture of one frame of a path.

    :param scene: what to look at.
    :param lens: how.
    :param trajectory: the camera's path.
    :param index: number of the frame.
    :param sensor: how radiance becomes an image.
    :param seed: of the noise, together with ``index``.
    """
    middle_s = float(trajectory.time_s[index])
    radiance = np.zeros((lens.height, lens.width, 3), dtype=np.float32)
    for sample in range(sensor.num_samples):
        share = (sample + 0.5) / sensor.num_samples
        pose = trajectory.pose_at(middle_s + (share - 0.5) * sensor.shutter_s)
        # A rank-1 lattice: its points spread evenly over the pixel for any number of samples.
        offset_px = ((0.618034 * sample + 0.5) % 1.0 - 0.5, share - 0.5)
        radiance += render(scene, lens, pose, offset_px=offset_px).radiance
    image = develop(
        radiance / np.float32(sensor.num_samples), sensor, np.random.default_rng((seed, index)))
    pose = trajectory.world_T_camera[index]
    return Shot(image, render_depth(scene, lens, pose), pose)
