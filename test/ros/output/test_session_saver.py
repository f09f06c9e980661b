# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A session that ends and that nobody saved is saved by itself, if that is wanted."""

from dataclasses import replace
import threading
import time

from da3_ros.export.save import save_session
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.session_record import SessionRecord
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.output import session_saver
from da3_ros.ros.output.session_saver import SessionSaver
from da3_ros.ros.parameters.settings import NodeSettings, SaveSettings
import numpy as np
import pytest

TIMEOUT_S = 20.0


def keyframe(index):
    """Give a small keyframe."""
    return PosedKeyframe(
        index, index * 10**9, 'camera', np.full((8, 10, 3), 100, np.uint8),
        np.full((8, 10), 2.0, np.float32), None, np.diag([9.0, 9.0, 1.0]), np.eye(4), 0, True)


class Side:
    """A record whose sessions are saved as they end."""

    def __init__(self, folder) -> None:
        """Begin."""
        self.folder = folder
        self.settings = NodeSettings(save=SaveSettings(
            directory=str(folder), formats=('tum',), on_end=True))
        self.counters = Counters()
        self.saver = SessionSaver(self.counters, lambda: self.settings)
        self.record = SessionRecord(on_end=self.saver.session_ended)

    def add(self, *indices) -> None:
        """Map keyframes."""
        for index in indices:
            self.record.add(keyframe(index), np.eye(4), max_keyframes=10)

    def save(self):
        """Have the session saved; give the answers, which come later."""
        answers = []
        self.saver.save(self.record.session(), self.settings, answers.append)
        return answers

    def saved(self) -> list[int]:
        """Wait for the disk; give the number of poses of each folder."""
        assert self.saver.close(TIMEOUT_S)
        folders = sorted(self.folder.iterdir()) if self.folder.exists() else []
        return [len(np.loadtxt(path / 'trajectory.txt', ndmin=2)) for path in folders]


@pytest.fixture
def side(tmp_path):
    """Give an empty one."""
    return Side(tmp_path / 'sessions')


@pytest.fixture
def gate(monkeypatch):
    """Hold up all that is to be saved until the event is set, or it is given up."""
    gate = threading.Event()

    def wait_and_save(*args, is_cancelled):
        while not gate.is_set() and not is_cancelled():
            time.sleep(0.01)
        return save_session(*args, is_cancelled=is_cancelled)

    monkeypatch.setattr(session_saver, 'save_session', wait_and_save)
    return gate


def test_it_is_not_done_unless_it_is_wanted(side):
    """Off by default, and it may be switched at any time."""
    assert not SaveSettings().on_end
    wanted = side.settings
    side.settings = replace(wanted, save=replace(wanted.save, on_end=False))
    side.add(1)
    side.record.begin_session()
    assert side.saved() == []
    side.settings = wanted
    side.add(2, 3)
    side.record.begin_session()
    assert side.saved() == [2]
    assert side.counters[Event.SAVED] == 1


def test_what_somebody_saved_is_not_saved_again(side):
    """Unless something came later."""
    side.add(1, 2)
    answers = side.save()
    side.record.begin_session()
    assert side.saved() == [2]
    assert answers[0][0]
    side.add(3, 4)
    side.save()
    side.add(5)
    side.record.begin_session()
    assert side.saved() == [2, 2, 3]


def test_a_call_that_failed_has_saved_nothing(side):
    """The end of the session tries again."""
    side.folder.write_text('mine')
    side.add(1)
    answers = side.save()
    assert side.saver.close(TIMEOUT_S)
    assert not answers[0][0]
    side.folder.unlink()
    side.record.begin_session()
    assert side.saved() == [1]
    assert side.counters[Event.SAVE_FAILED] == 1


def test_sessions_end_while_others_are_saved(side, gate):
    """Nobody waits; each is saved in its turn, and calls between them."""
    for index in range(3):
        side.add(2 * index, 2 * index + 1)
        side.record.begin_session()
    side.add(6)
    answers = side.save()
    assert not answers
    gate.set()
    assert side.saved() == [2, 2, 2, 1]
    assert answers[0][0]


def test_sessions_that_end_faster_than_the_disk_writes_are_bounded(side, gate, caplog):
    """In memory; what is not saved is counted, and the log says so."""
    for index in range(10):
        side.add(index)
        side.record.begin_session()
    assert 'expected a disk that keeps up; it is not saved' in caplog.text
    lost = side.counters[Event.SAVE_FAILED]
    # The first may be taken up before the fourth ends, or after.
    assert lost in (6, 7)
    gate.set()
    assert len(side.saved()) == 10 - lost


def test_the_end_of_the_node_leaves_time_for_the_last_session(side, gate):
    """It begins after the end was told, and is whole."""
    side.add(1, 2)
    side.saver.end(TIMEOUT_S)
    side.record.begin_session()
    gate.set()
    assert side.saved() == [2]


def test_what_does_not_fit_into_the_time_is_given_up(side, gate, caplog):
    """Nothing of it is left, and the log says so."""
    side.add(1)
    side.saver.end(0.2)
    side.record.begin_session()
    assert not side.saver.close(0.0)
    assert side.saved() == []
    assert not side.folder.exists()
    assert ('the session that ended is not saved: save: given up, because the node ends'
            in caplog.text)
    assert side.counters[Event.SAVE_FAILED] == 1
    assert not gate.is_set()


def test_a_call_alone_is_given_up_at_once(side, gate):
    """Nobody hears its answer any more."""
    side.settings = replace(side.settings, save=replace(side.settings.save, on_end=False))
    side.add(1)
    answers = side.save()
    side.saver.end(TIMEOUT_S)
    assert side.saver.close(TIMEOUT_S / 2)
    assert answers == [(False, 'save: given up, because the node ends')]
    assert not gate.is_set()


def test_nothing_remembered_is_nothing_saved():
    """The two settings contradict each other."""
    with pytest.raises(ValueError, match=r'save\.on_end: got true with save\.max_keyframes 0'):
        SaveSettings(max_keyframes=0, on_end=True)
