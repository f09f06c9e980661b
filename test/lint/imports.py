# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a Python file imports, read from its syntax tree."""

import ast
from pathlib import Path


def imported_modules(path: Path) -> set[str]:
    """
    Return the full dotted names of all imports, those inside functions too.

    ``from a.b import c`` counts as ``a.b`` and ``a.b.c``: c may be a module.
    """
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}:{node.lineno}: relative import'
            modules.add(node.module)
            modules.update(f'{node.module}.{alias.name}' for alias in node.names)
    return modules
