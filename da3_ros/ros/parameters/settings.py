# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Settings of the node: what the parameters become once they are read and checked.

Every default is here or in ``mapping.config``; the table beside it adds descriptions and ranges.
"""

from dataclasses import dataclass, field
from pathlib import Path

from da3_ros.errors import SaveError
from da3_ros.export.save import ALL_FORMATS, FORMATS
from da3_ros.inference.automatic_model import PlanConfig
from da3_ros.inference.levels import Placement
from da3_ros.inference.memory_guard import MemoryLimits
from da3_ros.mapping.config import (
    AlignmentConfig,
    depth_limit,
    FramesConfig,
    GridConfig,
    KeyframeConfig,
    LoopConfig,
    MapConfig,
    PipelineConfig,
    RigConfig,
    ScaleConfig,
    WindowConfig,
)
from da3_ros.ros.parameters.window_settings import WindowSettings

RANDOM_WEIGHTS = 'random'
# Smaller ones could not be numbered within the range of a camera.
_MIN_VOXEL_M = 0.001


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
class CameraSettings:
    """
    How images are received.

    :param names: of the cameras; the empty name is that of a camera on the plain topics.
    :param sync_tolerance_s: images of two cameras that are this close are of one instant.
    :param transport: ``raw`` or ``compressed``.
    :param rectify: undistort by the CameraInfo; False for images that are rectified already.
    :param info_wait_s: images are dropped for this long if no CameraInfo came yet.
    :param max_gap_s: a longer gap between two images begins a new session.
    :param max_pixels: larger images are refused.
    :param bits: that images of 16 bits use; 0 finds them.
    """

    names: tuple[str, ...] = RigConfig.cameras
    sync_tolerance_s: float = RigConfig.sync_tolerance_s
    transport: str = 'raw'
    rectify: bool = True
    info_wait_s: float = 1.0
    max_gap_s: float = 10.0
    max_pixels: int = 64_000_000
    bits: int = 0

    @property
    def rig(self) -> RigConfig:
        """
        Return the settings of the mapping layer.

        :raises ValueError: if names are missing or not different.
        """
        return RigConfig(self.names, self.sync_tolerance_s)


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
class DepthSettings:
    """
    Which depth is published.

    :param size: ``network`` (as it was inferred) or ``image`` (that of the rectified image).
    :param min_confidence: depth below it becomes NaN; confidence is in [1, inf), 1 = none.
    :param max_m: depth beyond it becomes +Inf; 0 = no limit.
    """

    size: str = 'network'
    min_confidence: float = 1.0
    max_m: float = 0.0

    @property
    def limit_m(self) -> float:
        """Return the largest finite depth."""
        return depth_limit(self.max_m)


@dataclass(frozen=True)
class PointSettings:
    """
    How the point cloud is made from the published depth.

    :param frame: ``camera`` (the image's optical frame) or ``world``.
    :param organized: keep the shape of the image, with NaN where there is no point.
    :param stride: take every n-th pixel in both directions.
    :param min_confidence: points below it are left out, on top of ``depth.min_confidence``.
    :param max_m: points whose depth is beyond it are left out; 0 = no limit.
    :param voxel_m: edge of cubes of which each gives one point; 0 = off.
    """

    frame: str = 'camera'
    organized: bool = False
    stride: int = 1
    min_confidence: float = 1.0
    max_m: float = 0.0
    voxel_m: float = 0.0

    def __post_init__(self) -> None:
        """
        Check what the ranges cannot tell.

        :raises ValueError: if a value cannot be used, or not with another.
        """
        if 0.0 < self.voxel_m < _MIN_VOXEL_M:
            raise ValueError(
                f'points.voxel_m: got {self.voxel_m}, expected 0 or at least {_MIN_VOXEL_M}')
        if self.organized and self.voxel_m > 0.0:
            raise ValueError(
                f'points.voxel_m: got {self.voxel_m} with points.organized true, expected 0 '
                'there: a cloud in the shape of the image cannot be thinned out')

    @property
    def limit_m(self) -> float:
        """Return the largest depth of a point."""
        return depth_limit(self.max_m)


@dataclass(frozen=True)
class CompressedSettings:
    """
    How images are compressed, for those who subscribe to compressed ones.

    :param jpeg_quality: of the picture, 1 to 100.
    :param depth_quantization: Z; depth is rounded to steps of about its square over Z(Z + 1).
    :param depth_max_m: depth beyond it is lost.
    """

    jpeg_quality: int = 90
    depth_quantization: float = 100.0
    depth_max_m: float = 100.0


@dataclass(frozen=True)
class SaveSettings:
    """
    What ``~/save`` writes, and what is remembered for it.

    :param directory: where a folder per call is created; ``~`` is the home of the user.
    :param formats: some of ``export.save.ALL_FORMATS``.
    :param max_keyframes: keyframes that are remembered; beyond, they are thinned out evenly.
        0 remembers none, and nothing can be saved.
    :param on_end: save a session that ends and that nobody saved.
    """

    directory: str = '~/.ros/da3'
    formats: tuple[str, ...] = FORMATS
    max_keyframes: int = 200
    on_end: bool = False

    def __post_init__(self) -> None:
        """
        Check what the ranges cannot tell.

        :raises ValueError: if a value cannot be used.
        """
        if not self.directory or '\0' in self.directory:
            raise ValueError(f'save.directory: got {self.directory!r}, expected a folder')
        if not self.formats or not set(self.formats) <= set(ALL_FORMATS):
            raise ValueError(
                f'save.formats: got {self.formats}, expected some of '
                f'{", ".join(ALL_FORMATS)}')
        if self.on_end and self.max_keyframes == 0:
            raise ValueError(
                'save.on_end: got true with save.max_keyframes 0, expected more: nothing is '
                'remembered that could be saved')

    @property
    def folder(self) -> Path:
        """
        Return the directory, from the root of the file system.

        :raises SaveError: if it lies in the home of a user who has none.
        """
        try:
            return Path(self.directory).expanduser().absolute()
        except RuntimeError as error:
            raise SaveError(
                f'save.directory: got {self.directory!r} ({error}), expected a folder that can '
                'be found') from error


@dataclass(frozen=True)
class PathSettings:
    """
    The path of past poses.

    :param max_size: most poses; when full, the oldest is dropped.
    """

    max_size: int = 1000


@dataclass(frozen=True)
class WorldSettings:
    """
    How the world lies.

    :param gravity: ``none``, the first camera is level; ``tf``, the robot's base is.
    """

    gravity: str = 'none'


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
    def is_of_a_robot(self) -> bool:
        """Tell whether the poses are those of a robot, whose lengths are metres."""
        return self.mode in ('odom_to_base', 'map_to_odom')

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
    layer's own; ``frames``, ``keyframe``, ``alignment``, ``scale``, ``loop``, ``map`` and ``grid``
    are the mapping layer's.
    """

    model: ModelSettings = field(default_factory=ModelSettings)
    preprocess: PreprocessSettings = field(default_factory=PreprocessSettings)
    plan: PlanConfig = field(default_factory=PlanConfig)
    memory: MemorySettings = field(default_factory=MemorySettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    frames: FramesConfig = field(default_factory=FramesConfig)
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
    grid: GridConfig = field(default_factory=GridConfig)
    world: WorldSettings = field(default_factory=WorldSettings)
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
        self.frames.check_cameras(self.camera.names)
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
    def keeps_camera_images(self) -> bool:
        """Tell whether images are to be saved at the size of the camera's."""
        return self.depth.size == 'image' and 'colmap' in self.save.formats and (
            self.save.max_keyframes > 0)

    @property
    def needs_robot_poses(self) -> bool:
        """Tell whether metres come from the robot's odometry."""
        return self.scale.source in ('tf', 'pose')

    @property
    def needs_odometry(self) -> bool:
        """Tell whether keyframes carry the pose of the camera in the robot's odometry."""
        return self.needs_robot_poses or self.tf.mode == 'map_to_odom'

    @property
    def expects_poses(self) -> bool:
        """Tell whether the network is given the robot's poses."""
        return self.scale.source == 'pose'

    @property
    def needs_mounts(self) -> bool:
        """Tell whether keyframes carry the pose of the camera on the robot."""
        return (self.scale.source == 'rig' or self.tf.is_of_a_robot
                or self.world.gravity == 'tf')

    @property
    def wants_no_metres(self) -> bool:
        """Tell whether lengths without a unit are chosen, and no robot needs one."""
        return self.scale.source == 'none' and not self.tf.is_of_a_robot

    def pipeline(self, num_views: int, *, most_views: int = 0) -> PipelineConfig:
        """
        Return the settings of the mapping layer.

        :param num_views: of a window.
        :param most_views: that it may become where windows take less time than was expected.
        :raises ValueError: if the window is too small for its other settings.
        """
        window = self.window.config(
            num_views, len(self.camera.names), most_views=most_views)
        self._check_window(window)
        return PipelineConfig(
            keyframe=self.keyframe, window=window,
            alignment=self.alignment, scale=self.scale, loop=self.loop, rig=self.camera.rig,
            frames=self.frames,
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
