# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The steps that make the environment: each runs commands and shows how far they are."""

from importlib import metadata
from pathlib import Path
import re
import subprocess
import sys

from machine import has_module, ProblemError

ROOT = Path(__file__).resolve().parents[2]
ENV = ROOT / 'tools' / 'env'
TF2_MSGS = ROOT / 'tools' / 'tf2_msgs'

# What pip and CMake say when they fail, and what it means.
CAUSES = {
    'No space left on device': 'the disk is full',
    'Temporary failure in name resolution|Name or service not known|NewConnectionError'
    '|Network is unreachable|ConnectTimeoutError|Read timed out':
        'no network: pip cannot reach its package index',
    'Connection broken|IncompleteRead': 'the network broke off: call again',
}
# The lines of pip that tell a person what takes long: files of 10 MB and more, and unpacking.
PROGRESS = re.compile(r'\s*(Downloading \S+ \((?:\d{2,}(?:\.\d+)? M|[\d.]+ G)B\)|'
                      r'Installing collected packages)')


def say(text: str) -> None:
    """Write one line of progress to stderr: stdout belongs to the command."""
    print(f'in_env: {text}', file=sys.stderr, flush=True)


class Builder:
    """
    Fills one virtual environment.

    :param venv: its folder.
    :param variables: the environment of the commands.
    :param lock: a descriptor that the commands keep open, so that what outlives this process
        still holds the lock.
    """

    def __init__(self, venv: Path, variables: dict[str, str], lock: int) -> None:
        self._venv = venv
        self._python = str(venv / 'bin' / 'python')
        # A user's PIP_USER would send packages elsewhere.
        self._variables = {**variables, 'PIP_USER': '0'}
        self._lock = lock
        self._log = venv / 'da3_ros.log'

    def create(self) -> None:
        """Create the empty virtual environment."""
        self._run([sys.executable, '-m', 'venv', str(self._venv)])

    def create_beside_system(self) -> None:
        """Create a virtual environment that sees the system's packages."""
        self._run([sys.executable, '-m', 'venv', '--system-site-packages', str(self._venv)])

    def install_everything(self) -> None:
        """Install ROS 2, its Python dependencies, ours and the tests'."""
        files = [ROOT / 'requirements.txt', ENV / 'ros.txt', ENV / 'python.txt', ENV / 'test.txt']
        self._pip([option for file in files for option in ('-r', str(file))])

    def install_missing(self) -> None:
        """Install what a sourced ROS 2 and the system's Python lack."""
        requirements = [
            line for file in (ROOT / 'requirements.txt', ENV / 'python.txt', ENV / 'test.txt')
            for line in missing_requirements(file.read_text())]
        # The system's cv_bridge is compiled for its numpy, and colcon needs this setuptools.
        requirements += [f'numpy=={metadata.version("numpy")}', 'setuptools<80']
        self._pip(requirements)

    def install_upstream(self) -> None:
        """Install upstream's package without its many dependencies."""
        # Its version specifier excludes Python 3.13.1 and newer by a slip.
        self._pip(['--no-deps', '--ignore-requires-python', '-r', str(ENV / 'upstream.txt')])

    def build_tf2_msgs(self) -> None:
        """Build and install the message package that has no wheel."""
        build = self._venv / 'build' / 'tf2_msgs'
        self._run(['cmake', '-S', str(TF2_MSGS), '-B', str(build), '-G', 'Ninja',
                   '-DCMAKE_BUILD_TYPE=Release', '-DBUILD_TESTING=OFF',
                   f'-DCMAKE_PREFIX_PATH={self._venv}', f'-DCMAKE_INSTALL_PREFIX={self._venv}',
                   f'-DPython3_EXECUTABLE={self._python}'])
        self._run(['cmake', '--build', str(build), '--target', 'install'])

    def add_path(self, folders: list[Path]) -> None:
        """
        Make modules of folders importable.

        They come after site-packages, so that a real package wins over its stand-in.
        """
        site = subprocess.run(
            [self._python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'],
            env=self._variables, check=True, capture_output=True, text=True).stdout.strip()
        Path(site, 'da3_ros.pth').write_text(''.join(f'{folder}\n' for folder in folders))

    def _pip(self, arguments: list[str]) -> None:
        self._run([self._python, '-m', 'pip', 'install', '--disable-pip-version-check',
                   '--no-input', '--progress-bar', 'off', *arguments])

    def _run(self, command: list[str]) -> None:
        """
        Run a command with its output in the log.

        :raises ProblemError: if it fails.
        """
        with self._log.open('a') as log:
            begin = log.tell()
            with subprocess.Popen(command, env=self._variables, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  errors='replace', pass_fds=[self._lock]) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    log.write(line)
                    if progress := PROGRESS.match(line):
                        say(f'      {progress[1]}')
        if process.returncode:
            with self._log.open() as log:
                log.seek(begin)
                raise ProblemError(f'{cause(log.read(), command)} (log: {self._log})')


def missing_requirements(text: str) -> list[str]:
    """
    Return the requirements whose modules cannot be imported.

    :param text: of a requirements file; a comment ``import <module>`` names the module where it
        differs from the package.
    """
    missing = []
    for line in text.splitlines():
        requirement, _, comment = (part.strip() for part in line.partition('#'))
        if not requirement:
            continue
        name = re.split(r'[\[<>=~!; ]', requirement)[0]
        module = comment.removeprefix('import ') if comment.startswith('import ') else name
        if not has_module(module.replace('-', '_')):
            missing.append(requirement)
    return missing


def cause(output: str, command: list[str]) -> str:
    """Say in one line why a command failed."""
    for pattern, meaning in CAUSES.items():
        if re.search(pattern, output):
            return meaning
    errors = [line for line in output.splitlines() if re.search('error', line, re.IGNORECASE)]
    return errors[-1].strip() if errors else f'{Path(command[0]).name} failed'
