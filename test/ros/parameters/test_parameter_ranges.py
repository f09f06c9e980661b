# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Every parameter at and past its range, and every combination that is let in works."""

import math

from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.ros.parameters.parameter_table import PARAMETERS
from da3_ros.ros.parameters.snapshot import build_settings, NodeParameters
from hypothesis import given
from hypothesis import strategies as st
from paths import curve
from perfect_engine import frames, PerfectEngine
import pytest
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

NUMBERS = [spec for spec in PARAMETERS if spec.limits is not None]
CHOICES = [spec for spec in PARAMETERS if spec.choices]
# Values that others must follow, set beforehand so that each range can be used to its ends.
ROOM = {
    'window.size': 4096, 'tf.mode': 'none', 'keyframe.min_interval_s': 0.0,
    'keyframe.max_interval_s': 86400.0, 'camera.names': ['left', 'right'],
    'grid.min_height_m': -100.0, 'grid.max_height_m': 100.0}
# rclpy lets in what lies past a limit by less than a millionth.
TOLERANCE = 1e-5


@pytest.fixture(scope='module')
def create(domain_id):
    """Create nodes with the parameters and start values."""
    context = Context()
    context.init(domain_id=domain_id)
    nodes = []

    def create(**values):
        nodes.append(Node('owner', context=context, parameter_overrides=[
            Parameter(name, value=value) for name, value in values.items()]))
        return nodes[-1], NodeParameters(nodes[-1], is_configured=lambda: False)

    yield create
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


@pytest.fixture(scope='module')
def roomy(create):
    """Give a node for tests that leave its values as they were."""
    return create(**ROOM)


def ends(spec):
    """Give both ends of a range, and what lies next to them outside."""
    low, high = (type(spec.default)(limit) for limit in spec.limits)
    if isinstance(spec.default, int):
        return (low, high), (low - 1, high + 1)
    return (low, high), (low - TOLERANCE * (abs(low) or 1.0), high * (1.0 + TOLERANCE))


@pytest.mark.parametrize('spec', NUMBERS, ids=lambda spec: spec.name)
def test_both_ends_are_taken_and_what_lies_past_them_is_refused(roomy, spec):
    """The refusal names the parameter, and the old value stays."""
    inside, outside = ends(spec)
    node, parameters = roomy
    start = node.get_parameter(spec.name)
    for value in inside:
        result = node.set_parameters([Parameter(spec.name, value=value)])[0]
        assert result.successful or is_about_another(result.reason, spec), result.reason
        if result.successful:
            assert parameters.read() == parameters.settings
    for value in (*outside, *strangers(spec)):
        before = node.get_parameter(spec.name).value
        result = node.set_parameters([Parameter(spec.name, value=value)])[0]
        assert not result.successful
        assert spec.name in result.reason or 'Wrong parameter type' in result.reason
        assert node.get_parameter(spec.name).value == before
    assert node.set_parameters([start])[0].successful


def is_about_another(reason, spec):
    """Tell whether a value was refused for what another parameter is."""
    return spec.name in ('window.size', 'window.stride', 'window.min_views') and (
        'window.' in reason and 'out of range' not in reason)


def strangers(spec):
    """Give values that are no numbers of the right type."""
    wrong = [True, 'many', [1, 2]]
    return wrong + ([math.nan, math.inf, -math.inf, 1] if isinstance(spec.default, float)
                    else [0.5])


@pytest.mark.parametrize('end', [0, 1])
def test_start_values_past_the_ends_are_named_and_replaced(create, end):
    """All at once: the node lives with the defaults until they are set."""
    node, parameters = create(**{spec.name: ends(spec)[1][end] for spec in NUMBERS})
    with pytest.raises(ValueError) as error:
        parameters.read()
    for spec in NUMBERS:
        assert node.get_parameter(spec.name).value == spec.default
        assert spec.name in str(error.value)


@pytest.mark.parametrize('spec', CHOICES, ids=lambda spec: spec.name)
def test_every_choice_is_taken_and_nothing_else(roomy, spec):
    """Also not a choice in capitals, or with a blank."""
    node, _ = roomy
    start, cameras = node.get_parameter(spec.name), node.get_parameter('camera.names')
    if spec.name == 'frames.mode':
        # Of several cameras, keyframes alone get depth.
        assert node.set_parameters([Parameter('camera.names', value=['left'])])[0].successful
    for choice in spec.choices:
        assert node.set_parameters([Parameter(spec.name, value=choice)])[0].successful, choice
    for wrong in ('', spec.default.upper(), f'{spec.default} ', 'x' * 10_000):
        result = node.set_parameters([Parameter(spec.name, value=wrong)])[0]
        assert not result.successful
        assert spec.name in result.reason
    assert all(result.successful for result in node.set_parameters([start, cameras]))


def values_of(spec):
    """Draw values of a parameter's own domain, its ends more often."""
    if spec.choices:
        return st.sampled_from(spec.choices)
    if spec.limits is None:
        return st.booleans() if isinstance(spec.default, bool) else st.just(spec.default)
    low, high = (type(spec.default)(limit) for limit in spec.limits)
    if isinstance(spec.default, int):
        return st.sampled_from([low, high]) | st.integers(low, min(high, low + 20))
    return st.sampled_from([low, high]) | st.floats(low, high)


ANY_SETTINGS = st.fixed_dictionaries(
    {}, optional={spec.name: values_of(spec) for spec in PARAMETERS})
STREAM = tuple(frames(6))


@given(values=ANY_SETTINGS)
def test_whatever_is_let_in_runs(values):
    """Settings are refused as a whole, with the reason, or a stream comes through them."""
    try:
        chosen = build_settings(values)
        config = chosen.pipeline(chosen.window.size or 12)
    except ValueError as error:
        assert any(spec.name in str(error) for spec in PARAMETERS), error
        return
    pipeline, stream = DepthPipeline(PerfectEngine(curve(6)), config), FrameStream(config)
    instants = [instant for frame in STREAM for instant in stream.take(frame).instants]
    instants += stream.release()
    updates = [pipeline.add(instant) for instant in instants] + [pipeline.flush()]
    if chosen.loop.enabled:
        updates.append(pipeline.close_loops())
    ids = [each.id for update in updates for each in (*update.keyframes, *update.dropped)]
    assert sorted(ids) == [each.id for instant in instants for each in instant.keyframes]
    assert instants
