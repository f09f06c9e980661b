# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The exact executor: a network's own modules and weights over one window, in little memory.

Equal to the network's plain forward to rounding, however the work is divided. Shapes: N views,
H W pixels.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NoReturn, TypeVar

from da3_ros.errors import PredictionError
from da3_ros.inference.branch import Branch, ExecutorOptions
from da3_ros.inference.device import choose_attention, on_work_stream, pinned_attention
from da3_ros.inference.placement import main_branch
from da3_ros.inference.sharing import Peers, split_views
from da3_ros.inference.small_window import KeptOutput, SmallWindows
from da3_ros.model.build import Network
from da3_ros.model.camera_head import Cameras
from da3_ros.model.config import PATCH_SIZE
from da3_ros.model.nested import NestedDepthAnything3, to_metres
from da3_ros.model.network import check_inputs, interpret, NetworkOutput, RawOutput
from da3_ros.model.reference_view import check_strategy
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

Output = TypeVar('Output', RawOutput, NetworkOutput, Cameras)


@dataclass(frozen=True, eq=False)
class PendingWindow:
    """
    A window that the device may still be at.

    :param done: passed when its maps are on the host; None: they are there.
    :param finish: interprets what the heads gave, if that has not been done.
    :param note_end: is told when the window ends, if somebody waits for it then: one that was over
        before may have been so for long.
    :param peers: that are at it, too.
    """

    done: torch.cuda.Event | None
    finish: Callable[[], NetworkOutput]
    note_end: Callable[[], None] | None = None
    peers: Peers = field(default_factory=Peers)

    def collect(self) -> NetworkOutput:
        """
        Wait for the prediction, and return it.

        :raises NonFiniteError: if a value is NaN or infinite.
        :raises PredictionError: see ``model.network.interpret`` and ``model.nested.to_metres``.
        """
        is_under_way = self.done is None or not self.done.query()  # type: ignore[no-untyped-call]
        with self.peers.together():
            if self.done is not None:
                self.done.synchronize()
        if self.note_end is not None and self.peers.smallest(float(is_under_way)) > 0.0:
            self.note_end()
        return self.finish()


class WindowExecutor:
    """
    Runs a network over windows; results and errors are those of ``DepthAnything3.forward``.

    :param network: on its device and in its compute dtype; stays as it is.
    :param options: see ``ExecutorOptions``.
    :param use_ray_pose: take the cameras from the rays instead of the camera decoder.
    :param ref_view_strategy: see ``model.reference_view``.
    :param peers: devices that share windows: each has this network, and is asked the same.
    :raises ValueError: if an argument does not fit the variant.
    """

    def __init__(
        self,
        network: Network,
        options: ExecutorOptions | None = None,
        *,
        use_ray_pose: bool = False,
        ref_view_strategy: str = 'saddle_balanced',
        peers: Peers | None = None,
    ) -> None:
        check_strategy(ref_view_strategy)
        if use_ray_pose and not network.config.has_cameras:
            raise ValueError(f'use_ray_pose: got True, but {network.config.name} predicts no rays')
        self._config = network.config
        self.options = ExecutorOptions() if options is None else options
        self.with_rays = use_ray_pose
        self.peers = Peers() if peers is None else peers
        main = main_branch(network)
        self.branches = [
            Branch(
                main,
                self.options,
                with_rays=use_ray_pose,
                ref_view_strategy=ref_view_strategy,
                peers=self.peers,
            )
        ]
        self._metric_config = None
        if isinstance(network, NestedDepthAnything3):
            self.branches.append(Branch(network.da3_metric, self.options, peers=self.peers))
            self._metric_config = network.da3_metric.config
        self._device = main.backbone.pretrained.pos_embed.device
        self.attention = choose_attention(self._device, main.backbone.compute_dtype)
        # Maps that are interpreted over the whole window stay on the device until then.
        self._stays = use_ray_pose or main.config.head == 'dpt' or self._metric_config is not None
        self._small: SmallWindows | None = None

    @property
    def held_bytes(self) -> int:
        """Return the memory that is allocated between windows, besides weights and tables."""
        return 0 if self._small is None else self._small.held_bytes

    def release(self) -> None:
        """Give back what is held to be faster; the next windows are slower once."""
        self._small = None

    def run(
        self,
        images: NDArray[np.uint8],
        cameras: Cameras | None = None,
        focal_px: NDArray[np.float64] | None = None,
        *,
        keys: Sequence[Hashable] | None = None,
        wanted: Sequence[int] | None = None,
    ) -> NetworkOutput:
        """Predict one window, see ``submit``."""
        return self.submit(images, cameras, focal_px, keys=keys, wanted=wanted).collect()

    @torch.inference_mode()
    def submit(
        self,
        images: NDArray[np.uint8],
        cameras: Cameras | None = None,
        focal_px: NDArray[np.float64] | None = None,
        *,
        keys: Sequence[Hashable] | None = None,
        wanted: Sequence[int] | None = None,
    ) -> PendingWindow:
        """
        Begin to predict one window; the device may still be at it when this returns.

        :param images: (N, H, W, 3) uint8 RGB; H and W multiples of 14.
        :param cameras: (1, N, ...) given cameras on the host, or None.
        :param focal_px: (N,) true focal lengths, NaN where unknown, by which the metric branch of
            a nested network measures; None: by the estimated ones, as the network's forward.
        :param keys: who each view is, to know it when it comes again; None: it does not.
        :param wanted: views whose maps are wanted, each once; None: all. The others are seen by
            these, and have cameras and nothing else.
        :raises ValueError: if an argument does not fit the others or the variant.
        """
        self._check(images, cameras, focal_px)
        split_views(len(images), wanted)
        # What is interpreted over the whole window needs all of its maps.
        mapped = None if self._stays else wanted
        try:
            with on_work_stream(self._device), self.peers.together():
                parts = self._run(images, cameras, keys, mapped)
                return self._finish(parts, focal_px, wanted)
        except Exception:
            # Others may have taken in views that failed here.
            self.release()
            raise

    def _run(
        self, images: NDArray[np.uint8], cameras: Cameras | None, keys: Sequence[Hashable] | None,
        wanted: Sequence[int] | None,
    ) -> list[KeptOutput]:
        """Run all branches over a window."""
        num_views, size = len(images), (images.shape[1], images.shape[2])
        if self._is_small(num_views):
            small = self._small_windows(num_views, size)
            tokens = None if cameras is None else small.encode(cameras)
            with pinned_attention(self.attention):
                return small.run(images, tokens, keys, wanted)
        tokens = None if cameras is None else self._encode(cameras, size)
        with pinned_attention(self.attention):
            # They go to the host as they come, if they may.
            pixels, on_host = torch.from_numpy(images), not self._stays
            raw = [branch.run(pixels, tokens, wanted, on_host=on_host) for branch in self.branches]
        return [KeptOutput(part) for part in raw]

    def _encode(self, cameras: Cameras, size: tuple[int, int]) -> Tensor:
        """Encode given cameras."""
        on_device = Cameras(
            cameras.extrinsics.to(self._device), cameras.intrinsics.to(self._device)
        )
        return self.branches[0].given_tokens(on_device, size)

    def _is_small(self, num_views: int) -> bool:
        is_wanted = num_views <= self.options.small_window
        return is_wanted and self.options.features == 'device'

    def _small_windows(self, num_views: int, size: tuple[int, int]) -> SmallWindows:
        """Return what runs small windows; for larger ones than before, it begins anew."""
        small = self._small
        if small is None or small.image_size != size or small.capacity <= num_views:
            self._small = None
            # A view more than in any window: one that does not stay drives out none that does.
            small = SmallWindows(self.branches, self._device, size, num_views + 1)
            self._small = small
        return small

    def _check(
        self, images: NDArray[np.uint8], cameras: Cameras | None,
        focal_px: NDArray[np.float64] | None,
    ) -> None:
        """Refuse what would give an answer that looks like any other, or fail far from here."""
        shape = np.shape(images)
        is_rgb = len(shape) == 4 and shape[3] == 3 and min(shape) > 0
        if not is_rgb or shape[1] % PATCH_SIZE or shape[2] % PATCH_SIZE:
            raise ValueError(
                f'images: got shape {shape}, expected (N, H, W, 3), sides multiples of '
                f'{PATCH_SIZE}'
            )
        if images.dtype != np.uint8:
            raise ValueError(f'images: got {images.dtype}, expected uint8')
        if cameras is not None:
            network_images = torch.empty((1, shape[0], 3, *shape[1:3]), device='meta')
            check_inputs(network_images, cameras.extrinsics, cameras.intrinsics, self._config)
            for name, values in vars(cameras).items():
                if not bool(torch.isfinite(values).all()):
                    raise ValueError(f'{name}: got values that are not finite')
        if focal_px is None:
            return
        if self._metric_config is None:
            raise ValueError(f'focal_px: got some, but {self._config.name} measures no metres')
        if np.shape(focal_px) != shape[:1] or not (np.isnan(focal_px) | (focal_px > 0.0)).all():
            raise ValueError(f'focal_px: got {focal_px}, expected {shape[0]} > 0, or NaN')

    def _finish(
        self, parts: Sequence[KeptOutput], focal_px: NDArray[np.float64] | None,
        wanted: Sequence[int] | None,
    ) -> PendingWindow:
        """Begin to bring what the branches give to the host, interpreted if need be."""
        main = parts[0]
        if self._stays:
            try:
                on_host = _to_host(self._interpret(parts, focal_px, wanted))
            except PredictionError as error:
                # Without what the traceback holds.
                refuse = partial(_refuse, error.with_traceback(None))
                return PendingWindow(None, refuse, peers=self.peers)
            return PendingWindow(self._event(), lambda: on_host, peers=self.peers)
        raw, is_finite = _to_host(main.raw), main.is_finite
        cameras = None if main.cameras is None else _to_host(main.cameras)
        flag = None if is_finite is None else is_finite.to('cpu', non_blocking=True)
        return PendingWindow(
            self._event(),
            lambda: interpret(raw, cameras, is_finite=flag is not None and bool(flag)),
            peers=self.peers)

    def _interpret(
        self, parts: Sequence[KeptOutput], focal_px: NDArray[np.float64] | None,
        wanted: Sequence[int] | None,
    ) -> NetworkOutput:
        """Interpret maps that are on the device, over the whole window."""
        output = interpret(parts[0].raw)
        if self._metric_config is not None:
            metric = parts[1].raw
            output = to_metres(
                output, metric.depth, metric.sky, self._metric_config,
                focal_px=None if focal_px is None else torch.from_numpy(focal_px).to(
                    self._device, torch.float32)[None],
            )
        return output if wanted is None else _maps_of(output, list(wanted))

    def _event(self) -> torch.cuda.Event | None:
        """Return what is passed when the device has done all that it was given so far."""
        if self._device.type != 'cuda':
            return None
        done: torch.cuda.Event = torch.cuda.current_stream(self._device).record_event()
        return done


def _maps_of(output: NetworkOutput, views: list[int]) -> NetworkOutput:
    """Keep the maps of some views."""
    confidence, sky = output.confidence, output.sky
    return replace(
        output,
        depth=output.depth[:, views],
        confidence=None if confidence is None else confidence[:, views],
        sky=None if sky is None else sky[:, views],
    )


def _refuse(error: PredictionError) -> NoReturn:
    raise error


def _to_host(output: Output) -> Output:
    """Begin to copy all tensors of a dataclass to the host."""
    on_host: dict[str, Any] = {
        name: None if part is None else part.to('cpu', non_blocking=True)
        for name, part in vars(output).items()
    }
    return type(output)(**on_host)
