# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Process one recording: what the command does, and who has many of them calls."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import dataclasses
from dataclasses import dataclass
import fcntl
import hashlib
import logging
from pathlib import Path
import shutil
from typing import Any, Protocol

from da3_ros.errors import SaveError
from da3_ros.export.optional import check_installed
from da3_ros.export.save import FORMATS
from da3_ros.inference.preprocessing import Preprocessor
from da3_ros.model import MODELS
from da3_ros.model.hub import Report
from da3_ros.offline.arithmetic import arithmetic, threads
from da3_ros.offline.counts import Counts
from da3_ros.offline.input.recordings import open_recording, Recording
from da3_ros.offline.input.robot import find_robot
from da3_ros.offline.input.source import Source
from da3_ros.offline.journal import JournaledEngine, recorded, write_whole
from da3_ros.offline.output.report import make_report, SessionPage
from da3_ros.offline.output.summary import Summary
from da3_ros.offline.run import run
from da3_ros.offline.sessions import Output
from da3_ros.ros.engine_loading import load_engine, LoadedEngine
from da3_ros.ros.parameters.settings import NodeSettings
import torch

_logger = logging.getLogger(__name__)
_MIB = 2**20
_SESSIONS, _JOURNAL = 'sessions', 'windows'


@dataclass(frozen=True)
class Job:
    """
    What is made of which recording.

    :param recording: what is read.
    :param settings: of the node.
    :param out: folder that is created; beside it ``OUT.unfinished`` holds what a run that was
        ended goes on from.
    :param formats: some of ``sessions.OUTPUTS``.
    :param resume: go on with a run that was ended; if there is none, begin.
    """

    recording: Recording
    settings: NodeSettings
    out: Path
    formats: frozenset[str] = frozenset(FORMATS)
    resume: bool = False


@dataclass(frozen=True)
class Processed:
    """
    What came of a job.

    :param out: folder with the outputs; in its ``report.html`` a person reads the same.
    :param summary: what came out, and what of the recording was lost.
    :param num_repeated: windows that were there from before.
    """

    out: Path
    summary: Summary
    num_repeated: int

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing of the recording was lost."""
        return not self.summary.losses


class LoadEngine(Protocol):
    """Loads the network that the settings ask for; ``load_engine`` is the real one."""

    def __call__(self, settings: NodeSettings, *, report: Report | None = None) -> LoadedEngine:
        """
        Load it.

        :param settings: of the node.
        :param report: is told what goes on.
        """
        ...


def process_recording(
    job: Job, *, load: LoadEngine = load_engine,
    tell: Callable[[Counts, int], object] = lambda _counts, _num_images: None,
    is_ending: Callable[[], bool] = lambda: False,
) -> Processed:
    """
    Process a recording; everything is written at the end, whole or not at all.

    What is raised, ``ExitCode.of`` gives a number.

    :param job: what is made of what.
    :param load: gives the engine; who processes many recordings may give the same one again.
    :param tell: is told how far it is, and how many images there are (0 where nobody knows).
    :param is_ending: asked before every window.
    :raises ValueError: if an argument cannot be used.
    :raises InputError: if the recording cannot be read, or nothing comes out of it.
    :raises WeightsError: if the network cannot be had.
    :raises MemoryBudgetError: if it does not fit.
    :raises SaveError: if a library is missing that writes the outputs, or the disk does not take
        them.
    :raises JournalError: if the unfinished run is of another job.
    :raises JournalFault: if the journal cannot be written, or fits no more; its cause says which.
    :raises Interrupted: if ``is_ending`` said so.
    """
    check_installed(job.formats)
    work = _unfinished(job.out, is_resumed=job.resume)
    num_threads = recorded(work / _JOURNAL, 'num_threads') or torch.get_num_threads()
    with open_recording(job.recording, job.settings.camera) as source, threads(num_threads):
        _logger.info('%s: %s', job.recording.path, source.description)
        robot = find_robot(source, job.recording.poses, job.settings)
        loaded = load(job.settings, report=lambda text: _logger.info('%s', text))
        if caveat := MODELS[loaded.identity.name].caveat:
            _logger.info('%s', caveat)
        # Not before: what cannot begin leaves nothing behind.
        with _made(work, job.out):
            pages: list[SessionPage] = []
            output = Output(
                work / _SESSIONS, job.formats,
                lambda name, session: pages.append(SessionPage.of(name, session)))
            num_views = recorded(work / _JOURNAL, 'num_views') or loaded.identity.num_views
            engine = _journaled(job, loaded, work / _JOURNAL, num_views, is_ending)
            counts = run(
                source, engine, job.settings, num_views=num_views, output=output, robot=robot,
                tell=lambda counts: tell(counts, source.num_images), is_ending=is_ending)
            summary = _sum_up(job, source, counts, loaded, num_views)
            _finish(job.out, work, summary, pages)
    return Processed(job.out, summary, engine.num_repeated)


def _unfinished(out: Path, *, is_resumed: bool) -> Path:
    """Return where an unfinished run is kept, if it may be used."""
    work = out.with_name(f'{out.name}.unfinished')
    if out.exists():
        what = ''
        if is_resumed and work.exists() and not (work / _SESSIONS).exists():
            # It was ended between giving the outputs their name and this.
            shutil.rmtree(work, ignore_errors=True)
            what = ' and is whole'
        raise ValueError(f'out: got {out}, which exists{what}; expected a new folder')
    if work.exists() and not is_resumed:
        raise ValueError(
            f'out: an unfinished run is in {work}; --resume goes on, or delete that folder to '
            'begin anew')
    return work


@contextmanager
def _made(work: Path, out: Path) -> Iterator[None]:
    """
    Create the folder, empty but for the journal, and keep others out of it.

    A kill gives it free; nothing else than the lock, which the system keeps, tells whose it is.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
        with (work / 'lock').open('w') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError(
                    f'out: got {out}, which another process is writing; expected another folder'
                ) from error
            # Sessions are written anew: which were whole is not known, and they cost little.
            shutil.rmtree(work / _SESSIONS, ignore_errors=True)
            (work / _SESSIONS).mkdir()
            yield
    except OSError as error:
        raise SaveError(f'out: got {out} ({error.strerror or error}), expected a folder that can '
                        'be written') from error


def _journaled(
    job: Job, loaded: LoadedEngine, folder: Path, num_views: int, is_ending: Callable[[], bool]
) -> JournaledEngine:
    preprocess = job.settings.preprocess
    preprocessor = Preprocessor(preprocess.size, preprocess.method)
    return JournaledEngine(
        loaded.engine, folder, identity=_identity(job, loaded, num_views), resume=job.resume,
        is_ending=is_ending, process=lambda images: preprocessor.process(images).images)


def _finish(out: Path, work: Path, summary: Summary, pages: list[SessionPage]) -> None:
    """Add what holds for all sessions, and give everything its name."""
    folder = work / _SESSIONS
    write_whole(folder / 'summary.json', summary.to_json().encode())
    write_whole(folder / 'report.html', make_report(summary, pages).encode())
    folder.rename(out)
    shutil.rmtree(work, ignore_errors=True)


def _sum_up(
    job: Job, source: Source, counts: Counts, loaded: LoadedEngine, num_views: int
) -> Summary:
    identity = loaded.identity
    return Summary.of(
        job.recording.path.name, source, counts, model=identity.name,
        weights=identity.weights.rpartition(' ')[2], device=identity.device,
        num_views=num_views, settings=_told(job.settings))


def _identity(job: Job, loaded: LoadedEngine, num_views: int) -> dict[str, Any]:
    """Return what the answers of the engine depend on."""
    return {
        'input': _fingerprint(job.recording), 'settings': _told(job.settings),
        'weights': loaded.identity.weights, 'device': loaded.identity.device,
        'num_views': num_views, 'num_threads': torch.get_num_threads(),
        'arithmetic': arithmetic()}


def _told(settings: NodeSettings) -> dict[str, Any]:
    """Return the parameters by group."""
    return dataclasses.asdict(settings)


def _fingerprint(recording: Recording) -> dict[str, Any]:
    """Return what tells a recording from another: names, sizes, and both ends of every file."""
    digest = hashlib.sha256()
    for path in recording.files:
        size = path.stat().st_size
        digest.update(f'{path.relative_to(recording.path.parent)} {size}'.encode())
        with path.open('rb') as file:
            digest.update(file.read(_MIB))
            file.seek(max(0, size - _MIB))
            digest.update(file.read(_MIB))
    calibration, poses = recording.calibration, recording.poses
    return {
        'path': str(recording.path.resolve()), 'sha256': digest.hexdigest(),
        'part': dataclasses.asdict(recording.part), 'rate_hz': recording.rate_hz,
        'calibration': None if calibration is None else calibration.read_text(),
        'poses': None if poses is None else [
            hashlib.sha256(each.read_bytes()).hexdigest()
            for each in sorted(poses.rglob('images.*')) or [poses]]}
