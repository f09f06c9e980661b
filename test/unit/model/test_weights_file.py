# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Layouts of files of weights, and files that are damaged or malicious: one kind of error."""

import json
from pathlib import Path
import pickle
import random

from da3_ros.errors import WeightsError
from da3_ros.model.weights_file import checksum, files_of, read_tensors
import pytest
from safetensors.torch import save_file
import torch

NUM_DAMAGED = 400


def tensors():
    random_values = torch.Generator().manual_seed(1)
    return {
        f'head.block.{i}.{part}': torch.randn(3, 2, generator=random_values)
        for i in range(4) for part in ('weight', 'bias')
    }


def is_equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def save(path, content, *, is_zip=True):
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    return path


@pytest.mark.parametrize('name', ['a.pt', 'a.pth', 'pytorch_model.bin', 'a.ckpt', 'blob'])
@pytest.mark.parametrize('is_zip', [True, False])
def test_torch_files(tmp_path, name, is_zip):
    path = save(tmp_path / name, tensors(), is_zip=is_zip)
    assert is_equal(read_tensors(path), tensors())


@pytest.mark.parametrize('name', ['a.safetensors', 'A.SAFETENSORS', 'blob'])
def test_safetensors(tmp_path, name):
    """Blobs in the hub's cache have no suffix."""
    save_file(tensors(), tmp_path / name)
    assert is_equal(read_tensors(tmp_path / name), tensors())


@pytest.mark.parametrize('prefix', [
    '', 'model.', 'module.', 'module.model.', '_orig_mod.module.', 'model._orig_mod.'])
def test_prefixes_of_wrappers(tmp_path, prefix):
    path = tmp_path / 'a.safetensors'
    save_file({prefix + key: value for key, value in tensors().items()}, path)
    assert is_equal(read_tensors(path), tensors())


@pytest.mark.parametrize('wrap', [
    lambda state: {'state_dict': state, 'epoch': 3, 'optimizer': {'state': {0: torch.ones(2)}}},
    lambda state: {'model': state, 'iteration': 7, 'config': {'lr': 1e-4}},
    lambda state: {'model_state_dict': state},
    lambda state: {key: torch.nn.Parameter(value) for key, value in state.items()},
])
def test_checkpoints_of_trainings(tmp_path, wrap):
    state = {f'module.{key}': value for key, value in tensors().items()}
    assert is_equal(read_tensors(save(tmp_path / 'a.pt', wrap(state))), tensors())


def test_names_with_and_without_a_prefix_are_not_mixed(tmp_path):
    """None of the two values is taken in silence."""
    both = {'a.weight': torch.zeros(1), 'model.a.weight': torch.ones(1)}
    assert read_tensors(save(tmp_path / 'a.pt', both)).keys() == both.keys()


def sharded(folder, places):
    """Write shards and their index."""
    for name in set(places.values()):
        save_file({k: v for k, v in tensors().items() if places[k] == name}, folder / name)
    index = folder / 'model.safetensors.index.json'
    index.write_text(json.dumps({'metadata': {}, 'weight_map': places}))
    return index


@pytest.fixture
def index(tmp_path):
    return sharded(
        tmp_path, {key: f'{i % 2}.safetensors' for i, key in enumerate(tensors())})


def test_shards(index):
    assert is_equal(read_tensors(index), tensors())
    assert [path.name for path in files_of(index)] == ['0.safetensors', '1.safetensors']
    assert checksum(*files_of(index)) != checksum(*files_of(index)[:1])


@pytest.mark.parametrize(('content', 'message'), [
    ('{"weight_map": {"a": "0.safet', 'not JSON'), ('[' * 100_000, 'not JSON'),
    ('\xff\xfe', 'not JSON'), ('{}', 'no weight_map'), ('[1]', 'no weight_map'),
    ('{"weight_map": {}}', 'no weight_map'), ('{"weight_map": {"a": 3}}', 'beside it'),
    ('{"weight_map": {"a": ["0"]}}', 'beside it'),
    ('{"weight_map": {"a": "../0.safetensors"}}', 'beside it'),
    ('{"weight_map": {"a": "/etc/passwd"}}', 'beside it'),
    ('{"weight_map": {"a": "2.safetensors"}}', r'shard 2\.safetensors is not there'),
    ('{"weight_map": {"a": ""}}', 'beside it'), ('{"weight_map": {"a": ".."}}', 'is not there'),
], ids=range(13))
def test_indices_that_cannot_be_followed(index, content, message):
    index.write_text(content, encoding='latin-1')
    with pytest.raises(WeightsError, match=rf'index\.json: .*{message}'):
        read_tensors(index)


def test_two_shards_with_one_name_are_refused(index):
    save_file(tensors(), index.with_name('1.safetensors'))
    with pytest.raises(WeightsError, match='which another shard holds, too'):
        read_tensors(index)


@pytest.mark.parametrize(('content', 'message'), [
    ({0: torch.ones(1)}, 'mapping of names to tensors: 0 is of Tensor'),
    ({'a': 3}, "mapping of names to tensors: 'a' is of int"),
    ({}, 'no plain mapping'), ([torch.ones(1)], 'no plain mapping'),
    (torch.ones(1), 'no plain mapping'), (None, 'no plain mapping'),
    ({'state_dict': {}}, 'no plain mapping'), ({'state_dict': [1]}, 'no plain mapping'),
    ({'a': torch.eye(3).to_sparse()}, 'a is no plain tensor: got torch.sparse_coo'),
    ({'a': torch.eye(3).to_sparse_csr()}, 'a is no plain tensor: got torch.sparse_csr'),
    ({'a': torch.ones(2, device='meta')}, 'a is no plain tensor: got meta'),
    ({'a': torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, 'no plain tensor'),
    ({'a': torch.nested.nested_tensor([torch.ones(2)])}, 'no plain tensor'),
    ({'a': torch.ones(2, dtype=torch.int64)}, r'a is of torch\.int64, expected floating point'),
    ({'a': torch.ones(2, dtype=torch.complex64)}, r'a is of torch\.complex64'),
    ({'a': torch.ones(2, dtype=torch.bool)}, r'a is of torch\.bool'),
])
@pytest.mark.filterwarnings('ignore')
def test_content_that_is_no_weights(tmp_path, content, message):
    with pytest.raises(WeightsError, match=rf'a\.pt: .*{message}'):
        read_tensors(save(tmp_path / 'a.pt', content))


class Malicious:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        """Set the file."""
        self._mark = mark

    def __reduce__(self):
        """Give what the unpickler calls."""
        return Path.touch, (self._mark,)


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'pickle'])
@pytest.mark.parametrize('suffix', ['.pt', '.bin', '.safetensors', ''])
def test_a_malicious_file_is_never_run(tmp_path, kind, suffix):
    mark, path = tmp_path / 'mark', tmp_path / f'a{suffix}'
    content = tensors() | {'state_dict': Malicious(mark)}
    if kind == 'pickle':
        path.write_bytes(pickle.dumps(content))
    else:
        save(path, content, is_zip=kind == 'zip')
    with pytest.raises(WeightsError, match='not a weights file'):
        read_tensors(path)
    assert not mark.exists()
    # It would have been.
    if suffix != '.safetensors' and kind != 'pickle':
        torch.load(path, weights_only=False)
        assert mark.exists()


def damage(content, chance):
    """Give a file's content with a few bytes changed, cut out, doubled or lost at the end."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(content))
        way = chance.randrange(5)
        if way == 0:
            del content[place:place + chance.randint(1, 16)]
        elif way == 1:
            content[place:place] = content[place:place + chance.randint(1, 16)]
        elif way == 2:
            content[place] = chance.choice((0, 1, 0x7f, 0x80, 0xff))
        else:
            content[place] ^= 1 << chance.randrange(8)
    if chance.random() < 0.1:
        del content[chance.randrange(len(content)):]
    return bytes(content)


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'safetensors'])
@pytest.mark.filterwarnings('ignore')
def test_damaged_files_are_one_kind_of_error(tmp_path, kind):
    """What is damaged among the values alone cannot be seen."""
    path = tmp_path / ('a.safetensors' if kind == 'safetensors' else 'a.pt')
    if kind == 'safetensors':
        save_file(tensors(), path)
    else:
        save(path, tensors(), is_zip=kind == 'zip')
    whole, chance, num_refused = path.read_bytes(), random.Random(5), 0
    for _ in range(NUM_DAMAGED):
        path.write_bytes(damage(whole, chance))
        try:
            found = read_tensors(path)
            assert all(isinstance(k, str) and v.is_floating_point() for k, v in found.items())
        except WeightsError as error:
            assert str(path) in str(error) and '\n' not in str(error)
            num_refused += 1
    assert num_refused > NUM_DAMAGED / 3
