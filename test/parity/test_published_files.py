# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Files saved by upstream's own hub mixin, as the published ones were.

A file is not a ``state_dict()``: what upstream shares is stored once.
"""

from dataclasses import replace
import json

from da3_ros.errors import WeightsError
from da3_ros.model import build_network, load_weights, MODELS
from narrow_networks import build_narrow, narrow
import pytest
from random_weights import randomize
from safetensors import safe_open
from safetensors.torch import load_file, save_file
import torch

FULL_SIZE = ('da3-small', 'da3-base')
NARROWED = tuple(name for name in MODELS if name not in (*FULL_SIZE, 'da3-tiny'))
SHARED = {
    f'head.scratch.output_conv2_aux.{level}.2.{part}'
    for level in (1, 2, 3) for part in ('weight', 'bias')
}


def narrow_config(name):
    return narrow(MODELS[name], head_features=32, head_channels=(16, 24, 32, 48))


def random_images():
    return torch.randn(1, 3, 3, 28, 42, generator=torch.Generator().manual_seed(3))


@torch.inference_mode()
def assert_equal_outputs(ours, theirs, *, use_ray_pose):
    """Compare; cameras from rays draw random numbers."""
    images = random_images()
    torch.manual_seed(0)
    own = ours(images, use_ray_pose=use_ray_pose)
    torch.manual_seed(0)
    other = theirs(images, use_ray_pose=use_ray_pose)
    for name in ('depth', 'extrinsics', 'intrinsics'):
        if getattr(own, name) is not None:
            # Equal to the last bit where both take the same kernels, which is the processor's
            # to say; one wrong norm in the head makes a difference of 3e-2.
            error = float((getattr(own, name) - other[name]).abs().max())
            assert error <= 1e-6 * float(other[name].abs().max()), name


@pytest.fixture(scope='module', params=FULL_SIZE)
def published(request, upstream, tmp_path_factory):
    """Give a variant, and the folder that upstream's class saved of it at full size."""
    folder = tmp_path_factory.mktemp(request.param)
    model = upstream.api().DepthAnything3(model_name=request.param)
    randomize(model.model)
    model.save_pretrained(folder)
    return request.param, folder


def test_full_size_equals_what_upstream_loads_from_the_same_folder(upstream, published):
    name, folder = published
    ours = build_network(name, device='meta')
    loaded = load_weights(ours, folder)
    assert loaded.path == folder / 'model.safetensors' and loaded.skipped_keys == ()
    theirs = upstream.api().DepthAnything3.from_pretrained(folder).model
    for use_ray_pose in (False, True):
        assert_equal_outputs(ours, theirs, use_ray_pose=use_ray_pose)


@pytest.fixture(scope='module')
def saved(request, upstream, tmp_path_factory):
    """Give a narrowed variant, its network at upstream, and the folder that the mixin saves."""
    config = narrow_config(request.param)
    theirs = upstream.build(config)
    theirs.to_empty(device='cpu')
    randomize(theirs)
    folder = tmp_path_factory.mktemp(request.param)
    upstream.save_as_published(theirs, request.param, folder)
    return config, theirs, folder


@pytest.mark.parametrize('saved', NARROWED, indirect=True)
def test_every_variant_loads_from_the_folder_of_upstreams_mixin(saved):
    config, theirs, folder = saved
    with safe_open(folder / 'model.safetensors', 'pt') as file:
        stored = {key.removeprefix('model.') for key in file.keys()}  # noqa: SIM118
    branch = 'da3.' if config.metric_branch else ''
    missing = {branch + key for key in SHARED} if config.has_cameras else set()
    assert theirs.state_dict().keys() - stored == missing
    with torch.device('meta'):
        ours = build_narrow(config)
    load_weights(ours, folder)
    assert_equal_outputs(ours, theirs, use_ray_pose=False)
    if config.has_cameras:
        assert_equal_outputs(ours, theirs, use_ray_pose=True)


@pytest.mark.parametrize('saved', ['da3-large'], indirect=True)
@pytest.mark.parametrize('level', range(4))
def test_the_shared_norm_is_taken_from_whatever_level_holds_it(saved, tmp_path, level):
    config, theirs, folder = saved
    tensors = load_file(folder / 'model.safetensors')
    for part in ('weight', 'bias'):
        key = 'model.head.scratch.output_conv2_aux.{}.2.' + part
        tensors[key.format(level)] = tensors.pop(key.format(0))
    save_file(tensors, tmp_path / 'model.safetensors')
    ours = build_narrow(config)
    load_weights(ours, tmp_path)
    assert_equal_outputs(ours, theirs, use_ray_pose=True)


@pytest.mark.parametrize('saved', ['da3-large', 'da3nested-giant-large'], indirect=True)
@pytest.mark.parametrize(('level', 'part'), [(1, 'weight'), (3, 'bias')])
def test_levels_that_contradict_each_other_are_refused(saved, tmp_path, level, part):
    """As where a converter filled in what it missed; a default norm makes rays differ by 0.028."""
    config, _, folder = saved
    tensors = load_file(folder / 'model.safetensors')
    branch = 'da3.' if config.metric_branch else ''
    key = f'{branch}head.scratch.output_conv2_aux.{level}.2.{part}'
    tensors[f'model.{key}'] = torch.full((32,), float(part == 'weight'))
    save_file(tensors, tmp_path / 'model.safetensors')
    message = rf'output_conv2_aux\.0\.2\.{part} and .*\.{level}\.2\.{part} are one tensor'
    with pytest.raises(WeightsError, match=message):
        load_weights(build_narrow(config), tmp_path)
    # A copy of the right value is no contradiction.
    tensors[f'model.{key}'] = tensors[f'model.{key.replace(str(level) + ".2", "0.2")}'].clone()
    save_file(tensors, tmp_path / 'model.safetensors')
    load_weights(build_narrow(config), tmp_path)


@pytest.mark.parametrize('saved', ['da3-large'], indirect=True)
def test_a_shared_norm_that_is_nowhere_is_missing(saved, tmp_path):
    config, _, folder = saved
    tensors = load_file(folder / 'model.safetensors')
    del tensors['model.head.scratch.output_conv2_aux.0.2.bias']
    save_file(tensors, tmp_path / 'model.safetensors')
    with pytest.raises(WeightsError, match=r'missing: .*output_conv2_aux\.0\.2\.bias'):
        load_weights(build_narrow(config), tmp_path)


@pytest.mark.parametrize('saved', ['da3metric-large', 'da3mono-large'], indirect=True)
def test_the_config_beside_the_weights_tells_variants_of_equal_shape_apart(saved):
    """Metres of a network that gives none would be anything."""
    config, _, folder = saved
    assert json.loads((folder / 'config.json').read_text())['model_name'] == config.name
    other, = {'da3metric-large', 'da3mono-large'} - {config.name}
    message = f'not the weights of {other}: .*config.json says {config.name}'
    with pytest.raises(WeightsError, match=message):
        load_weights(build_narrow(narrow_config(other)), folder)


@pytest.mark.parametrize('saved', ['da3metric-large'], indirect=True)
@pytest.mark.parametrize('named', [
    'da3metric-large', 'DA3METRIC-LARGE', 'da3metric-large-1.1', 'somebodys', None])
def test_names_of_the_same_variant_and_unknown_ones_are_no_contradiction(saved, tmp_path, named):
    config, _, folder = saved
    (tmp_path / 'model.safetensors').symlink_to(folder / 'model.safetensors')
    (tmp_path / 'config.json').write_text(json.dumps({'model_name': named, 'config': {}}))
    load_weights(build_narrow(config), tmp_path)


@pytest.mark.parametrize('saved', ['da3metric-large'], indirect=True)
@pytest.mark.parametrize('named', ['DA3MONO-LARGE', 'da3mono-large-1.1', 'da3-large'])
def test_other_spellings_of_another_variant_are_refused(saved, tmp_path, named):
    config, _, folder = saved
    (tmp_path / 'model.safetensors').symlink_to(folder / 'model.safetensors')
    (tmp_path / 'config.json').write_text(json.dumps({'model_name': named}))
    with pytest.raises(WeightsError, match=r'not the weights of da3metric-large: .* says da3'):
        load_weights(build_narrow(config), tmp_path)


@pytest.mark.parametrize('saved', ['da3-large', 'da3metric-large'], indirect=True)
def test_shards_and_torch_files_of_the_mixin_and_others(saved, tmp_path):
    """As ``save_torch_state_dict`` writes them, with and without safetensors."""
    from huggingface_hub import save_torch_state_dict
    config, theirs, _ = saved
    state = {f'model.{key}': value for key, value in theirs.state_dict().items()}
    for is_safe, index in ((True, 'model.safetensors'), (False, 'pytorch_model.bin')):
        folder = tmp_path / str(is_safe)
        folder.mkdir()
        save_torch_state_dict(
            state, folder, max_shard_size='300KB', safe_serialization=is_safe)
        assert (folder / f'{index}.index.json').is_file() and not (folder / index).exists()
        assert len(list(folder.glob('*-of-*'))) > 2
        ours = build_narrow(config)
        load_weights(ours, folder)
        assert_equal_outputs(ours, theirs, use_ray_pose=False)
        load_weights(build_narrow(config), folder / f'{index}.index.json')


def test_the_branches_of_a_nested_network_have_no_twin():
    assert MODELS['da3nested-giant-large'].shared_keys[0][0].startswith('da3.head.')
    assert replace(MODELS['da3-small'], shares_ray_norm=False).shared_keys == ()
