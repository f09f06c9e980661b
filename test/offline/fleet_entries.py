# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A list of recordings for the tests of fleets, with the parameters of a quick one."""

from da3_ros.offline.fleet.listing import read_list
from short_recording import PARAMETERS

QUICK = [word for each in PARAMETERS for word in ('-p', each)]


def entries_of(tmp_path, *lines, common=QUICK):
    """Read a list with these lines."""
    listed = tmp_path / 'list.txt'
    listed.write_text('\n'.join(lines))
    return read_list(listed, common)
