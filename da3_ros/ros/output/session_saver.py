# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Sessions are written to the disk in a thread, one after the other."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
import logging
import math
import threading
import time

from da3_ros.errors import SaveError
from da3_ros.export.save import save_session
from da3_ros.mapping.session_record import RecordedPose, Session
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.parameters.settings import NodeSettings

_logger = logging.getLogger(__name__)

_MIB = 2**20
# Each waits with all its pictures; they end faster than a disk writes only where something loops.
_MAX_ENDED = 3

Answer = tuple[bool, str]


@dataclass(frozen=True, eq=False)
class _Job:
    """
    A session to be saved.

    :param session: as it was when that was asked for.
    :param settings: likewise.
    :param answer: is told whether it was saved, and what to say; None: the session has ended.
    """

    session: Session
    settings: NodeSettings
    answer: Callable[[Answer], None] | None


class SessionSaver:
    """
    Save what is asked for and, by ``save.on_end``, what ends and nobody has saved.

    All methods may be called from any thread, and none waits for the disk but ``close``.
    """

    def __init__(self, counters: Counters, settings: Callable[[], NodeSettings]) -> None:
        """
        Start idle.

        :param counters: of the node.
        :param settings: gives the newest snapshot.
        """
        self._counters = counters
        self._settings = settings
        self._lock = threading.Lock()
        self._jobs: deque[_Job] = deque()
        self._thread: threading.Thread | None = None
        self._deadline_s = math.inf
        # All that tells one state of a session from another: whatever is added or corrected
        # makes new poses.
        self._saved: tuple[RecordedPose, ...] = ()

    def save(
        self, session: Session, settings: NodeSettings, answer: Callable[[Answer], None]
    ) -> None:
        """
        Save a session.

        :param session: to be saved.
        :param settings: say how.
        :param answer: called by the thread when it is done, with whether it was, and a message.
        """
        with self._lock:
            self._begin(_Job(session, settings, answer))

    def session_ended(self, session: Session) -> None:
        """
        Save a session by itself, if that is wanted and nobody has.

        :param session: as it ended.
        """
        settings = self._settings()
        if not settings.save.on_end:
            return
        with self._lock:
            num_waiting = len(self._jobs)
            if num_waiting < _MAX_ENDED:
                self._begin(_Job(session, settings, None))
                return
        self._counters.add(Event.SAVE_FAILED)
        _logger.error(
            f'save.on_end: got a session that ends while {num_waiting} others wait to be saved, '
            'expected a disk that keeps up; it is not saved')

    def end(self, patience_s: float) -> None:
        """
        Say that the node ends: what is not written in time is given up.

        :param patience_s: time for sessions to be saved by ``save.on_end``; without it all is
            given up at once.
        """
        is_patient = self._settings().save.on_end
        self._deadline_s = time.monotonic() + (patience_s if is_patient else 0.0)

    def close(self, timeout_s: float) -> bool:
        """
        Wait until nothing is written any more.

        :param timeout_s: longest wait.
        :returns: whether that is so.
        """
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return thread is None or not thread.is_alive()

    def _begin(self, job: _Job) -> None:
        self._jobs.append(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name='da3_save', daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._thread = None
                    return
                job = self._jobs.popleft()
            if job.answer is not None:
                job.answer(self._save(job))
            elif job.session.poses != self._saved:
                self._save(job)

    def _save(self, job: _Job) -> Answer:
        try:
            text = self._written(job.session, job.settings)
        except SaveError as error:
            self._counters.add(Event.SAVE_FAILED)
            text = str(error) if job.answer else f'the session that ended is not saved: {error}'
            _logger.error(text)
            return False, text
        except Exception as error:
            # A fault in a format must not leave the caller without an answer.
            self._counters.add(Event.EXCEPTIONS)
            _logger.exception('save: unexpected error')
            return False, f'save: unexpected error: {error}'
        self._saved = job.session.poses
        self._counters.add(Event.SAVED)
        _logger.info(text)
        return True, text

    def _written(self, session: Session, settings: NodeSettings) -> str:
        saved = save_session(
            session, settings.save.folder, frozenset(settings.save.formats), settings.map,
            settings.grid, is_cancelled=lambda: time.monotonic() >= self._deadline_s)
        return (f'{saved.num_keyframes} keyframes and {saved.num_poses} poses saved to '
                f'{saved.path} ({saved.num_bytes / _MIB:.1f} MiB)')
