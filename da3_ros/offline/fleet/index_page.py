# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The page over all reports: a row for each recording, what failed first."""

from collections import Counter
from collections.abc import Sequence
import html
from urllib.parse import quote

from da3_ros.offline.exit_code import ExitCode
from da3_ros.offline.fleet.outcome import Outcome
from da3_ros.offline.output.page import to_page

STATES = {
    ExitCode.WRITTEN: 'written', ExitCode.PARTLY: 'written, something lost',
    ExitCode.FAULT: 'failed', ExitCode.ARGUMENTS: 'refused', ExitCode.INPUT: 'cannot be read',
    ExitCode.NETWORK: 'no network', ExitCode.OUTPUT: 'cannot be written',
    ExitCode.INTERRUPTED: 'ended',
}
_COUNTS = ('num_frames', 'num_keyframes', 'num_poses', 'num_windows', 'num_segments', 'num_loops')


def make_index(outcomes: Sequence[Outcome], num_left: int) -> str:
    """
    Write the page.

    :param outcomes: of the recordings that have ended.
    :param num_left: recordings that have not.
    :returns: HTML.
    """
    first_failed = sorted(outcomes, key=lambda each: (each.is_written, each.name))
    heads = ''.join(f'<th>{name.removeprefix("num_")}</th>' for name in _COUNTS)
    rows = '\n'.join(map(_row, first_failed))
    return to_page(f'{len(outcomes) + num_left} recordings', (
        f'<p>{html.escape(total(outcomes, num_left))}</p>\n<table><tr><th>recording</th>'
        f'<th></th>{heads}<th>s</th><th></th></tr>\n{rows}\n</table>'))


def total(outcomes: Sequence[Outcome], num_left: int) -> str:
    """
    Say in a line what became of all.

    :param outcomes: of the recordings that have ended.
    :param num_left: recordings that have not.
    """
    counts = Counter(STATES[ExitCode(each.code)] for each in outcomes)
    parts = [f'{counts[state]} {state}' for state in STATES.values() if counts[state]]
    keyframes = sum(each.counts.get('num_keyframes', 0) for each in outcomes)
    return '; '.join([
        *parts, *([f'{num_left} not begun or not ended'] if num_left else []),
        f'{keyframes} keyframes in all'])


def _row(outcome: Outcome) -> str:
    name = html.escape(outcome.name)
    kind = 'failed'
    if outcome.is_written:
        kind = 'partly' if outcome.losses else 'written'
        name = f'<a href="{quote(outcome.name)}/report.html">{name}</a>'
    numbers = [str(outcome.counts.get(each, '')) for each in _COUNTS]
    numbers.append(f'{outcome.seconds:.1f}' if outcome.seconds else '')
    cells = ''.join(f'<td class="number">{number}</td>' for number in numbers)
    text = '<br>'.join(html.escape(line) for line in (outcome.text, *outcome.losses) if line)
    return (f'<tr class="{kind}"><td title="{html.escape(outcome.place)}">{name}</td>'
            f'<td>{STATES[ExitCode(outcome.code)]}</td>{cells}<td>{text}</td></tr>')
