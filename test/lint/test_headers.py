# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Every source file carries the same licence header; no other licence slips in."""

from tracked import python_files, ROOT

HEADER = '# Copyright 2026 The da3_ros authors\n# SPDX-License-Identifier: Apache-2.0\n'


def test_every_file_has_the_header():
    without = [str(path.relative_to(ROOT)) for path in python_files()
               if not path.read_text().startswith(HEADER)]
    assert not without


def test_the_licence_that_the_headers_name_is_there():
    licence = (ROOT / 'LICENSE').read_text()
    assert 'Apache License' in licence and 'Version 2.0' in licence
