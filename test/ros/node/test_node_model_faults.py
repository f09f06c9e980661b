# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The real network runs out of memory or answers NaN: the node tells, counts and goes on."""

import re

from lifecycle_msgs.msg import Transition
from node_harness import assert_all_came_once, eventually, HERE, OUTPUTS
import numpy as np
from test_node_outputs import stream
from test_node_survival import assert_works, Counts

FAULTY_NODE = (str(HERE / 'faulty_node.py'),)
NUM_VIEWS = 6
PARAMETERS = {
    'model.name': 'da3-tiny', 'model.device': 'cpu', 'preprocess.size': 56,
    'window.size': NUM_VIEWS, 'window.stride': 1, 'queue.size': 200,
    'diagnostic_updater.period': 0.2,
    **{f'qos_overrides.{topic}.publisher.depth': 200 for _, topic in OUTPUTS.values()},
}


def start(start_node, *faults, fails_to_load=False):
    """Start a node with faults, each as ``kind:first run:last run:views that fit``."""
    arguments = ['--fails-to-load'] if fails_to_load else []
    for fault in faults:
        arguments += ['--fault', fault]
    return start_node(PARAMETERS, program=FAULTY_NODE, arguments=arguments)


def window_sizes(node):
    """Give the views of each window that ran to its end."""
    return [int(size) for size in re.findall(r'window of (\d+) views', node.output)]


def test_memory_runs_out_everywhere_and_no_keyframe_is_lost_or_doubled(start_node, peer):
    """At the load; once, and for a while, in a global block and in the head."""
    node = start(
        start_node, 'global block:8:8', 'head:12:12', 'global block:18:30:3', 'head:70:82:3',
        fails_to_load=True)
    counts = Counts(peer)
    node.wait_for_output('on_configure: the weights do not fit the GPU')
    node.wait_for_output('autostart failed; when the cause is mended: ros2 lifecycle set /da3')
    assert eventually(lambda: peer.state() == 'unconfigured')
    assert peer.change_state(Transition.TRANSITION_CONFIGURE)
    assert peer.change_state(Transition.TRANSITION_ACTIVATE)
    peer.wait_for_camera()
    sent = stream(peer, 110, pace_s=0.03)
    assert_all_came_once(peer, sent)

    sizes = window_sizes(node)[1:]
    full = [i for i, size in enumerate(sizes) if size == NUM_VIEWS]
    small = [i for i, size in enumerate(sizes) if size == 3 and i > full[0]]
    # What failed once ran again with all its views; each of the two famines was outgrown.
    assert small[0] > full[0] + 6
    assert any(small[0] < i < small[-1] for i in full)
    assert sizes[-1] == NUM_VIEWS
    assert 'out of GPU memory with 6 views: CUDA out of memory' in node.output
    assert '6 views do not fit, retrying with at most 4' in node.output
    assert eventually(lambda: counts['times that memory was short'] >= 10)
    assert counts['dropped keyframes: out of memory'] == counts['unexpected errors'] == 0
    assert counts['sessions'] == 1


def test_not_even_one_view_fits(start_node, peer):
    """Those keyframes are counted as lost; when memory is back, all is well."""
    node = start(start_node, 'head:8:30')
    counts = Counts(peer)
    peer.wait_for_camera()
    stream(peer, 40, pace_s=0.03)
    assert eventually(lambda: 'not even one view fits' in node.output)
    assert_works(peer, first=100)
    assert eventually(lambda: counts['dropped keyframes: out of memory'] > 0)
    assert eventually(lambda: counts['keyframes published'] + counts[
        'dropped keyframes: out of memory'] == counts['keyframes'])


def test_nan_of_the_network_is_never_published(start_node, peer):
    """The window is dropped, named and counted; those after it join the same world."""
    kinds = ('depth', 'pose', 'intrinsics', 'confidence')
    faults = [f'{kind}:{number}:{number}' for number, kind in enumerate(kinds, start=7)]
    node = start(start_node, *faults)
    counts = Counts(peer)
    peer.wait_for_camera()
    sent = stream(peer, 30, pace_s=0.03)
    assert eventually(lambda: counts['dropped keyframes: inference failed'] == len(kinds))
    assert eventually(lambda: len(peer.stamps('depth')) == len(sent) - len(kinds))
    # What comes again is told twice, and then counted for a minute.
    for kind in kinds[:2]:
        assert re.search(f'window of . views dropped: .*{kind}.* not finite', node.output), kind
    assert counts['sessions'] == 1
    for transform in list(peer.transforms):
        assert np.isfinite(numbers(transform.transform)).all()
    for (odometry,) in list(peer.received['odometry'].values()):
        assert np.isfinite([*numbers(odometry.pose.pose), *odometry.pose.covariance]).all()
    for (info,) in list(peer.received['camera_info'].values()):
        assert np.isfinite([*info.k, *info.p]).all()
    for (confidence,) in list(peer.received['confidence'].values()):
        assert np.isfinite(np.frombuffer(confidence.data, np.float32)).all()
    assert_works(peer, first=60)


def numbers(pose):
    """Give position and orientation of a pose or a transform."""
    position = getattr(pose, 'position', None) or pose.translation
    rotation = getattr(pose, 'orientation', None) or pose.rotation
    return [position.x, position.y, position.z, rotation.x, rotation.y, rotation.z, rotation.w]
