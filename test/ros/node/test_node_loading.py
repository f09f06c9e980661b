# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The node with its defaults, from the hub to the first depth image; it lives while it loads."""

import time

from diagnostic_msgs.msg import DiagnosticArray
from hub_server import Hub, served
from lifecycle_msgs.msg import Transition
from node_harness import eventually, Peer, REAL_NODE
import numpy as np
import pytest
from random_weights import randomize
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

ID = 'depth-anything/DA3-SMALL'


@pytest.fixture(scope='module')
def published(tmp_path_factory):
    """Give the folder that upstream's own class saves of da3-small."""
    upstream = pytest.importorskip('upstream', reason="needs upstream's package")
    folder = tmp_path_factory.mktemp('published')
    model = upstream.api().DepthAnything3(model_name='da3-small')
    randomize(model.model)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def hub(published, tmp_path, monkeypatch):
    """Serve it to the nodes of a test, whose cache is empty."""
    with served(Hub({ID: published})) as hub:
        monkeypatch.setenv('HF_ENDPOINT', hub.endpoint)
        monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path / 'cache'))
        yield hub


@pytest.fixture
def start_default(start_node):
    """Start nodes in the way of the README, with only what makes tests quick."""
    def start(**parameters):
        return start_node(parameters, program=REAL_NODE)

    return start


def answer_s(peer: Peer) -> float:
    """Return how long the node takes to tell its state, which must not have changed."""
    start_s = time.monotonic()
    assert peer.state() == 'unconfigured'
    return time.monotonic() - start_s


def random_image(seed: int) -> Image:
    message = Image(height=112, width=168, step=168 * 3, encoding='rgb8')
    message.header.frame_id = 'camera_optical_frame'
    message.header.stamp.sec = 100 + seed
    pixels = np.random.default_rng(seed).integers(0, 255, (14, 21, 3), np.uint8)
    message.data = pixels.repeat(8, 0).repeat(8, 1).tobytes()
    return message


def test_the_default_comes_from_the_hub_and_publishes_depth(hub, start_default, peer):
    """Nothing about the model is set."""
    node = start_default()
    node.wait_for_output('active: waiting for')
    assert 'configured: da3-small on cpu' in node.output
    assert 'da3-small: weights from ' in node.output and 'licensed Apache-2.0' in node.output
    peer.wait_for_camera()
    for seed in range(2):
        peer.send_raw(random_image(seed))
        time.sleep(0.3)
    assert peer.call(Trigger, '/da3/flush', Trigger.Request()).success
    assert eventually(lambda: len(peer.stamps('depth')) == 2, 60.0), node.output
    (depth,), _ = peer.received['depth'].values()
    assert np.isfinite(np.frombuffer(depth.data, np.float32)).all()
    # The next start needs no hub.
    assert node.interrupt() == 0
    hub.status = 503
    start_default().wait_for_output('active: waiting for')


@pytest.fixture
def downloading(hub, start_default, peer):
    """Give a node in the middle of a download that would take minutes, as diagnostics tell."""
    said: list[str] = []
    peer.node.create_subscription(
        DiagnosticArray, '/diagnostics',
        lambda array: said.extend(s.message for s in array.status), 10)
    hub.bytes_per_s = 1e6
    node = start_default()
    assert eventually(lambda: any(
        text.startswith(f'loading da3-small: {ID}, model.safetensors: ') and ' of 137 MB' in text
        for text in said), 60.0), (said, node.output)
    node.wait_for_output(f'downloading {ID}, model.safetensors: ')
    return node


def test_everything_answers_during_a_download(downloading, peer):
    """Another configure waits for the same engine, and shutdown waits for nothing."""
    assert min(answer_s(peer) for _ in range(5)) < 1.0
    flush = peer.call(Trigger, '/da3/flush', Trigger.Request())
    assert not flush.success and flush.message == 'the node is not active'
    change = SetParameters.Request(parameters=[
        Parameter(name='model.name', value=ParameterValue(type=4, string_value='da3-base'))])
    result, = peer.call(SetParameters, '/da3/set_parameters', change).results
    assert not result.successful
    peer.begin_transition(Transition.TRANSITION_CONFIGURE)
    assert answer_s(peer) < 5.0
    assert downloading.output.count('loading da3-small') == 1
    assert peer.change_state(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN, 10.0)
    assert peer.state() == 'finalized'
    assert downloading.interrupt(timeout_s=10.0) == 0
    assert 'Traceback' not in downloading.output


def test_a_signal_ends_a_download(downloading):
    assert downloading.interrupt(timeout_s=10.0) == 0
    assert 'Traceback' not in downloading.output and '[ERROR]' not in downloading.output


def test_a_hub_that_is_away_is_one_clear_error_and_the_node_lives(hub, start_default, peer):
    """When it is back, configure succeeds."""
    hub.status = 503
    node = start_default()
    node.wait_for_output('autostart failed')
    errors = [line for line in node.output.splitlines() if '[ERROR]' in line]
    assert len(errors) == 2 and 'on_configure: ' in errors[0]
    assert ID in errors[0] and hub.endpoint in errors[0] and '503' in errors[0]
    assert 'Retrying' not in node.output and 'Traceback' not in node.output
    hub.status = 200
    assert peer.change_state(Transition.TRANSITION_CONFIGURE, 60.0)
    assert peer.state() == 'inactive'
