# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Networks with every variant's own blocks and layers, but narrow."""

from dataclasses import replace

from da3_ros.model import DepthAnything3, NestedDepthAnything3, Network
from da3_ros.model.config import ModelConfig


def narrow(
    config: ModelConfig, *, embed_dim: int = 64, num_heads: int = 2, head_features: int = 16,
    head_channels: tuple[int, int, int, int] = (8, 16, 32, 64),
) -> ModelConfig:
    """Keep the pattern of a variant's blocks, and make everything narrow."""
    metric = config.metric_branch
    widths = {
        'embed_dim': embed_dim, 'num_heads': num_heads, 'head_features': head_features,
        'head_channels': head_channels,
    }
    return replace(
        config, **widths, metric_branch=None if metric is None else narrow(metric, **widths))


def build_narrow(config: ModelConfig) -> Network:
    """Build a network of a narrow variant, nested where it is."""
    is_nested = config.metric_branch is not None
    return (NestedDepthAnything3 if is_nested else DepthAnything3)(config).eval()
