# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Files and functions stay short enough to be read at once."""

import ast

from tracked import python_files, ROOT

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function without its docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        docstring = function.body[0]
        lines -= docstring.end_lineno - docstring.lineno + 1
    return lines


def test_files_are_short():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines())
               for path in python_files()}
    assert not {path: length for path, length in lengths.items() if length >= MAX_FILE_LINES}


def test_functions_are_short():
    lengths = {f'{path.relative_to(ROOT)}:{node.name}': code_lines(node)
               for path in python_files() for node in ast.walk(ast.parse(path.read_text()))
               if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert not {name: length for name, length in lengths.items() if length >= MAX_FUNCTION_LINES}
