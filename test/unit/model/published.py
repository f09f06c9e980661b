# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Names and shapes of the published checkpoints, written down without the package's modules.

C channels, F = 2C channels of a feature, f channels of the head.
"""

Shapes = dict[str, tuple[int, ...]]

SERIES = {
    # name: C, blocks, first block with q/k norm, f, channels of the head's levels
    'da3-tiny': (192, 12, 4, 32, (24, 48, 96, 192)),
    'da3-small': (384, 12, 4, 64, (48, 96, 192, 384)),
    'da3-base': (768, 12, 4, 128, (96, 192, 384, 768)),
    'da3-large': (1024, 24, 8, 256, (256, 512, 1024, 1024)),
    'da3-giant': (1536, 40, 13, 256, (256, 512, 1024, 1024)),
}


def published_shapes(name: str) -> Shapes:
    """List every weight of a variant, without the leading ``model.`` and the Gaussian head."""
    if name == 'da3nested-giant-large':
        branches = {'da3.': 'da3-giant', 'da3_metric.': 'da3metric-large'}
        return _join({prefix: published_shapes(part) for prefix, part in branches.items()})
    if name in ('da3metric-large', 'da3mono-large'):
        transformer = _transformer(1024, 24, qk_norm_from=24, gated=False)
        head = _pyramid(1024, 256, (256, 512, 1024, 1024)) | _join({
            'scratch.output_conv2.': _output(128, 1),
            'scratch.sky_output_conv2.': _output(128, 1),
        })
        return _join({'backbone.pretrained.': transformer, 'head.': head})
    c, depth, qk_norm_from, f, channels = SERIES[name]
    transformer = _transformer(c, depth, qk_norm_from, gated=name == 'da3-giant')
    return _join({
        'backbone.pretrained.': transformer | {'camera_token': (1, 2, c)},
        'head.': _pyramid(2 * c, f, channels) | _rays(f) | _norm('norm', 2 * c),
        'head.scratch.output_conv2.': _output(f // 2, 2),
        'cam_dec.': _layer('backbone.0', 2 * c, 2 * c) | _layer('backbone.2', 2 * c, 2 * c)
        | _layer('fc_t', 3, 2 * c) | _layer('fc_qvec', 4, 2 * c) | _layer('fc_fov.0', 2, 2 * c),
        'cam_enc.': _layer('pose_branch.fc1', c // 2, 9) | _layer('pose_branch.fc2', c, c // 2)
        | _norm('token_norm', c) | _norm('trunk_norm', c)
        | _join({f'trunk.{i}.': _block(c) for i in range(4)}),
    })


def _join(parts: dict[str, Shapes]) -> Shapes:
    return {prefix + key: shape for prefix, part in parts.items() for key, shape in part.items()}


def _layer(name: str, outputs: int, *inputs: int) -> Shapes:
    return {f'{name}.weight': (outputs, *inputs), f'{name}.bias': (outputs,)}


def _norm(name: str, width: int) -> Shapes:
    return _layer(name, width)


def _block(c: int, *, head_dim: int = 0, gated: bool = False) -> Shapes:
    shapes = _norm('norm1', c) | _norm('norm2', c) | {'ls1.gamma': (c,), 'ls2.gamma': (c,)}
    shapes |= _layer('attn.qkv', 3 * c, c) | _layer('attn.proj', c, c)
    if head_dim:
        shapes |= _norm('attn.q_norm', head_dim) | _norm('attn.k_norm', head_dim)
    if gated:
        return shapes | _layer('mlp.w12', 8192, c) | _layer('mlp.w3', c, 4096)
    return shapes | _layer('mlp.fc1', 4 * c, c) | _layer('mlp.fc2', c, 4 * c)


def _transformer(c: int, depth: int, qk_norm_from: int, *, gated: bool) -> Shapes:
    shapes = {'cls_token': (1, 1, c), 'pos_embed': (1, 1370, c)} | _norm('norm', c)
    shapes |= _layer('patch_embed.proj', c, 3, 14, 14)
    return shapes | _join({
        f'blocks.{i}.': _block(c, head_dim=64 if i >= qk_norm_from else 0, gated=gated)
        for i in range(depth)
    })


def _pyramid(inputs: int, f: int, channels: tuple[int, ...]) -> Shapes:
    shapes = _layer('scratch.output_conv1', f // 2, f, 3, 3)
    for i, width in enumerate(channels):
        shapes |= _layer(f'projects.{i}', width, inputs, 1, 1)
        shapes[f'scratch.layer{i + 1}_rn.weight'] = (f, width, 3, 3)
    for i, kernel in {0: 4, 1: 2, 3: 3}.items():
        shapes |= _layer(f'resize_layers.{i}', channels[i], channels[i], kernel, kernel)
    return shapes | _branch(f)


def _branch(f: int, suffix: str = '') -> Shapes:
    shapes: Shapes = {}
    for level in (1, 2, 3, 4):
        name = f'scratch.refinenet{level}{suffix}'
        shapes |= _layer(f'{name}.out_conv', f, f, 1, 1)
        # The coarsest level has nothing to add to itself.
        for unit in (1, 2) if level < 4 else (2,):
            for conv in (1, 2):
                shapes |= _layer(f'{name}.resConfUnit{unit}.conv{conv}', f, f, 3, 3)
    return shapes


def _output(inputs: int, outputs: int) -> Shapes:
    return _layer('0', 32, inputs, 3, 3) | _layer('2', outputs, 32, 1, 1)


def _rays(f: int) -> Shapes:
    shapes = _branch(f, '_aux')
    for level in range(4):
        neck, output = (f'scratch.output_conv{i}_aux.{level}' for i in (1, 2))
        for i in range(5):
            inputs, outputs = (f, f // 2) if i % 2 == 0 else (f // 2, f)
            shapes |= _layer(f'{neck}.{i}', outputs, inputs, 3, 3)
        shapes |= _layer(f'{output}.0', 32, f // 2, 3, 3) | _norm(f'{output}.2', 32)
        shapes |= _layer(f'{output}.5', 7, 32, 1, 1)
    return shapes
