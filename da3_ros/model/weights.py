# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Weights into a network: found, checked key by key, and said where they come from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
import hashlib
import logging
from pathlib import Path
import pickle
import re

from da3_ros.errors import WeightsError
from da3_ros.model.build import build_network, Network
from da3_ros.model.config import ModelConfig, MODELS
from safetensors import SafetensorError
from safetensors.torch import load_file
import torch
from torch import Tensor

FILE_NAME = 'model.safetensors'

_PACKAGED = Path(__file__).parent / 'weights'
_PUBLISHED_PREFIX = 'model.'
_HUB_ID = re.compile(r'[\w-][\w.-]*/[\w-][\w.-]*')
_FILE_SUFFIXES = ('.safetensors', '.pt', '.pth', '.bin')
_NUM_NAMED_KEYS = 3

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedWeights:
    """
    Where a network's weights came from.

    :param path: the file.
    :param sha256: its checksum.
    :param licence: SPDX name of the licence of the variant's published weights.
    :param skipped_keys: keys of the file that belong to parts left out here.
    """

    path: Path
    sha256: str
    licence: str
    skipped_keys: tuple[str, ...]


def load_weights(
    network: Network, source: str | Path | None = None, *, offline: bool = False
) -> LoadedWeights:
    """
    Fill a network with published or trained weights.

    Every key must be there with its shape, and no other; only the keys of parts that are left out
    here (``ModelConfig.skipped_keys``) are skipped. Values take the dtype that the network has.

    :param network: on any device; one on 'meta' comes to the CPU.
    :param source: a .safetensors or torch file, a folder with a ``model.safetensors``, or an id on
        the Hugging Face hub; None: the file in the package if there is one, else the variant's id.
    :param offline: take weights of the hub from its cache only.
    :raises WeightsError: if there are no weights, the file cannot be read or does not fit.
    """
    config = network.config
    path = find_weights(config, source, offline=offline)
    tensors = {key.removeprefix(_PUBLISHED_PREFIX): value for key, value in _read(path).items()}
    skipped = tuple(sorted(key for key in tensors if key.startswith(config.skipped_keys)))
    for key in skipped:
        del tensors[key]
    expected = network.state_dict()
    _check(path, config.name, _shapes(tensors), _shapes(expected))
    if any(value.is_meta for value in expected.values()):
        network.to_empty(device='cpu')
    network.load_state_dict(tensors, strict=True)
    loaded = LoadedWeights(path, _sha256(path), config.licence, skipped)
    _logger.info('%s: weights from %s, sha256 %s', config.name, path, loaded.sha256)
    if config.is_commercial:
        _logger.info('%s: the weights are licensed %s', config.name, config.licence)
    else:
        _logger.warning(
            '%s: the weights are licensed %s: no commercial use', config.name, config.licence
        )
    return loaded


def find_weights(
    config: ModelConfig, source: str | Path | None = None, *, offline: bool = False
) -> Path:
    """
    Find the file that a source stands for; parameters as in ``load_weights``.

    :raises WeightsError: if there is none.
    """
    if source is None:
        packaged = _PACKAGED / f'{config.name}.safetensors'
        if packaged.is_file():
            return packaged
        if config.hub_id is None:
            raise WeightsError(f'{config.name}: no weights are published, give a file')
        return _from_hub(config.hub_id, offline=offline)
    path = Path(source).expanduser()
    if path.is_dir():
        path = path / FILE_NAME
    if path.is_file():
        return path
    is_hub_id = isinstance(source, str) and _HUB_ID.fullmatch(source) is not None
    if is_hub_id and path.suffix not in _FILE_SUFFIXES:
        return _from_hub(str(source), offline=offline)
    raise WeightsError(f'{path}: no such file')


def _from_hub(hub_id: str, *, offline: bool) -> Path:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise WeightsError(f'{hub_id}: huggingface_hub is not installed, give a file') from error
    try:
        return Path(hf_hub_download(hub_id, FILE_NAME, local_files_only=offline))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        where = 'in the local cache (offline)' if offline else 'on the hub or in its local cache'
        raise WeightsError(
            f'{hub_id}: {FILE_NAME} is not {where}; give a file, or take da3-tiny, which lies in '
            f'the package: {error}') from error


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
        tensors = torch.load(path, map_location='cpu', weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        raise WeightsError(f'{path}: not a weights file, or truncated: {error}') from error
    if not isinstance(tensors, dict) or not all(isinstance(v, Tensor) for v in tensors.values()):
        raise WeightsError(f'{path}: holds no plain mapping of names to tensors')
    return tensors


def _check(
    path: Path,
    name: str,
    found: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
) -> None:
    """Raise one error that names the first keys that do not fit."""
    problems = {
        'missing': [key for key in expected if key not in found],
        'unknown': [key for key in found if key not in expected],
        'wrong shape': [
            f'{key} {found[key]}, expected {shape}'
            for key, shape in expected.items()
            if found.get(key, shape) != shape
        ],
    }
    if not any(problems.values()):
        return
    likely = [other for other in _likely_variants(found) if other != name]
    hint = f' (this looks like {" or ".join(likely)})' if likely else ''
    listed = '; '.join(f'{what}: {_first(keys)}' for what, keys in problems.items() if keys)
    raise WeightsError(f'{path}: not the weights of {name}{hint}: {listed}')


def _likely_variants(found: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return the variants that most of the keys and shapes belong to."""
    shared = {}
    for name in MODELS:
        own = _shapes(build_network(name, device='meta').state_dict())
        shared[name] = len(own.items() & found.items())
    most = max(shared.values())
    return [name for name, count in shared.items() if count == most > len(found) / 2]


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in tensors.items()}


def _first(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _NUM_NAMED_KEYS
    return ', '.join(listed[:_NUM_NAMED_KEYS]) + (f' and {more} more' if more > 0 else '')


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
