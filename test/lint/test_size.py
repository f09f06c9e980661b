# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Files and functions stay short enough to be read at once."""

import ast
import io
from pathlib import Path
import tokenize

from tracked import python_files, ROOT

MAX_FILE_LINES = 250
MAX_FUNCTION_LINES = 50

_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
            tokenize.ENCODING, tokenize.ENDMARKER}


def docstring_lines(node: ast.AST) -> set[int]:
    """Return the lines of a node's docstring."""
    if ast.get_docstring(node, clean=False) is None:
        return set()
    docstring = node.body[0]
    return set(range(docstring.lineno, docstring.end_lineno + 1))


def num_code_lines(path: Path) -> int:
    """Count the lines of a file that hold code: no blank lines, comments or docstrings."""
    text = path.read_text()
    lines = {line for token in tokenize.generate_tokens(io.StringIO(text).readline)
             if token.type not in _NO_CODE for line in range(token.start[0], token.end[0] + 1)}
    documented = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented):
            lines -= docstring_lines(node)
    return len(lines)


def num_function_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function without its docstring."""
    return function.end_lineno - function.lineno + 1 - len(docstring_lines(function))


def test_only_code_is_counted(tmp_path):
    path = tmp_path / 'file.py'
    path.write_text('# x\n"""Two\nlines."""\n\n\ndef f():\n    """Doc."""\n    return (\n'
                    '        1)  # x\n')
    assert num_code_lines(path) == 3


def test_files_are_short():
    lengths = {str(path.relative_to(ROOT)): num_code_lines(path) for path in python_files()}
    assert not {path: length for path, length in lengths.items() if length >= MAX_FILE_LINES}


def test_functions_are_short():
    lengths = {f'{path.relative_to(ROOT)}:{node.name}': num_function_lines(node)
               for path in python_files() for node in ast.walk(ast.parse(path.read_text()))
               if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert not {name: length for name, length in lengths.items() if length >= MAX_FUNCTION_LINES}
