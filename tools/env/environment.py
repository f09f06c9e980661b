# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The virtual environment: made once, by one process at a time, from scratch after a failure."""

from collections.abc import Iterator
from contextlib import contextmanager
import fcntl
import hashlib
import os
from pathlib import Path
import shutil
import sys
import time

from machine import check, ProblemError, sourced_ros
from settings import variables
from steps import Builder, ENV, ROOT, say, TF2_MSGS


class Environment:
    """
    The virtual environment of this checkout.

    Two files in its folder are ours: ``da3_ros.lock``, there from the first moment, says that the
    folder was made by this command, and for which checkout; ``da3_ros.stamp``, written last, says
    for what it is complete.
    """

    def __init__(self) -> None:
        self._distribution = sourced_ros()
        name = f'.venv-{self._distribution}' if self._distribution else '.venv'
        self.path = Path(os.environ.get('DA3_VENV') or ROOT / name).absolute()
        self.variables = variables(self.path, with_wheels=self._distribution is None)
        self._lock = self.path / 'da3_ros.lock'
        self._stamp = self.path / 'da3_ros.stamp'
        self._fingerprint = self._compute_fingerprint()

    def ensure(self) -> None:
        """
        Make the environment unless it is complete and up to date.

        :raises ProblemError: if it cannot be made.
        """
        if self._is_ready():
            return
        check()
        with self._locked() as lock:
            if not self._is_ready():
                self._check_owner()
                self._make(lock)

    def _is_ready(self) -> bool:
        return self._stamp.exists() and self._stamp.read_text() == self._fingerprint

    def _compute_fingerprint(self) -> str:
        """Digest what decides whether an environment is still the right one."""
        sources = [ROOT / 'requirements.txt', *ENV.glob('*.txt'), ENV / 'steps.py',
                   *(path for path in TF2_MSGS.rglob('*') if path.is_file())]
        if constraint := os.environ.get('PIP_CONSTRAINT'):
            sources.append(Path(constraint))
        facts = [sys.version, sys.base_prefix, str(self.path), str(ROOT), self._distribution]
        digest = hashlib.sha256(repr(facts).encode())
        for source in sorted(sources):
            digest.update(source.read_bytes())
        return digest.hexdigest()

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the lock; yield its descriptor."""
        if self.path.exists() and any(self.path.iterdir()) and not self._lock.exists():
            raise ProblemError(f'{self.path} was not made by tools/in_env: remove it, or set '
                               'DA3_VENV to another folder')
        self.path.mkdir(parents=True, exist_ok=True)
        with self._lock.open('a') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f'another process is making {self.path}; waiting for it')
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock.fileno()

    def _check_owner(self) -> None:
        """
        Leave the environment of another checkout alone: it may be in use there.

        :raises ProblemError: if it is one, and that checkout still exists.
        """
        owner = self._owner()
        is_inside = self.path.resolve().is_relative_to(ROOT)
        if owner is None or owner == ROOT or is_inside or not Path(owner, 'tools/in_env').exists():
            return
        raise ProblemError(f'{self.path} is the environment of {owner}, which making one for '
                           f'{ROOT} would delete: set DA3_VENV to another folder')

    def _owner(self) -> Path | None:
        """Return the checkout that the environment was made for, or None if it is unknown."""
        written = self._lock.read_text().strip()
        if not written:
            # Older ones say it only where they make the package importable.
            paths = sorted(self.path.glob('lib/python*/site-packages/da3_ros.pth'))
            written = paths[0].read_text().partition('\n')[0] if paths else ''
        return Path(written) if written else None

    def _make(self, lock: int) -> None:
        began = time.monotonic()
        self._lock.write_text(f'{ROOT}\n')
        say(f'making {self.path} (only now, and when its requirements change)')
        self._clear()
        builder = Builder(self.path, self.variables, lock)
        if self._distribution is None:
            middle = [('torch, ROS 2 Jazzy, tools', builder.install_everything),
                      ('tf2_msgs, which has no wheel', builder.build_tf2_msgs)]
            create, paths = builder.create, [ROOT, ROOT / 'tools' / 'standins']
        else:
            middle = [(f'torch and what else is missing beside ROS 2 {self._distribution}',
                       builder.install_missing)]
            create, paths = builder.create_beside_system, [ROOT]
        steps = [(f'virtual environment of Python {sys.version.split()[0]}', create), *middle,
                 ('the package of upstream, for the parity tests', builder.install_upstream)]
        for number, (title, step) in enumerate(steps, start=1):
            say(f'[{number}/{len(steps)}] {title}')
            step()
        builder.add_path(paths)
        self._stamp.write_text(self._fingerprint)
        say(f'ready after {time.monotonic() - began:.0f} s')

    def _clear(self) -> None:
        """Delete everything but the lock."""
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry != self._lock:
                entry.unlink()
