# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""Lines of JSON by which the demo's processes report to their parent on stdout."""

import json
import os
import sys
from typing import Any


def report(event: str, **values: Any) -> None:
    """
    Tell the parent.

    :param event: what happened.
    :param values: numbers, texts and lists of them.
    """
    line = json.dumps({'event': event, 'pid': os.getpid(), **values})
    sys.stdout.write(line + '\n')
    sys.stdout.flush()
