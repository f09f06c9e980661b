# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Upstream's own networks, at full size and at any width, without their Gaussian heads."""

from contextlib import contextmanager
import functools
from pathlib import Path
import sys
from types import ModuleType
from unittest import mock

from addict import Dict
from da3_ros.model import ModelConfig, MODELS
from da3_ros.model.camera_head import Cameras
from depth_anything_3.cfg import create_object, load_config
from depth_anything_3.model.cam_dec import CameraDec
from depth_anything_3.model.cam_enc import CameraEnc
from depth_anything_3.model.da3 import DepthAnything3Net, NestedDepthAnything3Net
from depth_anything_3.model.dinov2.vision_transformer import DinoVisionTransformer
from depth_anything_3.model.dpt import DPT
from depth_anything_3.model.dualdpt import DualDPT
from depth_anything_3.model.gsdpt import GSDPT
from depth_anything_3.registry import MODEL_REGISTRY
import torch
from torch import nn, Tensor


class _Backbone(nn.Module):
    """Upstream's wrapper of its transformer, which knows four widths only."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        start = -1 if config.alternate_from is None else config.alternate_from
        self.out_layers = list(config.out_layers)
        self.pretrained = DinoVisionTransformer(
            img_size=518,
            patch_size=14,
            embed_dim=config.embed_dim,
            depth=config.depth,
            num_heads=config.num_heads,
            ffn_layer=config.feed_forward,
            alt_start=start,
            qknorm_start=start,
            rope_start=start,
            cat_token=start != -1,
        )

    def forward(self, images, **options):
        return self.pretrained.get_intermediate_layers(images, self.out_layers, **options)


def build(config: ModelConfig) -> nn.Module:
    """Build upstream's network of any size, on the meta device."""
    with _meta_device():
        if config.metric_branch is None:
            return _build_single(config).eval()
        nested = NestedDepthAnything3Net.__new__(NestedDepthAnything3Net)
        nn.Module.__init__(nested)
        nested.da3 = _build_single(config)
        nested.da3_metric = _build_single(config.metric_branch)
        return nested.eval()


def build_published(name: str) -> nn.Module:
    """Build upstream's network from upstream's own configuration file, on the meta device."""
    upstream_config = load_config(MODEL_REGISTRY[name])
    for part in (upstream_config, upstream_config.get('anyview', {})):
        for key in ('gs_head', 'gs_adapter'):
            part.pop(key, None)
    with _meta_device():
        return create_object(upstream_config).eval()


def api() -> ModuleType:
    """Give upstream's module with the class that saves and loads its published files."""
    # They read pictures and write scenes, with packages that are not here, and touch no weights.
    parts = ('export', 'pose_align', 'io.input_processor', 'io.output_processor')
    absent = {f'depth_anything_3.utils.{part}': mock.MagicMock() for part in parts}
    sys.modules.update(absent)
    try:
        from depth_anything_3 import api as module
    finally:
        for name in absent:
            del sys.modules[name]
    return module


def save_as_published(network: nn.Module, name: str, folder: Path, **options) -> None:
    """Write the folder that upstream's own hub mixin makes of a network of a variant."""
    hub_model = api().DepthAnything3.__new__(api().DepthAnything3, model_name=name)
    nn.Module.__init__(hub_model)
    hub_model.model = network
    hub_model.save_pretrained(folder, **options)


def build_gaussian_head() -> nn.Module:
    """Build the head that the giant's checkpoints hold and this package leaves out."""
    giant = MODELS['da3-giant']
    with _meta_device():
        return GSDPT(
            dim_in=giant.feature_dim,
            output_dim=38,
            features=giant.head_features,
            out_channels=list(giant.head_channels),
        )


def cameras_from_rays(rays: Tensor, confidence: Tensor, image_size: tuple[int, int]) -> Cameras:
    """Estimate cameras from rays, with upstream's random draws from seed 0."""
    torch.manual_seed(0)
    output = Dict(ray=rays.clone(), ray_conf=confidence.clone())
    output = DepthAnything3Net._process_ray_pose_estimation(None, output, *image_size)
    return Cameras(output.extrinsics, output.intrinsics)


@contextmanager
def _meta_device():
    # It reads numbers from a linspace, which the meta device cannot give.
    linspace = functools.partial(torch.linspace, device='cpu')
    with torch.device('meta'), mock.patch('torch.linspace', linspace):
        yield


def _build_single(config: ModelConfig) -> nn.Module:
    sizes = {'features': config.head_features, 'out_channels': list(config.head_channels)}
    if not config.has_cameras:
        return DepthAnything3Net(
            _Backbone(config), DPT(dim_in=config.feature_dim, output_dim=1, **sizes)
        )
    return DepthAnything3Net(
        _Backbone(config),
        DualDPT(dim_in=config.feature_dim, output_dim=2, **sizes),
        CameraDec(dim_in=config.feature_dim),
        CameraEnc(dim_out=config.embed_dim),
    )
