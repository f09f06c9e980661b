# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Files of weights as people have them: one file, shards, checkpoints of a training."""

from collections.abc import Mapping
import hashlib
import json
from pathlib import Path

from da3_ros.errors import WeightsError
from safetensors.torch import load_file
import torch
from torch import Tensor

FILE_NAMES = (
    'model.safetensors',
    'model.safetensors.index.json',
    'pytorch_model.bin',
    'pytorch_model.bin.index.json',
)
"""What a folder or a hub's repository may hold, in the order in which it is looked for."""

CONFIG_NAME = 'config.json'

_INDEX_SUFFIX = '.index.json'
# What checkpoints of trainings keep the weights under, besides an optimizer and the like.
_CONTAINERS = ('state_dict', 'model_state_dict', 'model')
# Of DistributedDataParallel, of torch.compile, and of upstream's own class.
_PREFIXES = ('module.', '_orig_mod.', 'model.')


def read_tensors(path: Path) -> dict[str, Tensor]:
    """
    Read the weights that a file or an index of shards holds, under the names of the network.

    No code of the file is ever run.

    :param path: a .safetensors or torch file, or an index.
    :raises WeightsError: if it cannot be read, or holds anything but plain tensors by their names.
    """
    tensors: dict[str, Tensor] = {}
    for part in files_of(path):
        for key, value in _read_file(part).items():
            if key in tensors:
                raise WeightsError(f'{part}: holds {key}, which another shard holds, too')
            tensors[key] = value
    return _without_prefixes(tensors)


def files_of(path: Path) -> tuple[Path, ...]:
    """
    Return the files that hold the tensors: the shards of an index, else the file itself.

    :param path: a file of weights, or an index.
    :raises WeightsError: if the index cannot be read, or names what is not a file beside it.
    """
    if not path.name.endswith(_INDEX_SUFFIX):
        return (path,)
    shards = tuple(path.with_name(name) for name in shard_names(path))
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise WeightsError(f'{path}: its shard {missing[0]} is not there')
    return shards


def shard_names(path: Path) -> tuple[str, ...]:
    """
    Return the names of the files that an index lists, sorted; none if it is no index.

    :param path: of the index.
    :raises WeightsError: if it cannot be read, or names what cannot lie beside it.
    """
    if not path.name.endswith(_INDEX_SUFFIX):
        return ()
    index = _read_json(path)
    places = index.get('weight_map') if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places:
        raise WeightsError(f'{path}: no index of weights: it has no weight_map')
    names = places.values()
    if not all(isinstance(name, str) and name and Path(name).name == name for name in names):
        raise WeightsError(f'{path}: no index of weights: shards must be files beside it')
    return tuple(sorted(set(names)))


def named_variant(path: Path) -> str | None:
    """
    Return the variant that the ``config.json`` beside a file of weights names, or None.

    :param path: of the weights.
    :raises WeightsError: if there is such a file, and it is no JSON.
    """
    config_path = path.with_name(CONFIG_NAME)
    if not config_path.is_file():
        return None
    config = _read_json(config_path)
    name = config.get('model_name') if isinstance(config, dict) else None
    if not isinstance(name, str):
        return None
    # Also as the hub's id of it, and as names in Python are spelled.
    return name.strip().rpartition('/')[2].lower().replace('_', '-')


def checksum(*paths: Path) -> str:
    """
    Return the sha256 of files, one after the other.

    :param paths: of the files.
    """
    digest = hashlib.sha256()
    for part in paths:
        with part.open('rb') as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _read_json(path: Path) -> object:
    try:
        content: object = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise WeightsError(f'{path}: not JSON, or truncated: {error}') from error
    return content


def _read_file(path: Path) -> Mapping[str, Tensor]:
    try:
        if _is_safetensors(path):
            content = load_file(path)
        else:
            # Only with weights_only is nothing of the file ever run.
            content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        # Of damaged files the readers raise nearly everything.
        raise WeightsError(
            f'{path}: not a weights file, or truncated: {one_line(error)}') from error
    for container in _CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(container), dict):
            content = content[container]
    if not isinstance(content, dict) or not content:
        raise WeightsError(f'{path}: holds no plain mapping of names to tensors')
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise WeightsError(
                f'{path}: holds no plain mapping of names to tensors: {key!r} is of '
                f'{type(value).__name__}')
        _check_tensor(path, key, value)
    return content


def _is_safetensors(path: Path) -> bool:
    """Tell by name, or by the header behind its length: blobs of the hub's cache have no name."""
    with path.open('rb') as file:
        return path.suffix.lower() == '.safetensors' or file.read(9)[8:] == b'{'


def _check_tensor(path: Path, key: str, value: Tensor) -> None:
    """Raise if a tensor has no values of its own, or none that a network computes with."""
    if value.is_meta or value.layout != torch.strided or value.is_quantized or value.is_nested:
        kind = 'meta' if value.is_meta else str(value.layout)
        raise WeightsError(f'{path}: {key} is no plain tensor: got {kind}, expected dense values')
    if not value.is_floating_point():
        raise WeightsError(f'{path}: {key} is of {value.dtype}, expected floating point')


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop what wrappers of the network put before every name."""
    while True:
        prefix = next((p for p in _PREFIXES if all(key.startswith(p) for key in tensors)), None)
        if prefix is None:
            return tensors
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}


def one_line(error: Exception) -> str:
    """
    Return what an error of another library is and says first.

    :param error: that may have a long text.
    """
    first, *_ = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {first}' if first else type(error).__name__
