# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""What the demo shows: a scene, a path and a camera."""

from dataclasses import dataclass, field

from da3_ros.simulation.curves import Motion
from da3_ros.simulation.generator import generate_scene, Place
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.scene import Scene
from da3_ros.simulation.sensor import Sensor
from da3_ros.simulation.trajectory import PathLimits, plan_path, Trajectory


@dataclass(frozen=True)
class Film:
    """
    A recording to render; equal films give equal bags.

    :param scene_seed: of the scene.
    :param path_seed: of the path and the noise.
    :param place: room or court.
    :param motion: shape of the path.
    :param num_frames: length.
    :param rate_hz: frames per second.
    :param limits: of the path.
    :param lens: the camera's.
    :param sensor: the camera's.
    :param start_ns: stamp of the first frame.
    """

    scene_seed: int = 15
    path_seed: int = 15
    place: Place = Place.ROOM
    motion: Motion = Motion.LOOP
    num_frames: int = 100
    rate_hz: float = 5.0
    limits: PathLimits = field(default_factory=lambda: PathLimits(
        speed_m_s=0.3, height_m=(0.9, 1.4), num_pauses=1))
    lens: Lens = field(default_factory=lambda: Lens(320, 240, 75.0))
    sensor: Sensor = field(default_factory=Sensor)
    start_ns: int = 1_700_000_000_123_456_789

    def stamp_ns(self, index: int) -> int:
        """Return the stamp of a frame."""
        return self.start_ns + round(1e9 * index / self.rate_hz)

    def scene(self) -> Scene:
        """Generate the scene."""
        return generate_scene(self.scene_seed, self.place)

    def trajectory(self) -> Trajectory:
        """Plan the path."""
        return plan_path(
            self.scene(), self.path_seed, motion=self.motion, num_frames=self.num_frames,
            rate_hz=self.rate_hz, limits=self.limits)
