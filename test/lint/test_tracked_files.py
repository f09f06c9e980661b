# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Nothing in the project belongs to one machine, and the documents point to what exists."""

from collections import Counter
import re

from tracked import python_files, ROOT, tracked_files

TEXT_SUFFIXES = {'.cfg', '.in', '.md', '.py', '.rst', '.sh', '.toml', '.txt', '.xml', '.yaml',
                 '.yml', ''}
# Character classes keep this file from matching itself.
MACHINE = re.compile(r'(?<![\w.~$}])/(hom[e]/\w+|roo[t]|wor[k])/'
                     r'|inde[x]-url|pyp[i]\.org|pythonhoste[d]|download\.pytorc[h]')
LINK = re.compile(r'\]\((?!\w+:|#)([^)#\s]+)')
MAX_BYTES = 20 << 20


def test_no_machine_paths_or_package_indexes():
    found = [(str(path.relative_to(ROOT)), line)
             for path in tracked_files() if path.suffix in TEXT_SUFFIXES
             for line in path.read_text().splitlines() if MACHINE.search(line)]
    assert not found


def test_links_of_documents_resolve():
    missing = [(str(path.relative_to(ROOT)), link)
               for path in tracked_files() if path.suffix == '.md'
               for link in LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert not missing


def test_no_file_is_generated_or_huge():
    for path in tracked_files():
        assert path.suffix not in ('.pyc', '.so', '.mcap', '.db3', '.log')
        assert path.stat().st_size < MAX_BYTES


def test_modules_that_pytest_imports_by_name_differ():
    # Their folders all come onto sys.path: of two modules of one name the first one wins.
    names = Counter(path.name for path in python_files('test', 'benchmark'))
    assert {name for name, count in names.items() if count > 1} <= {'conftest.py'}


def test_readme_shows_the_two_commands():
    readme = (ROOT / 'README.md').read_text()
    assert 'make demo' in readme
    assert 'make test' in readme
