# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Weights into a network: found, checked key by key, and said where they come from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
import logging
from pathlib import Path
import re

from da3_ros.errors import WeightsError
from da3_ros.model.build import build_network, Network
from da3_ros.model.config import ModelConfig, MODELS
from da3_ros.model.hub import from_hub, Report
from da3_ros.model.weights_file import (
    checksum,
    FILE_NAMES,
    files_of,
    named_variant,
    one_line,
    read_tensors,
)
import torch
from torch import Tensor

_PACKAGED = Path(__file__).parent / 'weights'
_HUB_ID = re.compile(r'[\w-][\w.-]*/[\w-][\w.-]*')
_FILE_SUFFIXES = ('.safetensors', '.pt', '.pth', '.bin', '.json')
_NUM_NAMED_KEYS = 3

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedWeights:
    """
    Where a network's weights came from.

    :param path: the file, or the index of its shards.
    :param sha256: checksum of the file, or of all shards one after the other.
    :param licence: SPDX name of the licence of the variant's published weights.
    :param skipped_keys: keys of the file that belong to parts left out here.
    """

    path: Path
    sha256: str
    licence: str
    skipped_keys: tuple[str, ...]


def load_weights(
    network: Network, source: str | Path | None = None, *, offline: bool = False,
    report: Report | None = None,
) -> LoadedWeights:
    """
    Fill a network with published or trained weights.

    Every key must be there with its shape, and no other; only the keys of parts that are left out
    here (``ModelConfig.skipped_keys``) are skipped, and what upstream shares may be stored once
    (``ModelConfig.shared_keys``). Values take the dtype that the network has. The network is
    changed only if all fits.

    :param network: on any device; one on 'meta' comes to the CPU.
    :param source: a .safetensors or torch file, an index of shards, a folder with one of
        ``weights_file.FILE_NAMES``, or an id on the Hugging Face hub; None: the file in the
        package if there is one, else the variant's id.
    :param offline: take weights of the hub from its cache only.
    :param report: is told the progress of a download.
    :raises WeightsError: if there are no weights, the file cannot be read or does not fit.
    """
    config = network.config
    path = find_weights(config, source, offline=offline, report=report)
    _check_variant(path, config, source)
    tensors = read_tensors(path)
    skipped = tuple(sorted(key for key in tensors if key.startswith(config.skipped_keys)))
    for key in skipped:
        del tensors[key]
    expected = network.state_dict()
    _fill_shared(path, config, tensors)
    _check(path, config.name, _shapes(tensors), _shapes(expected))
    _check_finite(path, tensors, expected)
    if any(value.is_meta for value in expected.values()):
        network.to_empty(device='cpu')
    network.load_state_dict(tensors, strict=True)
    loaded = LoadedWeights(path, checksum(*files_of(path)), config.licence, skipped)
    _logger.info('%s: weights from %s, sha256 %s', config.name, path, loaded.sha256)
    say_licence(config)
    return loaded


def say_licence(config: ModelConfig) -> None:
    """
    Log what the weights may be used for.

    :param config: of the variant.
    """
    if config.is_commercial:
        _logger.info('%s: the weights are licensed %s', config.name, config.licence)
    else:
        _logger.warning(
            '%s: the weights are licensed %s: no commercial use', config.name, config.licence
        )


def find_weights(
    config: ModelConfig, source: str | Path | None = None, *, offline: bool = False,
    report: Report | None = None,
) -> Path:
    """
    Find the file, or the index of shards, that a source stands for; as in ``load_weights``.

    :raises WeightsError: if there is none.
    """
    if source is None:
        packaged = _PACKAGED / f'{config.name}.safetensors'
        if packaged.is_file():
            return packaged
        if config.hub_id is None:
            raise WeightsError(f'{config.name}: no weights are published, give a file')
        return from_hub(config.hub_id, offline=offline, report=report)
    path = _path_of(source)
    if path.is_dir():
        held = [path / name for name in FILE_NAMES if (path / name).is_file()]
        if not held:
            raise WeightsError(
                f'{path / FILE_NAMES[0]}: no such file, nor {" or ".join(FILE_NAMES[1:])}')
        return held[0]
    if path.is_file():
        return path
    if path.suffix not in _FILE_SUFFIXES and _is_hub_id(source):
        return from_hub(str(source), offline=offline, report=report)
    raise WeightsError(f'{path}: no such file')


def _path_of(source: str | Path) -> Path:
    try:
        path = Path(source).expanduser()
        # Asked here, since not every text can be a path.
        path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise WeightsError(f'{source}: no such file: {one_line(error)}') from error
    return path


def _is_hub_id(source: str | Path | None) -> bool:
    return isinstance(source, str) and _HUB_ID.fullmatch(source) is not None


def _check_variant(path: Path, config: ModelConfig, source: str | Path | None) -> None:
    """Raise if the weights say that they are another variant's, which keys need not tell."""
    published = {other.hub_id: name for name, other in MODELS.items() if other.hub_id}
    by_id = published.get(str(source)) if _is_hub_id(source) else None
    named = named_variant(path)
    # A later release of a variant may have a number behind its name.
    by_config = max(
        (name for name in MODELS if named is not None and f'{named}-'.startswith(f'{name}-')),
        key=len, default=None)
    for variant, place in ((by_id, 'the hub'), (by_config, str(path.with_name('config.json')))):
        if variant not in (None, config.name):
            raise WeightsError(
                f'{path}: not the weights of {config.name}: {place} says {variant}')
    twins = [name for name, other in MODELS.items() if _is_twin(config, other)]
    if twins and source is not None and by_id is None and by_config is None:
        _logger.warning(
            '%s: nothing beside %s says whose weights these are, and those of %s have the same '
            'keys and shapes', config.name, path, ' and '.join(twins))


def _is_twin(config: ModelConfig, other: ModelConfig) -> bool:
    """Tell whether another variant's weights have the same keys and shapes."""
    own = (config.embed_dim, config.depth, config.head, config.metric_branch)
    return other.name != config.name and config.alternate_from == other.alternate_from and own == (
        other.embed_dim, other.depth, other.head, other.metric_branch)


def _fill_shared(path: Path, config: ModelConfig, tensors: dict[str, Tensor]) -> None:
    """Give what upstream shares, and a file holds once, to all that share it."""
    for keys in config.shared_keys:
        held = [key for key in keys if key in tensors]
        unequal = [key for key in held[1:] if not _is_equal(tensors[key], tensors[held[0]])]
        if unequal:
            raise WeightsError(
                f'{path}: not the weights of {config.name}: {held[0]} and {_first(unequal)} are '
                'one tensor in this network, but differ')
        for key in keys if held else ():
            tensors[key] = tensors[held[0]]


def _is_equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def _check_finite(
    path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    """Raise if values are not finite in the number formats that the network has."""
    bad = [
        key for key, value in tensors.items()
        if not bool(value.to(expected[key].dtype).isfinite().all())
    ]
    if bad:
        raise WeightsError(f'{path}: not finite: {_first(bad)}')


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
