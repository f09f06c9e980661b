# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Settings of the mapping layer, checked where they are made."""

from dataclasses import dataclass, field
import math

KEYFRAME_MODES = ('motion', 'time')
FRAME_MODES = ('keyframes', 'all')
SCALE_SOURCES = ('none', 'fixed', 'model', 'tf', 'pose', 'rig')


def _require(condition: bool, name: str, got: object, expected: str) -> None:
    if not condition:
        raise ValueError(f'{name}: got {got!r}, expected {expected}')


def _require_share(name: str, value: float) -> None:
    _require(0.0 < value <= 1.0, name, value, 'a share in (0, 1]')


def depth_limit(max_m: float) -> float:
    """
    Return the largest depth that a setting allows.

    :param max_m: the setting; 0 = no limit.
    """
    return max_m if max_m > 0.0 else math.inf


@dataclass(frozen=True)
class RigConfig:
    """
    Cameras that are seen together.

    :param cameras: their names; a camera alone may have the empty one.
    :param sync_tolerance_s: images of two cameras that are this close belong to one instant.
    """

    cameras: tuple[str, ...] = ('',)
    sync_tolerance_s: float = 0.05

    def __post_init__(self) -> None:
        """
        Check the values.

        :raises ValueError: if one is out of its range.
        """
        is_distinct = len(set(self.cameras)) == len(self.cameras) > 0
        if not is_distinct or not (self.cameras == ('',) or all(self.cameras)):
            raise ValueError(
                f'camera.names: got {self.cameras}, expected different names, or one empty name')
        if not self.sync_tolerance_s >= 0.0:
            raise ValueError(
                f'camera.sync_tolerance_s: got {self.sync_tolerance_s}, expected at least 0')


@dataclass(frozen=True)
class KeyframeConfig:
    """
    Which frames are kept.

    :param mode: ``motion`` (what the camera sees must have changed) or ``time``.
    :param min_interval_s: no two keyframes are closer than this.
    :param max_interval_s: after this long a small motion is enough (``motion`` only).
    :param min_parallax: median image motion since the last keyframe that makes the next one,
        as a share of the image width.
    :param min_overlap: a keyframe is made when fewer than this share of the last one's features
        are still in view.
    :param min_sharpness: a frame with less than this share of the usual sharpness is blurred
        and waits for a sharper one; 0 accepts all.
    """

    mode: str = 'motion'
    min_interval_s: float = 0.1
    max_interval_s: float = 2.0
    min_parallax: float = 0.05
    min_overlap: float = 0.7
    min_sharpness: float = 0.4

    def __post_init__(self) -> None:
        """
        Check the values.

        :raises ValueError: if one is out of its range.
        """
        _require(self.mode in KEYFRAME_MODES, 'keyframe.mode', self.mode,
                 f'one of {KEYFRAME_MODES}')
        _require(0.0 <= self.min_interval_s < math.inf, 'keyframe.min_interval_s',
                 self.min_interval_s, 'at least 0')
        _require(self.max_interval_s >= self.min_interval_s, 'keyframe.max_interval_s',
                 self.max_interval_s, f'at least keyframe.min_interval_s {self.min_interval_s}')
        _require_share('keyframe.min_parallax', self.min_parallax)
        _require_share('keyframe.min_overlap', self.min_overlap)
        _require(0.0 <= self.min_sharpness < 1.0, 'keyframe.min_sharpness', self.min_sharpness,
                 'in [0, 1)')


@dataclass(frozen=True)
class FramesConfig:
    """
    Which frames get depth.

    :param mode: ``keyframes``, or ``all``: those that are no keyframes too, live.
    :param max_rate_hz: live frames in a second; 0 = as many as come.
    :param context: keyframes that a live frame is inferred with; 0 = as many as the time between
        two frames allows.
    """

    mode: str = 'keyframes'
    max_rate_hz: float = 0.0
    context: int = 0

    def __post_init__(self) -> None:
        """
        Check the values.

        :raises ValueError: if one is out of its range.
        """
        _require(self.mode in FRAME_MODES, 'frames.mode', self.mode, f'one of {FRAME_MODES}')
        _require(0.0 <= self.max_rate_hz < math.inf, 'frames.max_rate_hz', self.max_rate_hz,
                 'at least 0')
        _require(self.context >= 0, 'frames.context', self.context, 'at least 0')

    @property
    def is_live(self) -> bool:
        """Tell whether frames that are no keyframes get depth."""
        return self.mode == 'all'

    def check_cameras(self, names: tuple[str, ...]) -> None:
        """
        Refuse what needs a single camera.

        :param names: of the cameras.
        :raises ValueError: if there are several.
        """
        _require(not self.is_live or len(names) == 1, 'frames.mode', self.mode,
                 f'keyframes with camera.names {[*names]}: of several cameras, which frames are '
                 'keyframes is known too late')


@dataclass(frozen=True)
class WindowConfig:
    """
    Which keyframes are inferred together.

    :param size: most views in one inference.
    :param stride: new instants per inference, of a view per camera; the other views overlap with
        earlier windows.
    :param min_views: views of the very first window, which then grows up to ``size``.
    :param max_age_s: a keyframe waits at most this long for its window to fill.
    :param num_cameras: views of one instant.
    :param is_paced: whether windows become smaller where keyframes come too fast for them.
    :param first_views: views of windows at first, where they are paced: they become as many as
        ``size`` where they are done much sooner than ``max_latency_s``; 0: ``size``.
    :param max_latency_s: longest inference of a window, where they are paced.
    """

    size: int = 12
    stride: int = 4
    min_views: int = 3
    max_age_s: float = 1.0
    num_cameras: int = 1
    is_paced: bool = False
    first_views: int = 0
    max_latency_s: float = math.inf

    def __post_init__(self) -> None:
        """
        Check the values.

        :raises ValueError: if one is out of its range.
        """
        _require(self.num_cameras >= 1, 'window.num_cameras', self.num_cameras, 'at least 1')
        _require(self.size >= self.num_cameras, 'window.size', self.size,
                 f'at least {self.num_cameras}, one view per camera')
        most_new = max(self.size // self.num_cameras - 1, 1)
        _require(1 <= self.stride <= most_new, 'window.stride', self.stride,
                 f'1 to {most_new}, so that windows of {self.size} overlap')
        _require(1 <= self.min_views <= self.size, 'window.min_views', self.min_views,
                 f'1 to window.size {self.size}')
        _require(self.max_age_s > 0.0, 'window.max_age_s', self.max_age_s, 'above 0')
        _require(0 <= self.first_views <= self.size, 'window.first_views', self.first_views,
                 f'0 to window.size {self.size}')
        _require(self.max_latency_s > 0.0, 'window.max_latency_s', self.max_latency_s, 'above 0')

    @property
    def planned_views(self) -> int:
        """Return the views of windows at first, which ``stride`` is for."""
        return self.first_views or self.size

    @property
    def is_chained(self) -> bool:
        """Tell whether windows overlap, so that they can be joined."""
        return self.size >= 2 * self.num_cameras


@dataclass(frozen=True)
class AlignmentConfig:
    """
    When two windows count as joined.

    :param samples_per_view: pixels compared in each shared keyframe.
    :param inlier_threshold: a shared point is an inlier if its two positions differ by less than
        this share of its depth.
    :param max_residual: largest accepted median difference, as a share of the depth.
    :param min_inlier_share: smallest accepted share of inliers.
    :param max_scale_ratio: largest accepted factor between the units of two windows.
    """

    samples_per_view: int = 4096
    inlier_threshold: float = 0.2
    max_residual: float = 0.2
    min_inlier_share: float = 0.4
    max_scale_ratio: float = 10.0

    def __post_init__(self) -> None:
        """
        Check the values.

        :raises ValueError: if one is out of its range.
        """
        _require(self.samples_per_view >= 16, 'alignment.samples_per_view',
                 self.samples_per_view, 'at least 16')
        _require_share('alignment.inlier_threshold', self.inlier_threshold)
        _require_share('alignment.max_residual', self.max_residual)
        _require_share('alignment.min_inlier_share', self.min_inlier_share)
        _require(self.max_scale_ratio > 1.0, 'alignment.max_scale_ratio', self.max_scale_ratio,
                 'above 1')


@dataclass(frozen=True)
class ScaleConfig:
    """
    Where metres come from.

    Sources: ``none``: lengths stay in the unit of the first window. ``fixed``: that unit times
    ``fixed_factor``. ``model``: metres where the network gives them, else as ``none``. ``tf``: the
    robot's own motion over the same stamps. ``pose``: the network is given the robot's poses.
    ``rig``: the known distances between the cameras of the robot.

    :param source: one of the above.
    :param fixed_factor: metres per unit of the first window, for ``fixed``.
    :param model_sigma: relative standard deviation of one window's metres, for ``model`` and
        ``pose``; a larger one filters longer.
    :param tf_sigma: relative standard deviation of the distances that the robot measures.
    :param tf_noise_m: standard deviation of one position of the robot.
    :param rig_sigma: relative standard deviation of the distances between cameras as one window
        sees them.
    :param min_motion_m: windows in which the camera moved less say nothing about scale.
    :param max_sigma: lengths are called metres when the scale is known to this.
    """

    source: str = 'model'
    fixed_factor: float = 1.0
    model_sigma: float = 0.05
    tf_sigma: float = 0.01
    tf_noise_m: float = 0.005
    rig_sigma: float = 0.05
    min_motion_m: float = 0.1
    max_sigma: float = 0.05

    def __post_init__(self) -> None:
        """
        Check the values.

        :raises ValueError: if one is out of its range.
        """
        _require(self.source in SCALE_SOURCES, 'scale.source', self.source,
                 f'one of {SCALE_SOURCES}')
        for name in ('fixed_factor', 'model_sigma', 'tf_sigma', 'tf_noise_m', 'rig_sigma',
                     'min_motion_m', 'max_sigma'):
            value = getattr(self, name)
            _require(0.0 < value < math.inf, f'scale.{name}', value, 'above 0')


@dataclass(frozen=True)
class LoopConfig:
    """
    When a place counts as seen before.

    :param enabled: whether to look for loops at all.
    :param min_gap: keyframes between a place and its return.
    :param min_similarity: of the two pictures, for a joint window to be spent on them.
    :param min_overlap: share of the surfaces that both must see in that window.
    :param max_places: places that are remembered; beyond, older ones are thinned out.
    """

    enabled: bool = False
    min_gap: int = 40
    min_similarity: float = 0.5
    min_overlap: float = 0.2
    max_places: int = 300

    def __post_init__(self) -> None:
        """
        Check the values.

        :raises ValueError: if one is out of its range.
        """
        _require(self.min_gap >= 1, 'loop.min_gap', self.min_gap, 'at least 1')
        _require_share('loop.min_similarity', self.min_similarity)
        _require_share('loop.min_overlap', self.min_overlap)
        _require(self.max_places >= 4, 'loop.max_places', self.max_places, 'at least 4')


@dataclass(frozen=True)
class MapConfig:
    """
    What the fused cloud holds.

    :param enabled: fuse also while nobody listens.
    :param voxel_m: edge of a voxel, in the unit of the world.
    :param max_voxels: bound of their number; what was not seen for longest goes first.
    :param period_s: shortest time between two publications.
    :param min_confidence: points below it are left out; 1 = none at all.
    :param max_m: points whose depth is beyond it are left out; 0 = no limit.
    """

    enabled: bool = False
    voxel_m: float = 0.05
    max_voxels: int = 500_000
    period_s: float = 2.0
    min_confidence: float = 1.0
    max_m: float = 0.0

    def __post_init__(self) -> None:
        """
        Check the values.

        :raises ValueError: if one is out of its range.
        """
        _require(0.0 < self.voxel_m < math.inf, 'map.voxel_m', self.voxel_m, 'above 0')
        _require(self.max_voxels >= 1, 'map.max_voxels', self.max_voxels, 'at least 1')

    @property
    def limit_m(self) -> float:
        """Return the largest depth of a point."""
        return depth_limit(self.max_m)


@dataclass(frozen=True)
class GridConfig:
    """
    What the grid for navigation shows.

    :param cell_m: edge of a cell, in the unit of the world.
    :param min_height_m: z of the map from which on something is in the way.
    :param max_height_m: z of the map up to which something is in the way.
    """

    cell_m: float = 0.05
    min_height_m: float = 0.1
    max_height_m: float = 1.5

    def __post_init__(self) -> None:
        """
        Check the values.

        :raises ValueError: if they cannot be used, or not together.
        """
        _require(0.0 < self.cell_m < math.inf, 'grid.cell_m', self.cell_m, 'above 0')
        _require(self.min_height_m <= self.max_height_m, 'grid.min_height_m', self.min_height_m,
                 f'at most grid.max_height_m, {self.max_height_m}')


@dataclass(frozen=True)
class PipelineConfig:
    """
    All settings of ``DepthPipeline``.

    :param keyframe: which frames are kept.
    :param window: which keyframes are inferred together.
    :param alignment: when two windows count as joined.
    :param scale: where metres come from.
    :param loop: when a place counts as seen before.
    :param rig: which cameras there are.
    :param frames: which frames get depth.
    """

    keyframe: KeyframeConfig = field(default_factory=KeyframeConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    rig: RigConfig = field(default_factory=RigConfig)
    frames: FramesConfig = field(default_factory=FramesConfig)

    def __post_init__(self) -> None:
        """
        Check what no single group can see.

        :raises ValueError: if two settings contradict each other.
        """
        self.frames.check_cameras(self.rig.cameras)
