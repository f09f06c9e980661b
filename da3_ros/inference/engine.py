# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The inference engine: images of a window in, depth and poses out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
import logging

from da3_ros.errors import NonFiniteError, PredictionError
from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.conditioning import condition_on, Conditioning, network_unit
from da3_ros.inference.device import choose_devices, choose_dtype
from da3_ros.inference.device_runner import DeviceRunner, RunnerSettings
from da3_ros.inference.executor import PendingWindow
from da3_ros.inference.memory_guard import MemoryLimits
from da3_ros.inference.memory_planner import Demand, Plan
from da3_ros.inference.prediction import WindowPrediction
from da3_ros.inference.preprocessing import plan_processing, Preprocessor, ProcessedImages
from da3_ros.inference.team.team import Team
from da3_ros.model.build import Network
from da3_ros.model.camera_head import Cameras
from da3_ros.model.network import NetworkOutput
from da3_ros.model.reference_view import check_strategy
from da3_ros.model.sky import SKY_THRESHOLD
import numpy as np
from numpy.typing import NDArray
import torch

_logger = logging.getLogger(__name__)


class InferenceEngine:
    """
    Joint inference over windows of images, in user units.

    :param network: taken over: moved to the device and its matrices rounded, in place.
    :param device: None: the first GPU, or the CPU where there is none; several, as
        ``device.choose_devices`` has them, share every window.
    :param dtype: of the backbone's matrices; None: by the device (see ``device.choose_dtype``).
    :param size: process resolution [px], see ``preprocessing.plan_processing``.
    :param method: process method, see ``preprocessing.plan_processing``.
    :param use_ray_pose: take the cameras from the rays instead of the camera decoder.
    :param ref_view_strategy: see ``model.reference_view``.
    :param options: memory against time or precision.
    :param limits: what windows may take of a GPU.
    :param expects_poses: whether windows come with poses: room is made for the camera encoder.
    :raises MemoryBudgetError: if the weights do not fit the GPU.
    :raises DeviceLostError: if several devices cannot work together.
    """

    def __init__(
        self,
        network: Network,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        size: int = 504,
        method: str = 'upper_bound_resize',
        use_ray_pose: bool = False,
        ref_view_strategy: str = 'saddle_balanced',
        options: ExecutorOptions | None = None,
        limits: MemoryLimits | None = None,
        expects_poses: bool = False,
    ) -> None:
        check_strategy(ref_view_strategy)
        self._config = network.config
        if use_ray_pose and not self._config.has_cameras:
            raise ValueError(f'use_ray_pose: got True, but {self._config.name} predicts no rays')
        devices = choose_devices(device)
        self.device = devices[0]
        self.dtype = choose_dtype(*devices) if dtype is None else dtype
        self._size = size
        self._method = method
        self._preprocessor = Preprocessor(size, method)
        self._limits = MemoryLimits() if limits is None else limits
        settings = RunnerSettings(
            self.dtype, use_ray_pose, ref_view_strategy,
            ExecutorOptions() if options is None else options, self._limits, expects_poses)
        network.eval()
        self._runner: DeviceRunner | Team = (
            DeviceRunner(network, self.device, settings) if len(devices) == 1
            else Team(network, devices, settings))

    @property
    def num_shortages(self) -> int:
        """Return how often memory was short for a window; such windows are not lost."""
        return self._runner.num_shortages

    @property
    def works_apart(self) -> bool:
        """Tell whether a device works on what was submitted while the caller does other things."""
        return self.device.type == 'cuda' or len(self.devices) > 1

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """Return the devices that share windows; those that are lost are left out."""
        return self._runner.devices

    def plan(self, height: int, width: int, demand: Demand | None = None) -> Plan:
        """
        Say how many views a window may have at the moment, and why.

        On the CPU this takes as long as a few views, which are timed.

        :param height: of the camera's images [px].
        :param width: of the camera's images [px].
        :param demand: what is wanted; None: as many views as memory and latency allow.
        :raises MemoryBudgetError: if not even one view fits, or none is done in time.
        """
        if demand is None:
            demand = Demand(min_views=1, max_latency_s=self._limits.max_latency_s)
        size = plan_processing(height, width, size=self._size, method=self._method).size
        return self._runner.plan(size, demand)

    def infer(
        self,
        images: Sequence[NDArray[np.uint8]],
        *,
        poses: Array | None = None,
        intrinsics: Array | None = None,
        wanted: Sequence[int] | None = None,
        keep: bool = True,
    ) -> WindowPrediction:
        """
        Infer all images together.

        With poses, depth comes in their unit, which only the caller knows to be metres or not, and
        the poses come back as they were given. Without, the network does not see the intrinsics:
        they come back in place of estimated ones, and give the metric variant its metres.

        :param images: N RGB images (H, W, 3) uint8, which must not change afterwards: what they
            become is kept for the next window.
        :param poses: (N, 4, 4) world_T_camera to condition on, together with ``intrinsics``.
        :param intrinsics: (N, 3, 3) [px] of ``images``, corner-origin; NaN for unknown ones, but
            not with poses. By them the metric variants measure: a view without focal length is
            unknown (NaN) where the metres of the others depend on theirs.
        :param wanted: images whose views are asked for, each once; None: all. The others are seen
            by these as ever, which is all they are for.
        :param keep: whether the images come again in the next windows; if not, what is kept of
            others stays as it is.
        :returns: the views asked for, in that order.
        :raises ValueError: if an argument does not fit the others or the variant.
        :raises NonFiniteError: if the network's answer is not finite.
        :raises PredictionError: if nothing can be made of it: a view's rays are those of no
            camera, or no pixel is left to find the metric scale by.
        :raises MemoryBudgetError: if the window does not fit the GPU's free memory; fewer views,
            as many as the error says, can be tried at once.
        """
        return self.submit(
            images, poses=poses, intrinsics=intrinsics, wanted=wanted, keep=keep).collect()

    def submit(
        self,
        images: Sequence[NDArray[np.uint8]],
        *,
        poses: Array | None = None,
        intrinsics: Array | None = None,
        wanted: Sequence[int] | None = None,
        keep: bool = True,
    ) -> 'PendingPrediction':
        """
        Begin to infer all images together; parameters and errors are those of ``infer``.

        :returns: the prediction, to be collected before another window begins.
        """
        window = self._preprocessor.process(images, intrinsics, keep=keep)
        conditioning = None if poses is None else self._condition(poses, window)
        cameras = None if conditioning is None else _cameras(conditioning)

        focal_px = None
        if self._config.metric_branch is not None and window.intrinsics is not None:
            focal_px = _focal_px(window.intrinsics)

        def submit() -> PendingWindow:
            return self._runner.submit(
                window.images, cameras, focal_px, keys=window.keys, wanted=wanted)

        views = None if wanted is None else list(wanted)
        pending = submit()

        def collect() -> WindowPrediction:
            prediction = self._predict(pending, submit, window, views)
            if conditioning is not None:
                prediction = _in_given_unit(prediction, conditioning)
            return prediction if views is None else _of_views(prediction, views)

        return PendingPrediction(collect)

    def prepare(self, image: NDArray[np.uint8]) -> None:
        """
        Resize an image before its window.

        :param image: (H, W, 3) uint8 RGB, which must not change afterwards.
        :raises ValueError: if it has the wrong shape or type.
        """
        self._preprocessor.prepare(image)

    def _predict(
        self, pending: PendingWindow, submit: Callable[[], PendingWindow],
        window: ProcessedImages, views: list[int] | None,
    ) -> WindowPrediction:
        """
        Predict in the network's own units; in float32 from the first time on that float16 fails.

        Weights that were not trained in float16 may make larger numbers than it has.
        """
        try:
            return self._interpret(pending.collect(), window, views)
        except NonFiniteError as error:
            if self.dtype != torch.float16:
                raise
            _logger.warning('%s in float16: float32 from now on', str(error))
        self._runner.widen()
        self.dtype = torch.float32
        return self._interpret(submit().collect(), window, views)

    def _condition(self, poses: Array, window: ProcessedImages) -> Conditioning:
        if not self._config.has_cameras:
            raise ValueError(f'poses: got some, but {self._config.name} takes none')
        if window.intrinsics is None or np.isnan(window.intrinsics).any():
            raise ValueError(
                'intrinsics: got None or NaN, expected those of all images with poses')
        return condition_on(poses, window.intrinsics)

    def _interpret(
        self, output: NetworkOutput, window: ProcessedImages, views: list[int] | None
    ) -> WindowPrediction:
        """Turn the network's answer into a prediction in the network's own units."""
        depth = output.depth[0].numpy()
        poses = None
        intrinsics = window.intrinsics
        if output.extrinsics is not None and output.intrinsics is not None:
            camera_T_world = output.extrinsics[0].double().numpy()
            estimated = output.intrinsics[0].double().numpy()
            _check_finite('poses', camera_T_world)
            _check_finite('intrinsics', estimated)
            intrinsics = estimated if intrinsics is None else np.where(
                np.isnan(intrinsics), estimated, intrinsics)
            poses = rigid.inverse(_to_square(camera_T_world))
        is_metric = self._config.metric_branch is not None
        if self._config.canonical_focal_px is not None and intrinsics is not None:
            focal_px = _focal_px(intrinsics)
            focal_px = focal_px if views is None else focal_px[views]
            is_metric = bool(np.isfinite(focal_px).any())
            if is_metric:
                factors = (focal_px / self._config.canonical_focal_px).astype(np.float32)
                depth = depth * factors[:, None, None]
        return WindowPrediction(
            images=window.images,
            depth=depth,
            confidence=None if output.confidence is None else output.confidence[0].numpy(),
            sky=None if output.sky is None else (output.sky[0] >= SKY_THRESHOLD).numpy(),
            intrinsics=intrinsics,
            poses=poses,
            is_metric=is_metric,
            appearance=None if output.appearance is None else output.appearance[0].numpy(),
        )


@dataclass(frozen=True, eq=False)
class PendingPrediction:
    """
    A window that the device may still be at.

    :param collect: waits for the prediction; raises what ``InferenceEngine.infer`` does.
    """

    collect: Callable[[], WindowPrediction]


def _of_views(prediction: WindowPrediction, views: list[int]) -> WindowPrediction:
    """Keep some views, whose maps are all there are."""
    def some(values: Array | None) -> Array | None:
        return None if values is None else values[views]

    appearance = prediction.appearance
    return replace(
        prediction,
        images=prediction.images[views],
        intrinsics=some(prediction.intrinsics),
        poses=some(prediction.poses),
        appearance=None if appearance is None else appearance[views],
    )


def _cameras(conditioning: Conditioning) -> Cameras:
    """Make the network's camera input."""
    return Cameras(
        torch.from_numpy(conditioning.extrinsics[None]).float(),
        torch.from_numpy(conditioning.intrinsics[None]).float(),
    )


def _in_given_unit(
    prediction: WindowPrediction, conditioning: Conditioning
) -> WindowPrediction:
    """Scale a prediction to the poses it was conditioned on, and return those."""
    assert prediction.poses is not None, 'variants that take cameras estimate them too'
    # Metric variants answer in metres, whatever they are given.
    expected = 1.0 if prediction.is_metric else conditioning.unit
    unit = network_unit(conditioning.poses, prediction.poses, expected=expected)
    own_poses = prediction.poses.copy()
    own_poses[:, :3, 3] *= unit
    return replace(
        prediction,
        depth=prediction.depth * np.float32(unit),
        intrinsics=conditioning.intrinsics,
        poses=conditioning.poses,
        is_metric=False,
        own_poses=own_poses,
    )


def _focal_px(intrinsics: Array) -> Array:
    """Return the focal length that metric branches measure by: (N,), NaN where unknown."""
    focal_px: Array = intrinsics[:, [0, 1], [0, 1]].mean(axis=1)
    return focal_px


def _to_square(matrices: Array) -> Array:
    """Append the last row of rigid motions: (N, 3, 4) to (N, 4, 4)."""
    square = np.tile(np.eye(4), (len(matrices), 1, 1))
    square[:, :3] = matrices
    return square


def _check_finite(name: str, values: NDArray[np.floating]) -> None:
    """Refuse what finite values of the network should never become."""
    if not np.isfinite(values).all():
        raise PredictionError(f'{name}: got values that are not finite')
