# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The published variants of Depth Anything 3, and da3-tiny of the same structure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

PATCH_SIZE = 14
"""Side of a patch [px]; image sides are multiples of it."""

POSITION_GRID = 37
"""Side of the learnt position embedding, in patches."""


@dataclass(frozen=True)
class ModelConfig:
    """
    Everything that shapes a network and tells its weights.

    :param name: name of the variant.
    :param embed_dim: channels C of a token.
    :param depth: number of transformer blocks.
    :param num_heads: attention heads of a block.
    :param feed_forward: the blocks' feed-forward layer.
    :param alternate_from: first block with camera token, q/k norm and rotary positions; from it
        on odd blocks attend over all views. None: every block attends within its view.
    :param out_layers: the four blocks whose output the depth head reads.
    :param head: 'dual_dpt' gives depth, confidence and rays; 'dpt' gives depth and sky.
    :param head_features: channels of the head's pyramid.
    :param head_channels: channels of the four projected levels.
    :param licence: SPDX name of the published weights' licence.
    :param hub_id: where the published weights are, or None.
    :param skipped_keys: prefixes of published keys that belong to parts left out here.
    :param shares_ray_norm: whether one layer norm serves the ray outputs of all four levels, as
        in upstream's networks: a file may hold it once.
    :param canonical_focal_px: metres are depth * focal length / this; None: not metric by itself.
    :param metric_branch: the second network that gives the first one metres, or None.
    :param useful_views: windows of more views were not more accurate, see docs/benchmarks.md.
    :param caveat: what whoever looks at its outputs must know, a sentence; empty: nothing.
    """

    name: str
    embed_dim: int
    depth: int
    num_heads: int
    alternate_from: int | None
    out_layers: tuple[int, int, int, int]
    head_features: int
    head_channels: tuple[int, int, int, int]
    licence: str
    hub_id: str | None = None
    feed_forward: Literal['mlp', 'swiglu'] = 'mlp'
    head: Literal['dual_dpt', 'dpt'] = 'dual_dpt'
    skipped_keys: tuple[str, ...] = ()
    shares_ray_norm: bool = True
    canonical_focal_px: float | None = None
    metric_branch: 'ModelConfig | None' = None
    useful_views: int = 120
    caveat: str = ''

    @property
    def has_cameras(self) -> bool:
        """Whether the network estimates cameras, and takes given ones."""
        return self.alternate_from is not None

    @property
    def feature_dim(self) -> int:
        """Channels of what the backbone hands to the heads."""
        return 2 * self.embed_dim if self.has_cameras else self.embed_dim

    @property
    def is_commercial(self) -> bool:
        """Whether the weights' licence allows commercial use."""
        return '-NC-' not in self.licence

    @property
    def shared_keys(self) -> tuple[tuple[str, ...], ...]:
        """Names of weights in groups, each of which is one tensor in upstream's network."""
        if self.head != 'dual_dpt' or not self.shares_ray_norm:
            return ()
        branch = '' if self.metric_branch is None else 'da3.'
        return tuple(
            tuple(f'{branch}head.scratch.output_conv2_aux.{i}.2.{part}' for i in range(4))
            for part in ('weight', 'bias')
        )

    def is_global(self, block: int) -> bool:
        """
        Return whether a block attends over the tokens of all views.

        :param block: index of the block.
        """
        start = self.alternate_from
        return start is not None and block >= start and block % 2 == 1


_SMALL = ModelConfig(
    name='da3-small',
    embed_dim=384,
    depth=12,
    num_heads=6,
    alternate_from=4,
    out_layers=(5, 7, 9, 11),
    head_features=64,
    head_channels=(48, 96, 192, 384),
    licence='Apache-2.0',
    hub_id='depth-anything/DA3-SMALL',
)

_TINY = replace(
    _SMALL,
    name='da3-tiny',
    embed_dim=192,
    num_heads=3,
    head_features=32,
    head_channels=(24, 48, 96, 192),
    hub_id=None,
    # Only the norm that is used was trained.
    shares_ray_norm=False,
    useful_views=12,
    caveat='da3-tiny learnt from rendered scenes: of a real camera its depth and path are rough, '
           'and far from those of the published networks (MODEL_CARD.md beside it says how far).',
)

_BASE = replace(
    _SMALL,
    name='da3-base',
    embed_dim=768,
    num_heads=12,
    head_features=128,
    head_channels=(96, 192, 384, 768),
    hub_id='depth-anything/DA3-BASE',
)

_LARGE = ModelConfig(
    name='da3-large',
    embed_dim=1024,
    depth=24,
    num_heads=16,
    alternate_from=8,
    out_layers=(11, 15, 19, 23),
    head_features=256,
    head_channels=(256, 512, 1024, 1024),
    licence='CC-BY-NC-4.0',
    hub_id='depth-anything/DA3-LARGE-1.1',
)

_GIANT = replace(
    _LARGE,
    name='da3-giant',
    embed_dim=1536,
    depth=40,
    num_heads=24,
    feed_forward='swiglu',
    alternate_from=13,
    out_layers=(19, 27, 33, 39),
    hub_id='depth-anything/DA3-GIANT-1.1',
    skipped_keys=('gs_head.', 'gs_adapter.'),
)

_METRIC = replace(
    _LARGE,
    name='da3metric-large',
    alternate_from=None,
    out_layers=(4, 11, 17, 23),
    head='dpt',
    licence='Apache-2.0',
    hub_id='depth-anything/DA3METRIC-LARGE',
    canonical_focal_px=300.0,
    # No view sees another.
    useful_views=1,
)

_MONO = replace(
    _METRIC,
    name='da3mono-large',
    hub_id='depth-anything/DA3MONO-LARGE',
    canonical_focal_px=None,
)

_NESTED = replace(
    _GIANT,
    name='da3nested-giant-large',
    hub_id='depth-anything/DA3NESTED-GIANT-LARGE-1.1',
    skipped_keys=('da3.gs_head.', 'da3.gs_adapter.'),
    metric_branch=_METRIC,
)

MODELS: Mapping[str, ModelConfig] = MappingProxyType({
    config.name: config
    for config in (_TINY, _SMALL, _BASE, _LARGE, _GIANT, _METRIC, _MONO, _NESTED)
})
"""Every variant by its name."""
