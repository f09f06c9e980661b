# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""``~/save`` answers when it is done, and disturbs nothing while it works."""

import threading

from da3_ros.errors import SaveError
from da3_ros.export.save import Saved
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.session_record import RecordedPose, Session
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.output import session_saver
from da3_ros.ros.output.save_service import SaveService
from da3_ros.ros.output.session_saver import SessionSaver
from da3_ros.ros.parameters.settings import NodeSettings, SaveSettings
from lifecycle_msgs.msg import Transition
from node_harness import eventually
import numpy as np
import pytest
from rclpy.node import Node
from spun_graph import SpunGraph
from std_srvs.srv import Trigger
from test_node_outputs import stream
from test_node_settings import set_parameter
from test_node_survival import assert_works, Counts

TIMEOUT_S = 20.0


class Side(SpunGraph):
    """A node with nothing but the service, and a caller."""

    def __init__(self, domain_id, folder) -> None:
        """Offer a session."""
        super().__init__(domain_id)
        self.node = Node('da3', context=self.context)
        self.counters = Counters()
        self.settings = NodeSettings(save=SaveSettings(directory=str(folder)))
        pose = RecordedPose(0, 1, 'camera', Sim3.identity())
        self.session = Session((None,), (pose,), 'odom', np.eye(4))
        self.saver = SessionSaver(self.counters, lambda: self.settings)
        SaveService(
            self.node, self.saver, settings=lambda: self.settings, session=lambda: self.session)
        self._client = self.node.create_client(Trigger, '~/save')
        self.num_ticks = 0
        self.node.create_timer(0.01, self._tick)
        self.spin(self.node)
        assert self._client.wait_for_service(TIMEOUT_S)

    def _tick(self) -> None:
        self.num_ticks += 1

    def call(self):
        """Call the service; give the future."""
        return self._client.call_async(Trigger.Request())

    def answer(self):
        """Call the service; give the response."""
        future = self.call()
        assert eventually(future.done, TIMEOUT_S)
        return future.result()

    def close(self) -> None:
        """End."""
        self.saver.end(0.0)
        assert self.saver.close(TIMEOUT_S)
        super().close()


@pytest.fixture
def side(domain_id, tmp_path):
    """Give the service."""
    side = Side(domain_id, tmp_path)
    yield side
    side.close()


class Gate:
    """A saving that lasts until it is let go, or given up."""

    def __init__(self, monkeypatch) -> None:
        """Take the place of the real one."""
        self.started, self.go = threading.Event(), threading.Event()
        self.given_up = False
        monkeypatch.setattr(session_saver, 'save_session', self._save)

    def _save(self, session, directory, formats, config, grid_config, *, is_cancelled):
        del formats, config, grid_config
        self.started.set()
        assert eventually(lambda: self.go.is_set() or is_cancelled(), TIMEOUT_S)
        if is_cancelled():
            self.given_up = True
            raise SaveError('save: given up')
        return Saved(directory / 'there', len(session.keyframes), len(session.poses), 2**20)


def test_callbacks_go_on_while_a_session_is_saved(side, monkeypatch):
    """The answer comes when it is done, and says what was written where."""
    gate = Gate(monkeypatch)
    future = side.call()
    assert gate.started.wait(TIMEOUT_S)
    ticks = side.num_ticks
    assert eventually(lambda: side.num_ticks > ticks + 20)
    assert not future.done()
    gate.go.set()
    assert eventually(future.done)
    response = future.result()
    assert response.success
    assert response.message == (
        f'1 keyframes and 1 poses saved to {side.settings.save.folder}/there (1.0 MiB)')
    assert side.counters[Event.SAVED] == 1


def test_a_second_call_meanwhile_is_refused(side, monkeypatch):
    """At once; the first one is not hurt, and a later one is served."""
    gate = Gate(monkeypatch)
    first = side.call()
    assert gate.started.wait(TIMEOUT_S)
    second = side.answer()
    assert not second.success
    assert second.message == 'save: got a call while another is under way, expected its end'
    gate.go.set()
    assert eventually(first.done)
    assert first.result().success
    assert side.answer().success


def test_an_idle_executor_is_woken_by_the_answer(side, monkeypatch):
    """Nothing else happens in the node: no timer, no image."""
    gate = Gate(monkeypatch)
    for timer in list(side.node.timers):
        side.node.destroy_timer(timer)
    for _ in range(3):
        future = side.call()
        assert gate.started.wait(TIMEOUT_S)
        gate.started.clear()
        gate.go.set()
        assert eventually(future.done, 5.0)
        gate.go.clear()


def test_a_failure_is_answered_and_counted(side, monkeypatch):
    """Expected ones with their message, others as what they are; the service lives."""
    for error, event, text in (
            (SaveError('save.directory: got a full disk'), Event.SAVE_FAILED, 'got a full disk'),
            (ZeroDivisionError('oops'), Event.EXCEPTIONS, 'save: unexpected error: oops')):
        def fail(*_args, error=error, **_options):
            raise error

        monkeypatch.setattr(session_saver, 'save_session', fail)
        response = side.answer()
        assert not response.success
        assert text in response.message
        assert side.counters[event] == 1


def test_an_end_of_the_node_gives_a_saving_up(side, monkeypatch):
    """It does not last until the disk is done."""
    gate = Gate(monkeypatch)
    side.call()
    assert gate.started.wait(TIMEOUT_S)
    side.saver.end(TIMEOUT_S)
    assert side.saver.close(TIMEOUT_S / 2)
    assert gate.given_up


def test_calls_that_cannot_be_served_are_refused(side):
    """With the reason."""
    side.settings = NodeSettings(save=SaveSettings(directory='~nobody-of-this-name/sessions'))
    response = side.answer()
    assert not response.success
    assert response.message.startswith("save.directory: got '~nobody-of-this-name/sessions' (")
    assert side.counters[Event.SAVE_FAILED] == 1
    side.settings = NodeSettings(save=SaveSettings(max_keyframes=0))
    assert side.answer().message.startswith('save.max_keyframes: got 0, expected more')
    side.session = None
    response = side.answer()
    assert (response.success, response.message) == (False, 'the node is not configured')


def test_a_run_is_saved_as_it_was_published(start_node, peer, tmp_path):
    """Right after it; a new session has nothing of the old one; deactivation does no harm."""
    start_node({'save.directory': str(tmp_path / 'sessions')})
    peer.wait_for_camera()
    sent = stream(peer, 12)
    assert eventually(lambda: len(peer.stamps('odometry')) == len(sent))
    response = peer.call(Trigger, '/da3/save', Trigger.Request())
    assert response.success, response.message
    folder, = (tmp_path / 'sessions').iterdir()
    assert str(folder) in response.message
    arrays = np.load(folder / 'keyframes.npz')
    assert arrays['stamp_ns'].tolist() == sent
    for index, stamp in enumerate(sent):
        position = peer.received['odometry'][stamp][0].pose.pose.position
        np.testing.assert_allclose(
            arrays['frame_T_camera'][index, :3, 3], [position.x, position.y, position.z],
            atol=1e-9)
        depth = peer.received['depth'][stamp][0]
        np.testing.assert_allclose(
            arrays['depth'][index].ravel(), np.frombuffer(depth.data, np.float32), rtol=2.0**-10)
    assert arrays['frame'][0] == 'odom'
    rows = np.loadtxt(folder / 'trajectory.txt')
    np.testing.assert_allclose(rows[:, 1:4], arrays['frame_T_camera'][:, :3, 3], atol=1e-8)
    assert len(list((folder / 'colmap/images').iterdir())) == len(sent)

    assert peer.call(Trigger, '/da3/reset', Trigger.Request()).success
    after = stream(peer, 5, first=50)
    assert eventually(lambda: set(after) <= set(peer.stamps('odometry')))
    assert peer.call(Trigger, '/da3/save', Trigger.Request()).success
    _, folder = sorted((tmp_path / 'sessions').iterdir())
    assert np.load(folder / 'keyframes.npz')['stamp_ns'].tolist() == after

    client = peer.node.create_client(Trigger, '/da3/save')
    future = client.call_async(Trigger.Request())
    assert peer.change_state(Transition.TRANSITION_DEACTIVATE)
    assert eventually(future.done)
    assert future.result().success, future.result().message
    # Who deactivates first has lost nothing, until a new session has something.
    for _ in range(2):
        response = peer.call(Trigger, '/da3/save', Trigger.Request())
        assert response.success, response.message
    folders = sorted((tmp_path / 'sessions').iterdir())
    assert len(folders) == 5
    for folder in folders[1:]:
        assert np.load(folder / 'keyframes.npz')['stamp_ns'].tolist() == after
    assert not [path for path in (tmp_path / 'sessions').iterdir() if path.name.startswith('.')]


def test_sessions_that_end_are_saved_by_themselves(start_node, peer, tmp_path):
    """On reset, gap, deactivation and a signal; but not again what somebody saved."""
    folder = tmp_path / 'sessions'
    node = start_node({
        'save.directory': str(folder), 'save.on_end': True, 'camera.max_gap_s': 10.0})
    peer.wait_for_camera()
    stamps = []

    def map_session(first: int) -> None:
        stamps.append(stream(peer, 8, first=first))
        assert eventually(lambda: set(stamps[-1]) <= set(peer.stamps('odometry')))

    def saved() -> list:
        return [np.load(path / 'keyframes.npz')['stamp_ns'].tolist()
                for path in sorted(folder.glob('[!.]*'))]

    map_session(0)
    assert peer.call(Trigger, '/da3/reset', Trigger.Request()).success
    assert eventually(lambda: saved() == stamps)
    map_session(10)
    map_session(1000)
    assert eventually(lambda: saved() == stamps[:2])
    assert peer.change_state(Transition.TRANSITION_DEACTIVATE)
    assert eventually(lambda: saved() == stamps)
    assert peer.change_state(Transition.TRANSITION_ACTIVATE)
    peer.wait_for_camera()
    map_session(2000)
    assert peer.call(Trigger, '/da3/save', Trigger.Request()).success
    assert peer.call(Trigger, '/da3/reset', Trigger.Request()).success
    map_session(2010)
    assert node.interrupt() == 0
    assert saved() == stamps
    assert 'Traceback' not in node.output
    assert f'8 keyframes and 8 poses saved to {sorted(folder.iterdir())[-1]}' in node.output


def test_refused_savings_leave_a_living_node(start_node, peer, tmp_path):
    """Nothing mapped yet, a path that is a file, an unknown format; then it works."""
    (tmp_path / 'file').write_text('mine')
    node = start_node({'save.directory': str(tmp_path / 'file')})
    counts = Counts(peer)
    peer.wait_for_camera()
    response = peer.call(Trigger, '/da3/save', Trigger.Request())
    assert response.message == (
        'save: got no keyframe with a pose in this session, expected at least one')
    assert_works(peer, first=0)
    response = peer.call(Trigger, '/da3/save', Trigger.Request())
    assert not response.success
    assert response.message.startswith(f"save.directory: got '{tmp_path / 'file'}' (")
    node.wait_for_output('expected a folder with enough room that can be written')
    assert eventually(lambda: counts['sessions that could not be saved'] == 2)
    result = set_parameter(peer, 'save.formats', ['ply', 'obj'])
    assert result.reason == (
        "save.formats: got ('ply', 'obj'), expected some of ply, tum, colmap, npz, grid, "
        'glb, laz, rerun')
    assert set_parameter(peer, 'save.formats', ['tum']).successful
    assert set_parameter(peer, 'save.directory', str(tmp_path / 'folder')).successful
    assert_works(peer, first=100)
    assert peer.call(Trigger, '/da3/save', Trigger.Request()).success
    folder, = (tmp_path / 'folder').iterdir()
    assert [path.name for path in folder.iterdir()] == ['trajectory.txt']
    assert eventually(lambda: counts['sessions saved'] == 1)
