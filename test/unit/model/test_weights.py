# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Weights: where they are found, what is refused, and what is said."""

from dataclasses import replace
import hashlib
import json
import logging

from da3_ros.errors import WeightsError
from da3_ros.model import build_network, DepthAnything3, load_weights, MODELS
from da3_ros.model.weights import find_weights
import pytest
from random_weights import randomize
from safetensors.torch import save_file
import torch

# A narrow one, so that files are small.
CONFIG = replace(
    MODELS['da3-tiny'], embed_dim=48, head_features=8, head_channels=(4, 4, 4, 4)
)


def build(device='cpu', **changes):
    with torch.device(device):
        return DepthAnything3(replace(CONFIG, **changes))


@pytest.fixture(scope='module')
def trained():
    network = build()
    randomize(network, seed=7)
    return network


@pytest.fixture
def weights(trained):
    """Give weights with the names of a published file."""
    return {f'model.{key}': value.clone() for key, value in trained.state_dict().items()}


def is_equal(network, other):
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in network.state_dict().items())


def test_published_file(tmp_path, trained, weights):
    path = tmp_path / 'tiny.safetensors'
    save_file(weights, path)
    network = build()
    loaded = load_weights(network, path)
    assert is_equal(network, trained)
    assert loaded.path == path
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.licence == 'Apache-2.0'
    assert loaded.skipped_keys == ()


def test_folder(tmp_path, trained, weights):
    save_file(weights, tmp_path / 'model.safetensors')
    network = build()
    assert load_weights(network, str(tmp_path)).path == tmp_path / 'model.safetensors'
    assert is_equal(network, trained)


def test_torch_file_without_prefix(tmp_path, trained):
    torch.save(trained.state_dict(), tmp_path / 'tiny.pt')
    network = build()
    load_weights(network, tmp_path / 'tiny.pt')
    assert is_equal(network, trained)


def test_network_without_memory(tmp_path, trained, weights):
    save_file(weights, tmp_path / 'model.safetensors')
    network = build('meta')
    load_weights(network, tmp_path)
    assert is_equal(network, trained)


def test_values_take_the_dtypes_of_the_network(tmp_path, trained, weights):
    halved = {key: value.half() for key, value in weights.items()}
    save_file(halved, tmp_path / 'model.safetensors')
    network = build()
    network.set_compute_dtype(torch.bfloat16)
    load_weights(network, tmp_path)
    vit = network.backbone.pretrained
    assert vit.blocks[3].attn.qkv.weight.dtype == torch.bfloat16
    assert vit.blocks[3].norm1.weight.dtype == torch.float32
    assert network.head.projects[0].weight.dtype == torch.float32
    expected = trained.backbone.pretrained.blocks[3].norm1.weight.half().float()
    assert torch.equal(vit.blocks[3].norm1.weight, expected)


def test_the_gaussian_head_is_skipped_by_name(tmp_path):
    network = build(skipped_keys=MODELS['da3-giant'].skipped_keys)
    weights = {f'model.{key}': value for key, value in network.state_dict().items()}
    weights['model.gs_head.projects.0.weight'] = torch.zeros(3)
    weights['model.gs_adapter.sh_mask'] = torch.zeros(9)
    save_file(weights, tmp_path / 'model.safetensors')
    loaded = load_weights(network, tmp_path)
    assert loaded.skipped_keys == ('gs_adapter.sh_mask', 'gs_head.projects.0.weight')
    with pytest.raises(WeightsError, match=r'unknown: gs_adapter\.sh_mask, gs_head\.projects'):
        load_weights(build(), tmp_path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda w: w.pop('model.cam_dec.fc_t.bias'), r'missing: cam_dec\.fc_t\.bias'),
        (lambda w: w.update({'model.extra': torch.zeros(1)}), r'unknown: extra'),
        (
            lambda w: w.update({'model.cam_dec.fc_t.bias': torch.zeros(4)}),
            r'wrong shape: cam_dec\.fc_t\.bias \(4,\), expected \(3,\)',
        ),
    ],
)
def test_every_key_must_fit(tmp_path, weights, change, message):
    change(weights)
    save_file(weights, tmp_path / 'model.safetensors')
    network = build()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(WeightsError, match=rf'model\.safetensors: not the weights.*{message}'):
        load_weights(network, tmp_path)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_values_that_are_not_finite_are_refused(tmp_path, weights, value):
    weights['model.cam_dec.fc_t.bias'][1] = value
    save_file(weights, tmp_path / 'model.safetensors')
    with pytest.raises(WeightsError, match=r'model\.safetensors: not finite: cam_dec\.fc_t\.bias'):
        load_weights(build('meta'), tmp_path)


def test_values_that_the_network_s_format_does_not_have_are_refused(tmp_path, weights):
    weights = {key: value.double() for key, value in weights.items()}
    save_file(weights, tmp_path / 'model.safetensors')
    load_weights(build(), tmp_path)
    weights['model.cam_dec.fc_t.bias'][1] = 1e39
    save_file(weights, tmp_path / 'model.safetensors')
    with pytest.raises(WeightsError, match='not finite'):
        load_weights(build(), tmp_path)


def test_a_key_with_and_without_prefix_is_refused(tmp_path, weights):
    """None of the two is taken in silence."""
    weights['cam_dec.fc_t.bias'] = torch.zeros(3)
    save_file(weights, tmp_path / 'model.safetensors')
    with pytest.raises(WeightsError, match=r'unknown: model\.'):
        load_weights(build(), tmp_path)


def test_a_config_that_is_broken_or_of_others(tmp_path, weights):
    save_file(weights, tmp_path / 'model.safetensors')
    for content in ('[]', '{}', '{"model_name": 3}', '{"name": "da3-large"}'):
        (tmp_path / 'config.json').write_text(content)
        load_weights(build(), tmp_path)
    (tmp_path / 'config.json').write_text('{"model_name": "da3-ti')
    with pytest.raises(WeightsError, match=r'config\.json: not JSON, or truncated'):
        load_weights(build(), tmp_path)


@pytest.mark.parametrize('spelling', [
    'DA3-Large', 'da3_large', ' da3-large\n', 'depth-anything/DA3-LARGE-1.1'])
def test_a_config_names_its_variant_in_more_than_one_spelling(tmp_path, weights, spelling):
    save_file(weights, tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_text(json.dumps({'model_name': spelling}))
    with pytest.raises(WeightsError, match=r'config\.json says da3-large'):
        load_weights(build(), tmp_path)


def test_the_hub_s_id_of_another_variant_is_refused(tmp_path, monkeypatch):
    cached_repository(tmp_path, monkeypatch, 'depth-anything--DA3MONO-LARGE')
    with pytest.raises(WeightsError, match='weights of da3metric-large: the hub says da3mono'):
        load_weights(
            build_network('da3metric-large', device='meta'), 'depth-anything/DA3MONO-LARGE')


def test_weights_that_may_be_another_variants_are_warned_of(tmp_path, caplog):
    """Keys and shapes of these two are equal, and nothing else tells them apart."""
    # It is said before the rest is read.
    save_file({'model.other': torch.zeros(1)}, tmp_path / 'model.safetensors')
    network = build_network('da3metric-large', device='meta')

    def warned():
        caplog.clear()
        with pytest.raises(WeightsError, match='unknown: other'):
            load_weights(network, tmp_path)
        return 'those of da3mono-large have the same keys' in caplog.text

    with caplog.at_level(logging.WARNING, logger='da3_ros'):
        assert warned()
        (tmp_path / 'config.json').write_text('{"model_name": "da3metric-large"}')
        assert not warned()


def test_only_the_first_keys_are_named(tmp_path, weights):
    some = {key: value for key, value in weights.items() if 'blocks' not in key}
    save_file(some, tmp_path / 'model.safetensors')
    with pytest.raises(WeightsError, match=r'missing: .* and \d+ more') as caught:
        load_weights(build(), tmp_path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize('name', ['da3-small', 'da3mono-large', 'da3nested-giant-large'])
def test_weights_of_another_variant_are_recognised(tmp_path, name):
    save_file(build_network('da3-tiny').state_dict(), tmp_path / 'model.safetensors')
    with pytest.raises(WeightsError, match=rf'weights of {name} \(this looks like da3-tiny\)'):
        load_weights(build_network(name, device='meta'), tmp_path)


@pytest.mark.parametrize('suffix', ['.safetensors', '.pt'])
@pytest.mark.parametrize('share', [0.0, 0.00001, 0.5, 0.999])
def test_truncated_files(tmp_path, trained, suffix, share):
    path = tmp_path / f'tiny{suffix}'
    if suffix == '.pt':
        torch.save(trained.state_dict(), path)
    else:
        save_file(trained.state_dict(), path)
    with path.open('r+b') as file:
        file.truncate(int(share * path.stat().st_size))
    with pytest.raises(WeightsError, match=rf'tiny\{suffix}: not a weights file, or truncated'):
        load_weights(build('meta'), path)


def test_files_of_other_kinds(tmp_path):
    text = tmp_path / 'model.safetensors'
    text.write_text('version https://git-lfs.github.com/spec/v1\nsize 135000000\n')
    with pytest.raises(WeightsError, match='not a weights file'):
        load_weights(build('meta'), text)
    torch.save({'epoch': 3}, tmp_path / 'other.pt')
    with pytest.raises(WeightsError, match='no plain mapping of names to tensors'):
        load_weights(build('meta'), tmp_path / 'other.pt')


@pytest.mark.parametrize('source', [
    'a.safetensors', 'weights/a.pt', '/nowhere/at/all', '~nobody-of-this-name/a.pt', 'a' * 5000,
])
def test_missing_files(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=f'{source}: no such file'):
        find_weights(MODELS['da3-small'], source)


def test_folder_without_weights(tmp_path):
    with pytest.raises(WeightsError, match=r'model\.safetensors: no such file'):
        find_weights(MODELS['da3-small'], tmp_path)


@pytest.mark.parametrize(
    ('source', 'hub_id'),
    [(None, 'depth-anything/DA3-LARGE-1.1'), ('some-body/DA3-1.0', 'some-body/DA3-1.0')],
)
def test_offline_without_a_cache(tmp_path, monkeypatch, source, hub_id):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    with pytest.raises(WeightsError, match=rf'{hub_id}: model\.safetensors is not in the local'):
        find_weights(MODELS['da3-large'], source, offline=True)


def cached_repository(folder, monkeypatch, name):
    """Make the hub's cache a folder that holds one repository."""
    cache = folder / f'models--{name}'
    (cache / 'refs').mkdir(parents=True)
    (cache / 'refs' / 'main').write_text('0' * 40)
    snapshot = cache / 'snapshots' / ('0' * 40)
    snapshot.mkdir(parents=True)
    (snapshot / 'model.safetensors').write_bytes(b'weights')
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(folder))


def test_cached_weights_of_the_hub(tmp_path, monkeypatch):
    """Weights that were downloaded once need no network."""
    cached_repository(tmp_path, monkeypatch, 'depth-anything--DA3-LARGE-1.1')
    path = find_weights(MODELS['da3-large'], offline=True)
    assert path.read_bytes() == b'weights'


def test_packaged_weights_come_first(tmp_path, monkeypatch, weights):
    monkeypatch.setattr('da3_ros.model.weights._PACKAGED', tmp_path)
    with pytest.raises(WeightsError, match='da3-tiny: no weights are published, give a file'):
        find_weights(MODELS['da3-tiny'])
    save_file(weights, tmp_path / 'da3-tiny.safetensors')
    assert find_weights(MODELS['da3-tiny']) == tmp_path / 'da3-tiny.safetensors'


@pytest.mark.parametrize(
    ('licence', 'level'), [('Apache-2.0', logging.INFO), ('CC-BY-NC-4.0', logging.WARNING)]
)
def test_licence_and_checksum_are_said_once(tmp_path, caplog, weights, licence, level):
    save_file(weights, tmp_path / 'model.safetensors')
    network = build(licence=licence)
    with caplog.at_level(logging.INFO, logger='da3_ros'):
        loaded = load_weights(network, tmp_path)
    said = [record for record in caplog.records if licence in record.getMessage()]
    assert [record.levelno for record in said] == [level]
    assert sum(loaded.sha256 in record.getMessage() for record in caplog.records) == 1
