# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Every parameter of the node, declared once: description, unit, range, and when it may change.

Types and defaults are those of ``ros.parameters.settings``.
"""

from dataclasses import dataclass
from enum import Enum
import math
import re
from typing import get_args, TYPE_CHECKING

from da3_ros.inference.automatic_model import AUTOMATIC
from da3_ros.inference.levels import Placement
from da3_ros.inference.memory_planner import Trade
from da3_ros.inference.preprocessing import ProcessMethod
from da3_ros.mapping.config import FRAME_MODES, KEYFRAME_MODES, SCALE_SOURCES
from da3_ros.model.config import MODELS
from da3_ros.model.reference_view import ReferenceStrategy
from da3_ros.ros.parameters.settings import NodeSettings

if TYPE_CHECKING:
    from rcl_interfaces.msg import ParameterDescriptor

Value = bool | int | float | str | list[str]

TRANSPORTS = ('raw', 'compressed')
DTYPES = ('auto', 'float32', 'float16', 'bfloat16')
DEPTH_SIZES = ('network', 'image')
POINT_FRAMES = ('camera', 'world')
GRAVITIES = ('none', 'tf')
TF_MODES = ('camera', 'odom_to_base', 'map_to_odom', 'none')


# A token of a topic's name: no doubled underscore, none at the end.
_NAME = re.compile('[A-Za-z](_?[A-Za-z0-9])*')


class Change(Enum):
    """When a parameter may change."""

    ANY_TIME = 'any time'
    UNCONFIGURED = 'while unconfigured'
    AT_START = 'at start'


@dataclass(frozen=True)
class ParameterSpec:
    """
    One parameter; its type and default are those of the field of the same name in the settings.

    :param name: ``group.field``, or ``field``.
    :param description: one sentence.
    :param unit: of the value, or empty.
    :param limits: smallest and largest value of a number.
    :param choices: allowed values of a string; empty allows all.
    :param change: when it may change.
    """

    name: str
    description: str
    unit: str = ''
    limits: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    change: Change = Change.UNCONFIGURED

    @property
    def default(self) -> Value:
        """Return the value if nobody sets one."""
        value: object = NodeSettings()
        for part in self.name.split('.'):
            value = getattr(value, part)
        if isinstance(value, tuple):
            return list(value)
        assert isinstance(value, (bool, int, float, str))
        return value

    def descriptor(self) -> 'ParameterDescriptor':
        """Describe the parameter to ROS's tools."""
        # Here, so that recordings are processed where there is no ROS.
        from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
        unit = f' [{self.unit}]' if self.unit else ''
        descriptor = ParameterDescriptor(
            description=f'{self.description}{unit} Changes {self.change.value}.',
            read_only=self.change is Change.AT_START,
        )
        if self.choices:
            descriptor.additional_constraints = 'one of ' + ', '.join(self.choices)
        if self.limits is not None and isinstance(self.default, float):
            low, high = (float(limit) for limit in self.limits)
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif self.limits is not None:
            low, high = (int(limit) for limit in self.limits)
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        return descriptor

    def complaint(self, value: Value) -> str | None:
        """
        Say what is wrong with a value, beyond its type and range, which rclpy checks.

        :param value: of the right type.
        """
        if self.choices and value not in self.choices:
            return f'{self.name}: got {value!r}, expected one of {", ".join(self.choices)}'
        if isinstance(value, float) and not math.isfinite(value):
            return f'{self.name}: got {value}, expected a finite number'
        if isinstance(value, list) and value != self.default:
            wrong = [name for name in value if not _NAME.fullmatch(name)]
            if wrong:
                return f'{self.name}: got {wrong[0]!r}, expected letters, digits and _'
        return None


def _live(name: str, description: str, unit: str = '', limits: tuple[float, float] | None = None,
          choices: tuple[str, ...] = ()) -> ParameterSpec:
    return ParameterSpec(name, description, unit, limits, choices, Change.ANY_TIME)


PARAMETERS: tuple[ParameterSpec, ...] = (
    ParameterSpec('autostart', 'Configure and activate without being asked.',
                  change=Change.AT_START),
    ParameterSpec('model.name', 'Variant of the network; "auto" takes the best one that fits, see '
                  'the parameters of plan.', choices=(AUTOMATIC, *MODELS)),
    ParameterSpec('model.weights', 'A file, a folder or a hub id; empty takes the published '
                  'weights; "random" takes meaningless ones, for tests.'),
    ParameterSpec('model.offline', 'Take published weights from the cache alone.'),
    ParameterSpec('model.seed', 'Seed of random weights.', limits=(0, 2**31 - 1)),
    ParameterSpec('model.device', 'A torch device such as cpu or cuda:0; "cuda:0,1" shares every '
                  'window among two GPUs, "all" among all; "auto" takes the first GPU, else the '
                  'CPU.'),
    ParameterSpec('model.dtype', 'Number format of the backbone; "auto" suits the device.',
                  choices=DTYPES),
    ParameterSpec('model.use_ray_pose', 'Take the cameras from the rays instead of the camera '
                  'decoder.'),
    ParameterSpec('model.ref_view_strategy', 'Which view of a window is its reference.',
                  choices=get_args(ReferenceStrategy)),
    ParameterSpec('preprocess.size', 'Process resolution.', 'px', (14, 4096)),
    ParameterSpec('preprocess.method', 'How images are brought to the process resolution.',
                  choices=get_args(ProcessMethod)),
    ParameterSpec('plan.min_views', 'For model.name auto: where fewer views than this fit, a '
                  'smaller resolution or variant is taken.', limits=(1, 4096)),
    ParameterSpec('plan.give_up_first', 'Whether "auto" tries smaller resolutions of a variant '
                  'first, or smaller variants.', choices=get_args(Trade)),
    ParameterSpec('plan.min_size', 'Smallest process resolution that "auto" tries, in steps of '
                  'three quarters.', 'px', (14, 4096)),
    ParameterSpec('plan.allow_non_commercial', 'Let "auto" take weights whose licence excludes '
                  'commercial use.'),
    ParameterSpec('memory.reserve_mib', 'Memory of the GPU that is left to others.', 'MiB',
                  (0, 10**6)),
    ParameterSpec('memory.features', 'Where features wait for the depth head; host is exact, '
                  'slower, and saves memory of the device.', choices=get_args(Placement)),
    ParameterSpec('memory.reduced', 'Inexact: keep the residual stream in the number format '
                  'of the backbone, a third less memory for a view and errors twice as large.'),
    ParameterSpec('camera.names', 'Cameras that are inferred jointly, each with its own topics '
                  '<name>/image and so on; one empty name is one camera on the plain topics.'),
    ParameterSpec('camera.sync_tolerance_s', 'Images of two cameras that are this close belong '
                  'to one instant.', 's', (0.0, 1.0)),
    ParameterSpec('camera.transport', 'Subscribe to image (raw) or image/compressed.',
                  choices=TRANSPORTS),
    ParameterSpec('camera.rectify', 'Undistort images by their CameraInfo.'),
    ParameterSpec('camera.info_wait_s', 'Images are dropped for so long while no CameraInfo '
                  'has come; then the network estimates the intrinsics.', 's', (0.0, 3600.0)),
    ParameterSpec('camera.max_gap_s', 'A longer gap between two images begins a new session.', 's',
                  (0.1, 86400.0)),
    ParameterSpec('camera.max_pixels', 'Larger images are refused, encoded ones before they are '
                  'decoded.', 'px', (1, 2**30)),
    ParameterSpec('camera.bits', 'Bits that images of 16 bits use; 0 finds the range of each '
                  'session.', limits=(0, 16)),
    ParameterSpec('frames.mode', 'Give depth of keyframes alone, or live of all frames: of those '
                  'that are no keyframes at once, at the place that the newest keyframes tell.',
                  choices=FRAME_MODES),
    ParameterSpec('frames.max_rate_hz', 'Live frames in a second, for frames.mode all; 0 is as '
                  'many as come.', 'Hz', (0.0, 1000.0)),
    ParameterSpec('frames.context', 'Keyframes that a live frame is inferred with; 0 is as many '
                  'as the time between two frames allows.', limits=(0, 64)),
    ParameterSpec('keyframe.mode', 'Keep frames that show something new (motion) or at a fixed '
                  'rate (time).', choices=KEYFRAME_MODES),
    ParameterSpec('keyframe.min_interval_s', 'No two keyframes are closer than this.', 's',
                  (0.0, 3600.0)),
    ParameterSpec('keyframe.max_interval_s', 'After so long a small motion is enough.', 's',
                  (0.0, 86400.0)),
    ParameterSpec('keyframe.min_parallax', 'Median image motion that makes a keyframe, as a share '
                  'of the image width.', limits=(0.001, 1.0)),
    ParameterSpec('keyframe.min_overlap', 'A keyframe is made when fewer than this share of the '
                  'last one is in view.', limits=(0.01, 1.0)),
    ParameterSpec('keyframe.min_sharpness', 'Frames below this share of the usual sharpness wait '
                  'for a sharper one; 0 accepts all.', limits=(0.0, 0.99)),
    ParameterSpec('window.size', 'Most views in one inference; 0 takes as many as memory, '
                  'window.max_latency_s and the rate of the keyframes allow.', limits=(0, 4096)),
    ParameterSpec('window.stride', 'New keyframes per inference; 0 is a third of the window.',
                  limits=(0, 4096)),
    ParameterSpec('window.min_views', 'Views of the very first window.', limits=(1, 4096)),
    ParameterSpec('window.max_age_s', 'A keyframe waits at most so long for its window to fill.',
                  's', (0.01, 3600.0)),
    ParameterSpec('window.max_latency_s', 'Longest inference, for window.size 0; 0 is no limit.',
                  's', (0.0, 3600.0)),
    ParameterSpec('alignment.samples_per_view', 'Pixels compared in each shared keyframe.',
                  limits=(16, 10**6)),
    ParameterSpec('alignment.inlier_threshold', 'A shared point is an inlier if its two positions '
                  'differ by less than this share of its depth.', limits=(0.001, 1.0)),
    ParameterSpec('alignment.max_residual', 'Largest accepted median difference, as a share of '
                  'the depth.', limits=(0.001, 1.0)),
    ParameterSpec('alignment.min_inlier_share', 'Smallest accepted share of inliers.',
                  limits=(0.01, 1.0)),
    ParameterSpec('alignment.max_scale_ratio', 'Largest accepted factor between the units of two '
                  'windows.', limits=(1.01, 1000.0)),
    ParameterSpec('scale.source', 'Where metres come from.', choices=SCALE_SOURCES),
    ParameterSpec('scale.fixed_factor', 'Metres per unit of the first window, for "fixed".', 'm',
                  (1e-6, 1e6)),
    ParameterSpec('scale.model_sigma', 'Relative standard deviation of the metres of one window, '
                  'for "model" and "pose".', limits=(1e-4, 1.0)),
    ParameterSpec('scale.tf_sigma', 'Relative standard deviation of the distances that the robot '
                  'measures, for "tf".', limits=(1e-4, 1.0)),
    ParameterSpec('scale.tf_noise_m', 'Standard deviation of one position of the robot, for '
                  '"tf".', 'm', (1e-6, 10.0)),
    ParameterSpec('scale.rig_sigma', 'Relative standard deviation of the distances between '
                  'cameras as one window sees them, for "rig".', limits=(1e-4, 1.0)),
    ParameterSpec('scale.min_motion_m', 'Windows in which the camera moved less say nothing about '
                  'scale, for "tf".', 'm', (1e-3, 100.0)),
    ParameterSpec('scale.max_sigma', 'Lengths are called metres when the scale is known to this '
                  'relative standard deviation.', limits=(1e-4, 1.0)),
    ParameterSpec('loop.enabled', 'Look for places that were seen before, and correct the map.'),
    ParameterSpec('loop.min_gap', 'Keyframes between a place and its return.',
                  limits=(1, 10**6)),
    ParameterSpec('loop.min_similarity', 'Similarity of two pictures that is worth a joint '
                  'window.', limits=(0.01, 1.0)),
    ParameterSpec('loop.min_overlap', 'Share of the surfaces that both must see in that window.',
                  limits=(0.01, 1.0)),
    ParameterSpec('loop.max_places', 'Places that are remembered.', limits=(4, 10**5)),
    ParameterSpec('queue.size', 'Keyframes that may wait for inference; when full, the oldest is '
                  'dropped.', limits=(1, 1024)),
    ParameterSpec('depth.size', 'Give depth, confidence and rgb as the network saw them, or at '
                  'the size of the rectified image, along its edges.', choices=DEPTH_SIZES),
    _live('depth.min_confidence', 'Depth of a lower confidence becomes NaN; 1 is none at all.',
          limits=(0.0, 1000.0)),
    _live('depth.max_m', 'Depth beyond it becomes +Inf; 0 is no limit.', 'm', (0.0, 1e6)),
    _live('points.frame', 'Give points in the optical frame of the camera or in the world frame '
          'of the poses.', choices=POINT_FRAMES),
    _live('points.organized', 'Keep the shape of the image, with NaN where there is no point.'),
    _live('points.stride', 'Take every n-th pixel in both directions.', limits=(1, 64)),
    _live('points.min_confidence', 'Leave points of a lower confidence out.',
          limits=(0.0, 1000.0)),
    _live('points.max_m', 'Leave points of a larger depth out; 0 is no limit.', 'm', (0.0, 1e6)),
    _live('points.voxel_m', 'Leave one point, the weighted mean, in each cube with such edges; 0 '
          'is off, the smallest edge is 0.001. Not with points.organized.', 'm', (0.0, 1000.0)),
    _live('compressed.jpeg_quality', 'Quality of the JPEG on ~/rgb/image/compressed.',
          limits=(1, 100)),
    _live('compressed.depth_quantization', 'Z: depth z on ~/depth/image/compressedDepth is exact '
          'to half of z^2 / (Z (Z + 1)).', limits=(1.0, 1000.0)),
    _live('compressed.depth_max_m', 'Depth beyond it is lost on ~/depth/image/compressedDepth.',
          'm', (0.1, 1e6)),
    _live('map.enabled', 'Fuse the map also while nobody subscribes to it.'),
    _live('map.voxel_m', 'Edge of a voxel of the map; in the unit of the world where that is '
          'not metric.', 'm', (0.001, 1000.0)),
    _live('map.max_voxels', 'Most voxels of the map; those not seen for longest go first, then '
          'the farthest.', limits=(1, 10**7)),
    _live('map.period_s', 'Shortest time between two maps.', 's', (0.1, 3600.0)),
    _live('map.min_confidence', 'Leave points of a lower confidence out of the map.',
          limits=(0.0, 1000.0)),
    _live('map.max_m', 'Leave points of a larger depth out of the map; 0 is no limit.', 'm',
          (0.0, 1e6)),
    _live('grid.cell_m', 'Edge of a cell of the grid; in the unit of the world where that is not '
          'metric.', 'm', (0.01, 1000.0)),
    _live('grid.min_height_m', 'What is lower is not in the way: z of the map, where 0 is the '
          'first camera in the tf modes camera and none, else the robot.', 'm', (-100.0, 100.0)),
    _live('grid.max_height_m', 'What is higher is not in the way: z of the map.', 'm',
          (-100.0, 100.0)),
    ParameterSpec('world.gravity', 'What is level where the world begins: the first camera '
                  '(none), or the base of the robot that it sits on (tf); for the tf modes camera '
                  'and none.',
                  choices=GRAVITIES),
    ParameterSpec('tf.mode', 'What is published on /tf.', choices=TF_MODES),
    ParameterSpec('tf.map_frame', 'Name of the map frame.'),
    ParameterSpec('tf.odom_frame', 'Name of the odometry frame.'),
    ParameterSpec('tf.base_frame', "Name of the robot's base frame."),
    ParameterSpec('tf.publish_map', 'Publish map -> odom too, in the modes camera and '
                  'odom_to_base.'),
    _live('tf.timeout_s', 'Longest wait for a transform of the robot.', 's', (0.0, 5.0)),
    ParameterSpec('tf.rate_hz', 'Repeat the newest map -> odom so often, for the present time; 0 '
                  'sends it with keyframes only.', 'Hz', (0.0, 1000.0)),
    ParameterSpec('tf.tolerance_s', 'Date the repeated map -> odom so far ahead.', 's',
                  (0.0, 10.0)),
    _live('path.max_size', 'Most poses of the path; when full, the oldest is dropped.',
          limits=(1, 10**6)),
    _live('save.directory', 'Where the save service creates a folder per call; ~ is the home of '
          'the user.'),
    _live('save.formats', 'What the save service writes: some of ply, tum, colmap, npz, '
          "grid, and, with pip's extras of these names, glb, laz and rerun."),
    _live('save.max_keyframes', 'Keyframes that are remembered to be saved; beyond, they are '
          'thinned out evenly. 0 remembers none.', limits=(0, 10**5)),
    _live('save.on_end', 'Save a session that ends and that nobody saved, by itself.'),
)
