# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""The demo from end to end: film, node, recording, scores, pictures, report."""

from dataclasses import dataclass, field
from pathlib import Path
import shutil

from da3_ros.demo import pictures
from da3_ros.demo.child import DemoError
from da3_ros.demo.evaluation import evaluate
from da3_ros.demo.film import Film
from da3_ros.demo.film_bag import film_bag
from da3_ros.demo.progress import Progress
from da3_ros.demo.readback import read_outputs, read_truth
from da3_ros.demo.report import write_report
from da3_ros.demo.session import NODE, run_processes
from da3_ros.demo.summary import read_weights, summarize, Summary
from da3_ros.errors import WeightsError
from da3_ros.model import MODELS
from da3_ros.model.weights import find_weights

MODEL = 'da3-tiny'
RANDOM_WEIGHTS = 'random'
# What da3-tiny was trained at, and two processor cores can do.
PROCESS_SIZE = 224
# The order of the report.
PICTURES = ('depth', 'trajectory', 'cloud', 'latency')
_MIN_KEYFRAMES = 3


@dataclass(frozen=True)
class DemoOptions:
    """
    What to run.

    :param out: folder for everything.
    :param film: what to show.
    :param rate: of the replay, times the film's pace.
    :param model: name of the network.
    :param weights: a file, folder or hub id, or ``random``; None: those of the package, else
        random ones.
    """

    out: Path
    film: Film = field(default_factory=Film)
    rate: float = 1.0
    model: str = MODEL
    weights: str | None = None


def run_demo(options: DemoOptions) -> Summary:
    """
    Run the demo and leave pictures, ``summary.json`` and ``report.html`` in the folder.

    :param options: what to run.
    :raises Da3Error: if a part fails, or too little comes out to be shown.
    """
    out = options.out.absolute()
    _clear(out)
    progress = Progress()
    with progress.step('film'):
        film = film_bag(options.film, out, say=progress.say)
    with progress.step('run'):
        run = run_processes(
            film, node_parameters(options), out, rate=options.rate, say=progress.say)
    with progress.step('evaluation'):
        truth, outputs = read_truth(film), read_outputs(out / 'node_output', NODE)
        num_published = run.status.counts['keyframes published']
        if not _MIN_KEYFRAMES <= len(outputs) == num_published:
            raise DemoError(
                f'{num_published} keyframes were published and {len(outputs)} recorded, expected '
                f'all and at least {_MIN_KEYFRAMES} (logs: {out / "log"})')
        evaluation = evaluate(truth, outputs, run.sent_ns)
    with progress.step('pictures'):
        weights = read_weights(run)
        paths = {name: out / f'{name}.png' for name in PICTURES}
        pictures.draw_depth(paths['depth'], weights, truth, evaluation)
        pictures.draw_trajectory(paths['trajectory'], weights, evaluation)
        pictures.draw_cloud(paths['cloud'], weights, options.film, truth, outputs, evaluation)
        pictures.draw_latency(paths['latency'], weights, evaluation)
    summary = summarize(
        options.film, run, evaluation, rate=options.rate, durations_s=progress.durations_s)
    summary.write(out / 'summary.json')
    write_report(out / 'report.html', summary, list(paths.values()))
    progress.say(f'report: {out / "report.html"}')
    return summary


def node_parameters(options: DemoOptions) -> dict[str, object]:
    """
    Return the node's parameters: small views, and a queue that holds the whole film.

    With such a queue a slow machine is late, which the report shows, but drops nothing.
    """
    return {
        'model.name': options.model,
        'model.weights': _weights_parameter(options),
        'preprocess.size': PROCESS_SIZE,
        'keyframe.min_interval_s': 0.35,
        'window.size': 8,
        'window.stride': 3,
        'queue.size': options.film.num_frames,
    }


def _weights_parameter(options: DemoOptions) -> str:
    if options.weights is not None:
        return options.weights
    config = MODELS[options.model]
    if config.hub_id is None:
        try:
            find_weights(config)
        except WeightsError:
            return RANDOM_WEIGHTS
    return ''


def _clear(out: Path) -> None:
    """Delete what an earlier run left, except for rendered films."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out / 'node_output', ignore_errors=True)
    for name in ('summary.json', 'report.html', *(f'{name}.png' for name in PICTURES)):
        (out / name).unlink(missing_ok=True)
