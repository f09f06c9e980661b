# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The network: images of windows in, depth and cameras out.

Shapes: B windows, N views of a window, C channels, H W pixels.
"""

from dataclasses import dataclass

from da3_ros.model.backbone import Backbone
from da3_ros.model.camera_head import (
    CameraDecoder,
    CameraEncoder,
    Cameras,
    decode_cameras,
    encode_cameras,
)
from da3_ros.model.config import ModelConfig, PATCH_SIZE
from da3_ros.model.depth_head import Dpt, DualDpt
from da3_ros.model.finite import check_finite
from da3_ros.model.ray_pose import cameras_from_rays
from da3_ros.model.reference_view import check_strategy
from da3_ros.model.sky import fill_sky
import torch
from torch import nn, Tensor


@dataclass(frozen=True, eq=False)
class RawOutput:
    """
    What the heads predict, before any of it is interpreted; None where there is no such head.

    :param depth: (B, N, H, W), > 0.
    :param confidence: (B, N, H, W), > 1.
    :param sky: (B, N, H, W), 0 = none.
    :param camera: (B, N, 9) encoding, see ``camera_head``.
    :param rays: (B, N, 8 rows, 8 columns, 6), direction and origin; None where not asked for.
    :param ray_confidence: (B, N, 8 rows, 8 columns), > 1.
    :param appearance: (B, N, D) what the views look like, where the executor pools it.
    """

    depth: Tensor
    confidence: Tensor | None = None
    sky: Tensor | None = None
    camera: Tensor | None = None
    rays: Tensor | None = None
    ray_confidence: Tensor | None = None
    appearance: Tensor | None = None


@dataclass(frozen=True, eq=False)
class NetworkOutput:
    """
    Depth and cameras of windows of views; None where the variant gives no such thing.

    :param depth: (B, N, H, W), z along the optical axis in window units (nested: metres).
    :param confidence: (B, N, H, W), 1 = none.
    :param extrinsics: (B, N, 3, 4) camera_T_world.
    :param intrinsics: (B, N, 3, 3) [px], corner-origin.
    :param sky: (B, N, H, W), 0 = none; 0.3 and more is sky.
    :param appearance: as in ``RawOutput``.
    """

    depth: Tensor
    confidence: Tensor | None = None
    extrinsics: Tensor | None = None
    intrinsics: Tensor | None = None
    sky: Tensor | None = None
    appearance: Tensor | None = None


class DepthAnything3(nn.Module):
    """
    Depth Anything 3 (Lin et al. 2025), every variant but the nested one.

    This forward is the readable reference: it holds all tokens of all views at once.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.head = DualDpt(config) if config.head == 'dual_dpt' else Dpt(config)
        self.cam_dec = CameraDecoder(config.feature_dim) if config.has_cameras else None
        self.cam_enc = CameraEncoder(config.embed_dim) if config.has_cameras else None

    def forward(
        self,
        images: Tensor,
        extrinsics: Tensor | None = None,
        intrinsics: Tensor | None = None,
        use_ray_pose: bool = False,
        ref_view_strategy: str = 'saddle_balanced',
    ) -> NetworkOutput:
        """
        Predict depth and cameras.

        :param images: (B, N, 3, H, W) normalised; H and W multiples of 14.
        :param extrinsics: (B, N, 3, 4) or (B, N, 4, 4) camera_T_world if known, with the first
            camera at the origin and a median distance of 1 from it.
        :param intrinsics: (B, N, 3, 3) [px], given exactly when ``extrinsics`` are.
        :param use_ray_pose: take the cameras from the rays instead of the camera decoder.
        :param ref_view_strategy: see ``reference_view``; unused where cameras are given.
        :raises ValueError: if an argument does not fit the others or the variant.
        :raises PredictionError: see ``interpret``.
        """
        raw = self.raw(
            images,
            extrinsics,
            intrinsics,
            ref_view_strategy=ref_view_strategy,
            with_rays=use_ray_pose,
        )
        return interpret(raw)

    def raw(
        self,
        images: Tensor,
        extrinsics: Tensor | None = None,
        intrinsics: Tensor | None = None,
        *,
        ref_view_strategy: str = 'saddle_balanced',
        with_rays: bool = True,
    ) -> RawOutput:
        """
        Predict what the heads give, for training and for other interpretations.

        Parameters are those of ``forward``.

        :param with_rays: run the ray branch too.
        """
        check_strategy(ref_view_strategy)
        check_inputs(images, extrinsics, intrinsics, self.config)
        if with_rays and not isinstance(self.head, DualDpt):
            raise ValueError(f'with_rays: got True, but {self.config.name} predicts no rays')
        size = (images.shape[-2], images.shape[-1])
        camera_tokens = None
        if self.cam_enc is not None and extrinsics is not None and intrinsics is not None:
            camera_tokens = self.cam_enc(encode_cameras(Cameras(extrinsics, intrinsics), size))
        features = self.backbone(images, camera_tokens, ref_view_strategy=ref_view_strategy)
        camera = None if self.cam_dec is None else self.cam_dec(features.camera)

        grid = (size[0] // PATCH_SIZE, size[1] // PATCH_SIZE)
        projected = [
            self.head.project(level, tokens.flatten(0, 1), grid)
            for level, tokens in enumerate(features.levels)
        ]
        laterals = self.head.laterals(projected, size)
        maps = self.head.maps(self.head.at_image_size(laterals, size))
        rays = None
        if with_rays and isinstance(self.head, DualDpt):
            rays = self.head.decode_rays(laterals, size)

        def windows(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.unflatten(0, images.shape[:2])

        return RawOutput(
            depth=maps.depth.unflatten(0, images.shape[:2]),
            confidence=windows(maps.confidence),
            sky=windows(maps.sky),
            camera=camera,
            rays=None if rays is None else windows(rays.rays),
            ray_confidence=None if rays is None else windows(rays.confidence),
        )

    def set_compute_dtype(self, dtype: torch.dtype) -> None:
        """
        Round the backbone's matrices; norms, embeddings and heads stay fp32.

        :param dtype: bfloat16, float16 or float32.
        """
        for module in self.backbone.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.to(dtype)


def interpret(
    raw: RawOutput, cameras: Cameras | None = None, *, is_finite: bool = False
) -> NetworkOutput:
    """
    Turn what the heads predict into depth and cameras.

    :param raw: cameras come from its rays where it has them, else from its camera encodings.
    :param cameras: what these encode, if it is known already.
    :param is_finite: whether no value is NaN or infinite, if that is known already.
    :raises NonFiniteError: if a value is NaN or infinite.
    :raises PredictionError: if the rays of a view are those of no camera.
    """
    if not is_finite:
        check_finite(**vars(raw))
    size = (raw.depth.shape[-2], raw.depth.shape[-1])
    if raw.rays is not None and raw.ray_confidence is not None:
        cameras = cameras_from_rays(raw.rays, raw.ray_confidence, size)
    elif raw.camera is not None and cameras is None:
        cameras = decode_cameras(raw.camera, size)
    return NetworkOutput(
        depth=raw.depth if raw.sky is None else fill_sky(raw.depth, raw.sky),
        confidence=raw.confidence,
        extrinsics=None if cameras is None else cameras.extrinsics,
        intrinsics=None if cameras is None else cameras.intrinsics,
        sky=raw.sky,
        appearance=raw.appearance,
    )


def check_inputs(
    images: Tensor, extrinsics: Tensor | None, intrinsics: Tensor | None, config: ModelConfig
) -> None:
    """
    Check what is given to a network.

    :raises ValueError: if an argument does not fit the others or the variant.
    """
    shape = tuple(images.shape)
    if len(shape) != 5 or shape[2] != 3 or shape[3] % PATCH_SIZE or shape[4] % PATCH_SIZE:
        raise ValueError(
            f'images: got shape {shape}, expected (B, N, 3, H, W), sides multiples of {PATCH_SIZE}'
        )
    if (extrinsics is None) != (intrinsics is None):
        raise ValueError('extrinsics, intrinsics: got one of them, expected both or none')
    if extrinsics is None or intrinsics is None:
        return
    if not config.has_cameras:
        raise ValueError(f'extrinsics: got cameras, but {config.name} takes none')
    if extrinsics.shape[:2] != shape[:2] or extrinsics.shape[2:] not in ((3, 4), (4, 4)):
        raise ValueError(
            f'extrinsics: got shape {tuple(extrinsics.shape)}, expected {shape[:2]} + (4, 4)'
        )
    if intrinsics.shape != (*shape[:2], 3, 3):
        raise ValueError(
            f'intrinsics: got shape {tuple(intrinsics.shape)}, expected {shape[:2]} + (3, 3)'
        )
