# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What became of a recording, beside its outputs, so that a fleet goes on where it was."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
import json
from typing import Any

from da3_ros.offline.exit_code import ExitCode
from da3_ros.offline.fleet.listing import Entry
from da3_ros.offline.fleet.places import Place

# No output of a recording begins with a dot.
_FOLDER = '.outcomes'
_SUMMARY = 'summary.json'


@dataclass(frozen=True)
class Outcome:
    """
    How the processing of a recording ended.

    :param name: of the folder with the outputs.
    :param place: of the recording.
    :param asked: digest of what was asked for.
    :param code: exit code of ``process``.
    :param text: why there are no outputs; empty where there are.
    :param seconds: that it took, of the last try; 0: nobody knows.
    :param counts: of the outputs, by name.
    :param losses: what of the recording did not come out.
    """

    name: str
    place: str
    asked: str
    code: int
    text: str = ''
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    losses: list[str] = field(default_factory=list)

    @property
    def is_written(self) -> bool:
        """Tell whether there are outputs."""
        return self.code in (ExitCode.WRITTEN, ExitCode.PARTLY)

    def keep(self, place: Place) -> None:
        """
        Write it.

        :param place: of the fleet's outputs.
        """
        data = json.dumps(asdict(self), indent=1) + '\n'
        place.write(f'{_FOLDER}/{self.name}.json', data.encode())


def earlier_outcome(place: Place, entry: Entry) -> Outcome | None:
    """
    Return what an earlier run made of a recording, or None if it is to be processed.

    :param place: of the fleet's outputs.
    :param entry: of the list.
    :returns: a refusal where the outputs that are there are others.
    """
    values = _read(place, f'{_FOLDER}/{entry.name}.json')
    if set(values) != {each.name for each in fields(Outcome)}:
        return None
    outcome = Outcome(**values)
    if not outcome.is_written or place.read(f'{entry.name}/{_SUMMARY}') is None:
        return None
    if outcome.asked != entry.asked:
        return failed(entry, ExitCode.ARGUMENTS, _other_outputs(entry))
    return outcome


def written_outcome(place: Place, entry: Entry) -> Outcome | None:
    """
    Return the outcome that belongs to outputs, or None if there are none.

    :param place: of the fleet's outputs.
    :param entry: of the list.
    :raises ValueError: if they were made with other parameters.
    """
    summary = _read(place, f'{entry.name}/{_SUMMARY}')
    if 'counts' not in summary:
        return None
    # As JSON has it: tuples are lists there.
    if summary.get('settings') != json.loads(json.dumps(asdict(entry.job.settings))):
        raise ValueError(_other_outputs(entry))
    return done(entry, summary['counts'], summary.get('losses', ()))


def done(entry: Entry, counts: Mapping[str, int], losses: Iterable[str]) -> Outcome:
    """
    Return the outcome of a recording that was processed.

    :param entry: of the list.
    :param counts: of its summary.
    :param losses: of its summary.
    """
    losses = [*losses]
    return Outcome(
        entry.name, entry.place, entry.asked, ExitCode.PARTLY if losses else ExitCode.WRITTEN,
        counts=dict(counts), losses=losses)


def failed(entry: Entry, code: ExitCode, text: str) -> Outcome:
    """
    Return the outcome of a recording of which there are no outputs.

    :param entry: of the list.
    :param code: of ``process``.
    :param text: why.
    """
    return Outcome(entry.name, entry.place, entry.asked, code, text)


def _other_outputs(entry: Entry) -> str:
    """Say that what is there is not what is asked for."""
    return (f'out: {entry.name} is there already, of another recording or made with other '
            'options; expected another --out, or delete it')


def _read(place: Place, name: str) -> dict[str, Any]:
    try:
        values = json.loads(place.read(name) or b'')
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
