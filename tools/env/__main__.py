# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Run a command in the project's environment, which the first call makes.

Usage: tools/in_env [COMMAND [ARGUMENT ...]]; without a command, only make the environment.

    DA3_VENV         its folder (default: .venv, or .venv-jazzy beside a sourced ROS 2)
    DA3_PYTHON       the Python to make it with (default: python3)
    PIP_CONSTRAINT   and pip's other settings are respected
"""

import os
import sys

from environment import Environment
from machine import ProblemError
from steps import say


def main(command: list[str]) -> int:
    """
    Make the environment if need be, then become the command.

    :returns: an exit status, where there is no command or it cannot be run.
    """
    if command[:1] in (['-h'], ['--help']):
        print(__doc__.strip())
        return 0
    try:
        environment = Environment()
        environment.ensure()
    except ProblemError as problem:
        say(str(problem))
        return 1
    except OSError as error:
        say(f'cannot make the environment: {error}')
        return 1
    except KeyboardInterrupt:
        say('interrupted; the next call starts over')
        return 130
    if not command:
        return 0
    try:
        os.execvpe(command[0], command, environment.variables)
    except OSError as error:
        say(f'{command[0]}: {error.strerror}')
        return 127


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
