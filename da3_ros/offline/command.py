# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The command ``da3`` with its verbs, for those who have no ``ros2 run``."""

from collections.abc import Sequence
import importlib
import sys

# Imported when they are called: each takes its time.
_VERBS = {
    'process': ('da3_ros.offline.process', 'a bag, a film or a folder of images becomes files'),
    'fleet': ('da3_ros.offline.fleet.command', 'many of them, on one machine or many'),
    'plan': ('da3_ros.inference.plan', 'what this machine can do'),
    'fetch_weights': ('da3_ros.model.fetch_weights', 'fetch the published weights'),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Call a verb with the rest of the arguments."""
    verb, *rest = [*(sys.argv[1:] if arguments is None else arguments)] or ['']
    if verb in _VERBS:
        module = importlib.import_module(_VERBS[verb][0])
        return int(module.main(rest) or 0)
    lines = ['usage: da3 VERB ...; da3 VERB --help tells more', *(
        f'  {name:14} {text}' for name, (_, text) in _VERBS.items())]
    is_asked = verb in ('-h', '--help')
    (sys.stdout if is_asked else sys.stderr).write('\n'.join(lines) + '\n')
    return 0 if is_asked else 2


if __name__ == '__main__':
    sys.exit(main())
