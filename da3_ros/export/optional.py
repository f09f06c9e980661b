# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Libraries that only some formats need, and that are loaded when one is written."""

from collections.abc import Iterable
import importlib
import importlib.util
from typing import Any

from da3_ros.errors import SaveError

_MODULES = {'glb': ('trimesh',), 'laz': ('laspy', 'lazrs'), 'rerun': ('rerun',)}
EXTRAS = tuple(_MODULES)
"""Formats that need one of pip's extras, each named as the extra is."""


def check_installed(formats: Iterable[str]) -> None:
    """
    Find out before long work whether its formats can be written.

    :param formats: of any kind.
    :raises SaveError: if a library is missing.
    """
    for each in sorted(set(formats) & set(EXTRAS)):
        missing = [name for name in _MODULES[each] if importlib.util.find_spec(name) is None]
        if missing:
            raise _refusal(each, ', '.join(missing))


def library_of(extra: str) -> Any:
    """
    Import the library of a format.

    :param extra: one of ``EXTRAS``.
    :raises SaveError: if it is missing.
    """
    try:
        first, *_ = [importlib.import_module(name) for name in _MODULES[extra]]
    except ImportError as error:
        raise _refusal(extra, str(error.name or error)) from error
    return first


def _refusal(extra: str, missing: str) -> SaveError:
    return SaveError(
        f"save: {extra} needs {missing}, which is not installed: pip install 'da3_ros[{extra}]'")
