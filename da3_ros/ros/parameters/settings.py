# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Settings of the node: what the parameters become once they are read and checked.

Every default is here or in ``mapping.config``; the table beside it adds descriptions and ranges.
"""

from dataclasses import dataclass, field

from da3_ros.inference.automatic_model import PlanConfig
from da3_ros.inference.levels import Placement
from da3_ros.inference.memory_guard import MemoryLimits
from da3_ros.mapping.config import (
    AlignmentConfig,
    KeyframeConfig,
    LoopConfig,
    MapConfig,
    PipelineConfig,
    ScaleConfig,
    WindowConfig,
)
from da3_ros.ros.parameters.camera_settings import CameraSettings
from da3_ros.ros.parameters.output_settings import (
    CompressedSettings,
    DepthSettings,
    PathSettings,
    PointSettings,
    SaveSettings,
)
from da3_ros.ros.parameters.window_settings import WindowSettings

RANDOM_WEIGHTS = 'random'


@dataclass(frozen=True)
class ModelSettings:
    """
    Which network runs, and where.

    :param name: key of ``model.MODELS``, or ``auto``.
    :param weights: a file, a folder, a hub id, empty for the published ones, or ``random``.
    :param offline: never ask the network for weights.
    :param seed: of random weights.
    :param device: torch device, or ``auto``.
    :param dtype: of the backbone's matrices, or ``auto``.
    :param use_ray_pose: take cameras from the rays instead of the camera decoder.
    :param ref_view_strategy: see ``model.reference_view``.
    """

    name: str = 'da3-small'
    weights: str = ''
    offline: bool = False
    seed: int = 0
    device: str = 'auto'
    dtype: str = 'auto'
    use_ray_pose: bool = False
    ref_view_strategy: str = 'middle'

    @property
    def is_random(self) -> bool:
        """Tell whether the outputs mean nothing."""
        return self.weights == RANDOM_WEIGHTS


@dataclass(frozen=True)
class PreprocessSettings:
    """
    How images become views.

    :param size: process resolution [px].
    :param method: process method, see ``inference.preprocessing``.
    """

    size: int = 504
    method: str = 'upper_bound_resize'


@dataclass(frozen=True)
class MemorySettings:
    """
    Memory of the device against time or precision.

    :param reserve_mib: memory of the GPU that is left to others.
    :param features: where features wait for the depth head, ``device`` or ``host``.
    :param reduced: keep the residual stream in the backbone's number format.
    """

    reserve_mib: int = MemoryLimits.reserve_mib
    features: Placement = 'device'
    reduced: bool = False


@dataclass(frozen=True)
class QueueSettings:
    """
    The queue between the subscription and the inference.

    :param size: keyframes that may wait; when full, the oldest is dropped.
    """

    size: int = 16


@dataclass(frozen=True)
class TfSettings:
    """
    What is published on /tf.

    :param mode: ``camera``, ``odom_to_base``, ``map_to_odom`` or ``none``.
    :param map_frame: name of the map frame.
    :param odom_frame: name of the odometry frame.
    :param base_frame: name of the robot's base frame.
    :param publish_map: publish ``map -> odom`` too, in the modes that own ``odom``.
    :param timeout_s: longest wait for a transform of the robot.
    :param rate_hz: ``map -> odom`` is repeated so often; 0 = it comes with keyframes only.
    :param tolerance_s: repeated ones are dated so far ahead.
    """

    mode: str = 'camera'
    map_frame: str = 'map'
    odom_frame: str = 'odom'
    base_frame: str = 'base_link'
    publish_map: bool = False
    timeout_s: float = 0.2
    rate_hz: float = 20.0
    tolerance_s: float = 0.2

    @property
    def has_map(self) -> bool:
        """Tell whether ``map -> odom`` is published."""
        return self.mode == 'map_to_odom' or (self.publish_map and self.mode != 'none')

    @property
    def frames(self) -> tuple[str, str, str]:
        """Return the names of map, odometry and base frame."""
        return self.map_frame, self.odom_frame, self.base_frame


@dataclass(frozen=True)
class NodeSettings:
    """
    A consistent snapshot of all parameters.

    A parameter ``group.field`` is the field of the same name here. ``plan`` is the inference
    layer's own; ``keyframe``, ``alignment``, ``scale``, ``loop`` and ``map`` are the mapping
    layer's.
    """

    model: ModelSettings = field(default_factory=ModelSettings)
    preprocess: PreprocessSettings = field(default_factory=PreprocessSettings)
    plan: PlanConfig = field(default_factory=PlanConfig)
    memory: MemorySettings = field(default_factory=MemorySettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    keyframe: KeyframeConfig = field(default_factory=KeyframeConfig)
    window: WindowSettings = field(default_factory=WindowSettings)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    queue: QueueSettings = field(default_factory=QueueSettings)
    depth: DepthSettings = field(default_factory=DepthSettings)
    points: PointSettings = field(default_factory=PointSettings)
    compressed: CompressedSettings = field(default_factory=CompressedSettings)
    map: MapConfig = field(default_factory=MapConfig)  # noqa: A003
    tf: TfSettings = field(default_factory=TfSettings)
    path: PathSettings = field(default_factory=PathSettings)
    save: SaveSettings = field(default_factory=SaveSettings)
    autostart: bool = False

    def __post_init__(self) -> None:
        """
        Check what no single group can see.

        :raises ValueError: if two settings contradict each other.
        """
        num_cameras = len(self.camera.rig.cameras)
        if not self.window.is_automatic:
            self._check_window(self.window.config(self.window.size, num_cameras))
        frames = self.tf.frames
        if not all(frames) or len(set(frames)) < len(frames):
            raise ValueError(f'tf frames: got {frames}, expected three different names')
        if any(frame.startswith('/') for frame in frames):
            raise ValueError(
                f'tf frames: got {frames}, expected names without a leading slash, which TF does '
                'not take')
        if self.scale.source == 'rig' and num_cameras < 2:
            raise ValueError(
                f"scale.source: got 'rig' with camera.names {[*self.camera.names]}, expected "
                'several cameras')
        if self.needs_robot_poses and self.tf.mode not in ('map_to_odom', 'none'):
            raise ValueError(
                f'scale.source: got {self.scale.source!r}, which reads the odometry of the robot, '
                f'with tf.mode {self.tf.mode!r}, which publishes one; expected tf.mode '
                'map_to_odom or none')

    @property
    def needs_robot_poses(self) -> bool:
        """Tell whether keyframes carry the pose of the camera in the robot's odometry."""
        return self.scale.source in ('tf', 'pose')

    @property
    def expects_poses(self) -> bool:
        """Tell whether the network is given the robot's poses."""
        return self.scale.source == 'pose'

    @property
    def needs_mounts(self) -> bool:
        """Tell whether keyframes carry the pose of the camera on the robot."""
        return self.scale.source == 'rig'

    def pipeline(self, num_views: int) -> PipelineConfig:
        """
        Return the settings of the mapping layer.

        :param num_views: most views in one inference.
        :raises ValueError: if the window is too small for its other settings.
        """
        window = self.window.config(num_views, len(self.camera.names))
        self._check_window(window)
        return PipelineConfig(
            keyframe=self.keyframe, window=window,
            alignment=self.alignment, scale=self.scale, loop=self.loop, rig=self.camera.rig,
        )

    def _check_window(self, window: WindowConfig) -> None:
        """Refuse what needs poses, where windows do not overlap and have none."""
        if window.is_chained:
            return
        for name, value, allowed in (
            ('tf.mode', self.tf.mode, ('camera', 'none')),
            ('scale.source', self.scale.source, ('none', 'fixed', 'model', 'rig')),
            ('points.frame', self.points.frame, ('camera',)),
        ):
            if value not in allowed:
                raise ValueError(
                    f'{name}: got {value!r}, which needs poses, with windows of {window.size} '
                    f'that do not overlap, which have none; expected {" or ".join(allowed)}')
