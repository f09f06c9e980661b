# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a process of the fleet does: one recording after the other, with the same network."""

from dataclasses import dataclass, replace
import hashlib
import logging
from pathlib import Path
import shutil
import time

from da3_ros.model.hub import Report
from da3_ros.offline.exit_code import ExitCode
from da3_ros.offline.fleet.listing import Entry
from da3_ros.offline.fleet.outcome import done, failed, Outcome, written_outcome
from da3_ros.offline.fleet.places import fetch, is_remote, open_place, Place
from da3_ros.offline.job import LoadEngine, process_recording
from da3_ros.ros.engine_loading import LoadedEngine, release_memory
from da3_ros.ros.parameters.settings import NodeSettings

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """
    A recording that is to be processed.

    :param entry: of the list.
    :param out: place of the fleet's outputs.
    :param scratch: folder of the worker's machine for what comes from URIs and goes to them.
    """

    entry: Entry
    out: str
    scratch: Path


class Worker:
    """
    Processes recordings.

    Ray starts it in a process of its own, and again where that dies.
    """

    def __init__(self, load: LoadEngine) -> None:
        """
        Begin; the network is loaded with the first recording.

        :param load: loads it.
        """
        self._load = load
        self._settings: NodeSettings | None = None
        self._loaded: LoadedEngine | None = None

    def is_ready(self) -> bool:
        """Answer once the process runs."""
        return True

    def process(self, task: Task) -> Outcome:
        """
        Process a recording, or go on with it.

        :param task: what is processed.
        """
        began_s = time.monotonic()
        entry = task.entry
        try:
            outcome = self._process(task)
        except Exception as error:
            # The fleet's catch-all: what is wrong with one recording does not end the others.
            code, text = ExitCode.of(error), str(error)
            if code is ExitCode.FAULT:
                _logger.exception('%s', entry.place)
                text = f'{type(error).__name__}: {text}'
            outcome = failed(entry, code, text)
        return replace(outcome, seconds=round(time.monotonic() - began_s, 3))

    def _process(self, task: Task) -> Outcome:
        """Do what is missing: who did the rest may have been lost at any point."""
        entry, place = task.entry, open_place(task.out)
        digest = hashlib.sha256(f'{task.out} {entry.name} {entry.asked}'.encode()).hexdigest()
        scratch = task.scratch / digest[:16]
        staging = place.staging(scratch)
        if (staging / entry.name).exists():
            place.take(staging / entry.name)
        outcome = written_outcome(place, entry)
        if outcome is None:
            try:
                outcome = self._run(entry, scratch, place, staging / entry.name)
            finally:
                # Of a run that was ended only its windows are kept.
                shutil.rmtree(scratch / 'input', ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)
        return outcome

    def _run(self, entry: Entry, scratch: Path, place: Place, out: Path) -> Outcome:
        recording = entry.job.recording
        if is_remote(entry.place):
            recording = replace(recording, path=fetch(entry.place, scratch / 'input'))
        out.parent.mkdir(parents=True, exist_ok=True)
        processed = process_recording(
            replace(entry.job, recording=recording, out=out, resume=True), load=self._engine)
        place.take(processed.out)
        return done(entry, processed.summary.counts, processed.summary.losses)

    def _engine(self, settings: NodeSettings, *, report: Report | None = None) -> LoadedEngine:
        """Load an engine, unless it is the one that is there."""
        if self._loaded is None or settings != self._settings:
            self._loaded = None
            release_memory()
            self._loaded = self._load(settings, report=report)
            self._settings = settings
        return self._loaded
