# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the trials of limited memory say, as rows of text."""

from collections.abc import Sequence

from limit_trials import LimitRun, WindowRun
from memory_stress import MOMENTS, StressRun

Trial = WindowRun | LimitRun | StressRun

# What is asked for: how far a prediction may be off, and how much of a limit is to be in use.
_MOST_ABOVE, _MOST_BELOW, _LEAST_HELD = 0.05, 0.02, 0.9


def row(trial: Trial) -> str:
    """Write one trial."""
    if isinstance(trial, WindowRun):
        return (
            f'draw {trial.model} {_size(trial.size)} {trial.num_views} views: '
            f'{trial.predicted_gib:.3f} predicted, {trial.measured_gib:.3f} GiB measured '
            f'({trial.error:+.1%}); {trial.predicted_s:.3f} predicted, {trial.measured_s:.3f} s '
            'measured'
        )
    if isinstance(trial, LimitRun):
        return _limit_row(trial)
    text = (
        f'stress {trial.model} {_size(trial.size)}, {trial.limit_gib:.1f} GiB, memory taken '
        f'{trial.moment}: {trial.num_views} of {trial.wanted_views} views, {trial.num_refused} '
        f'refused, {trial.num_caught} caught'
    )
    return f'{text}, RAISED {trial.error}' if trial.error else text


def summarize(trials: Sequence[Trial]) -> list[str]:
    """Write what all trials say together."""
    draws = [trial for trial in trials if isinstance(trial, WindowRun)]
    limits = [trial for trial in trials if isinstance(trial, LimitRun)]
    stress = [trial for trial in trials if isinstance(trial, StressRun)]
    return [
        *(_draws_summary(draws) if draws else ['no draws']),
        *(_limits_summary(limits) if limits else ['no limits']),
        *(_stress_summary(stress) if stress else ['no stress']),
    ]


def limit_table(trials: Sequence[Trial]) -> list[str]:
    """Write the views within each limit, one row for a model and an image size."""
    runs = [trial for trial in trials if isinstance(trial, LimitRun)]
    limits = sorted({run.limit_gib for run in runs})
    cells = {(run.model, run.size, run.limit_gib): _cell(run) for run in runs}
    lines = ['| model | size | ' + ' | '.join(f'{limit:g} GiB' for limit in limits) + ' |']
    lines.append('|---' * (len(limits) + 2) + '|')
    for model, size in dict.fromkeys((run.model, run.size) for run in runs):
        columns = [cells.get((model, size, limit), '-') for limit in limits]
        lines.append(f'| {model} | {_size(size)} | ' + ' | '.join(columns) + ' |')
    return [*lines, 'In bold: run with the whole limit. "!": failed. "-": not come to.']


def _cell(run: LimitRun) -> str:
    if run.planned_views > 0 and run.window is None:
        return f'{run.planned_views}!'
    return f'**{run.planned_views}**' if run.is_whole else str(run.planned_views)


def _limit_row(run: LimitRun) -> str:
    text = f'limit {run.limit_gib:g} GiB {run.model} {_size(run.size)}: '
    if run.planned_views == 0:
        return f'{text}{run.error}'
    text += f'{run.planned_views} views planned'
    if run.window is None:
        return f'{text}, FAILED {run.error}'
    window = run.window
    used, held = (gib / run.limit_gib for gib in (window.measured_gib, window.held_gib))
    return (
        f'{text}, ran {window.num_views} in {window.measured_s:.2f} s, {used:.0%} of the limit in '
        f'use, {held:.0%} held'
    )


def _size(size: tuple[int, int]) -> str:
    return f'{size[1]}x{size[0]}'


def _draws_summary(runs: Sequence[WindowRun]) -> list[str]:
    errors = [run.error for run in runs]
    within = sum(-_MOST_BELOW <= error <= _MOST_ABOVE for error in errors)
    return [
        f'{len(runs)} draws: predicted peaks from {min(errors):+.1%} to {max(errors):+.1%} of the '
        f'measured ones, {within} from -{_MOST_BELOW:.0%} to +{_MOST_ABOVE:.0%}'
    ]


def _limits_summary(runs: Sequence[LimitRun]) -> list[str]:
    fitting = [run for run in runs if run.planned_views > 0]
    windows = [(run, run.window) for run in fitting if run.window is not None]
    held = [window.held_gib / run.limit_gib for run, window in windows]
    used = [window.measured_gib / run.limit_gib for run, window in windows]
    whole = sum(run.is_whole for run in fitting)
    lines = [
        f'{len(runs)} limits: {len(runs) - len(fitting)} without one view, {len(windows)} windows '
        f'ran ({whole} with the whole limit), {len(fitting) - len(windows)} failed'
    ]
    if windows:
        lines.append(
            f'share of the limit: {min(held):.1%} to {max(held):.1%} held, {min(used):.1%} to '
            f'{max(used):.1%} in use, {sum(h >= _LEAST_HELD for h in held)} at least '
            f'{_LEAST_HELD:.0%} held'
        )
    return lines


def _stress_summary(runs: Sequence[StressRun]) -> list[str]:
    lines = []
    for moment in MOMENTS:
        chosen = [run for run in runs if run.moment == moment]
        as_wanted = sum(0 < run.num_views == run.wanted_views for run in chosen)
        smaller = sum(0 < run.num_views < run.wanted_views for run in chosen)
        raised = sum(bool(run.error) for run in chosen)
        lines.append(
            f'{len(chosen)} with memory taken {moment}: {as_wanted} as wanted, {smaller} smaller, '
            f'{len(chosen) - as_wanted - smaller - raised} without room for one view, {raised} '
            f'raised; out of memory {sum(run.num_caught for run in chosen)} times inside'
        )
    raised = sum(bool(run.error) for run in runs)
    return [f'{len(runs)} draws under stress, {raised} raised what they should not', *lines]
