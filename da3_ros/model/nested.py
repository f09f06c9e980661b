# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The nested network: one network for all views, a second one per view that gives it metres.

Shapes: B windows, N views, H W pixels.
"""

from dataclasses import replace

from da3_ros.errors import PredictionError
from da3_ros.model.config import ModelConfig
from da3_ros.model.finite import check_finite
from da3_ros.model.network import DepthAnything3, NetworkOutput
from da3_ros.model.sky import count, FAR_QUANTILE, quantile, SKY_THRESHOLD
import torch
from torch import nn, Tensor

_MIN_PIXELS = 10
_MIN_METRIC_DEPTH_M = 1e-2
_MIN_DEPTH = 1e-3
_MAX_SKY_DEPTH_M = 200.0


class NestedDepthAnything3(nn.Module):
    """Depth Anything 3 with metric scale; takes and gives what ``DepthAnything3`` does."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.metric_branch is None:
            raise ValueError(f'config: got {config.name}, expected one with a metric branch')
        self.config = config
        self.da3 = DepthAnything3(config)
        self.da3_metric = DepthAnything3(config.metric_branch)

    def forward(
        self,
        images: Tensor,
        extrinsics: Tensor | None = None,
        intrinsics: Tensor | None = None,
        use_ray_pose: bool = False,
        ref_view_strategy: str = 'saddle_balanced',
    ) -> NetworkOutput:
        """
        Predict metric depth and cameras; parameters as in ``DepthAnything3.forward``.

        :raises NonFiniteError: if a value is NaN or infinite.
        :raises PredictionError: if no pixels are left to find the scale by.
        """
        output = self.da3(images, extrinsics, intrinsics, use_ray_pose, ref_view_strategy)
        metric = self.da3_metric.raw(images, with_rays=False)
        return to_metres(output, metric.depth, metric.sky, self.da3_metric.config)

    def set_compute_dtype(self, dtype: torch.dtype) -> None:
        """
        Round the backbones' matrices; norms, embeddings and heads stay fp32.

        :param dtype: bfloat16, float16 or float32.
        """
        self.da3.set_compute_dtype(dtype)
        self.da3_metric.set_compute_dtype(dtype)


def to_metres(
    output: NetworkOutput, metric_depth: Tensor, sky: Tensor | None, metric_config: ModelConfig,
    *, focal_px: Tensor | None = None,
) -> NetworkOutput:
    """
    Scale every window by what the metric branch says of its confident pixels.

    Upstream samples pixels at random for the quantiles; here all of them count, so that equal
    windows get equal scales.

    :param output: of the branch over all views.
    :param metric_depth: (B, N, H, W) as the metric branch gives it.
    :param sky: (B, N, H, W) of the metric branch.
    :param metric_config: of the metric branch.
    :param focal_px: (B, N) where known, else NaN; None: as in upstream, those of ``output``.
    :raises NonFiniteError: if the metric branch gives NaN or infinity.
    :raises PredictionError: if a window has no pixels to find the scale by.
    """
    if output.confidence is None or output.extrinsics is None or output.intrinsics is None:
        raise ValueError('output: got no confidence or cameras, expected those of a main variant')
    if sky is None or metric_config.canonical_focal_px is None:
        raise ValueError(f'metric_config: got {metric_config.name}, expected a metric variant')
    check_finite(metric_depth=metric_depth, sky=sky)
    estimated_px = output.intrinsics.diagonal(dim1=-2, dim2=-1)[..., :2].mean(dim=-1)
    if focal_px is None:
        focal_px = estimated_px
    focal_px = torch.where(focal_px.isnan(), estimated_px, focal_px)
    metres = metric_depth * (focal_px / metric_config.canonical_focal_px)[..., None, None]
    depth, confidence = output.depth.clone(), output.confidence.clone()
    windows = zip(depth, confidence, metres, sky >= SKY_THRESHOLD, strict=True)
    scale = torch.stack([_scale_window_(*window) for window in windows])
    rotation, translation = output.extrinsics.split((3, 1), dim=-1)
    scaled = translation * scale[:, None, None, None]
    return replace(
        output,
        depth=depth,
        confidence=confidence,
        extrinsics=torch.cat((rotation, scaled), dim=-1),
        sky=sky,
    )


def _scale_window_(
    depth: Tensor, confidence: Tensor, metres: Tensor, is_sky: Tensor
) -> Tensor:
    """Bring depth and confidence of one window (N, H, W) to metres in place; return the scale."""
    num_ground = is_sky.numel() - count(is_sky)
    if num_ground <= _MIN_PIXELS:
        raise PredictionError(f'{num_ground} pixels are not sky: too few to find the metric scale')
    is_used = (confidence >= quantile(confidence, 0.5, without=is_sky)) & ~is_sky
    is_used &= (metres > _MIN_METRIC_DEPTH_M) & (depth > _MIN_DEPTH)
    if not bool(is_used.any()):
        raise PredictionError('no confident pixel has a depth in both branches: no metric scale')
    used = depth[is_used]
    scale = (metres[is_used] @ used) / (used @ used)
    depth *= scale
    far = quantile(depth, FAR_QUANTILE, without=is_sky).clamp(max=_MAX_SKY_DEPTH_M)
    depth.masked_fill_(is_sky, far)
    confidence.masked_fill_(is_sky, 1.0)
    return scale
