# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Parameters: declared once, the same in code, file and page, validated, and changed in time."""

from pathlib import Path
import re

import cv2
from da3_ros.mapping.keyframe import Frame
from da3_ros.mapping.keyframe_selector import KeyframeSelector
from da3_ros.ros.parameters.parameter_table import Change, PARAMETERS
from da3_ros.ros.parameters.settings import NodeSettings
from da3_ros.ros.parameters.snapshot import build_settings, NodeParameters
from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
import yaml

ROOT = Path(__file__).resolve().parents[3]
TYPES = {bool: 'bool', int: 'int', float: 'double', str: 'string', list: 'string_array'}


class Owner:
    """A node with the parameters, configured or not."""

    def __init__(self, context, overrides=None) -> None:
        """Declare."""
        self.is_configured = False
        self.node = Node('owner', context=context, parameter_overrides=[
            Parameter(name, value=value) for name, value in (overrides or {}).items()])
        self.parameters = NodeParameters(self.node, is_configured=lambda: self.is_configured)

    def change(self, name, value):
        """Set a parameter as ``ros2 param set`` does."""
        return self.node.set_parameters([Parameter(name, value=value)])[0]


@pytest.fixture(scope='module')
def context(domain_id):
    """Give a context."""
    context = Context()
    context.init(domain_id=domain_id)
    yield context
    context.try_shutdown()


@pytest.fixture
def own(context):
    """Give nodes that are destroyed after the test."""
    owners = []

    def create(overrides=None):
        owners.append(Owner(context, overrides))
        return owners[-1]

    yield create
    for owner in owners:
        owner.node.destroy_node()


def flatten(values, prefix=''):
    """Name the leaves of a YAML file as ROS does."""
    flat = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f'{prefix}{name}.')
        else:
            flat[prefix + name] = value
    return flat


def test_file_equals_the_defaults():
    """Every parameter is in config/da3.yaml, in the order of the table, at its default."""
    content = yaml.safe_load((ROOT / 'config/da3.yaml').read_text())
    flat = flatten(content['/**']['ros__parameters'])
    assert list(flat) == [spec.name for spec in PARAMETERS]
    for spec in PARAMETERS:
        assert flat[spec.name] == spec.default, spec.name
        assert type(flat[spec.name]) is type(spec.default), spec.name


@pytest.mark.parametrize(('name', 'num_cameras'), [('da3_rig', 3), ('da3_nav2', 1)])
def test_the_examples_are_taken(name, num_cameras):
    """They set known parameters to values that fit together."""
    content = yaml.safe_load((ROOT / f'config/{name}.yaml').read_text())
    values = flatten(content['/**']['ros__parameters'])
    assert set(values) <= {spec.name for spec in PARAMETERS}
    snapshot = build_settings(values)
    assert len(snapshot.camera.names) == num_cameras
    assert snapshot.pipeline(snapshot.window.size).window.is_chained
    for name, value in values.items():
        group, _, field = name.partition('.')
        read = getattr(getattr(snapshot, group), field)
        assert (list(read) if isinstance(read, tuple) else read) == value, name


def test_a_robot_that_stands_sees_who_walks_by():
    """With config/da3_nav2.yaml; by default the motion of the camera makes keyframes."""
    content = yaml.safe_load((ROOT / 'config/da3_nav2.yaml').read_text())
    avoidance = build_settings(flatten(content['/**']['ros__parameters']))
    wall = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    wall = cv2.resize(wall, (640, 480), interpolation=cv2.INTER_CUBIC)
    num_kept = {}
    for name, chosen in (('default', build_settings({})), ('avoidance', avoidance)):
        selector = KeyframeSelector(chosen.keyframe)
        num_kept[name] = 0
        for index in range(100):
            image = wall.copy()
            image[220:330, 6 * index:6 * index + 30] = 40
            num_kept[name] += selector.select(Frame(index * 100_000_000, image))
    assert num_kept == {'default': 1, 'avoidance': 34}


def test_page_equals_the_table():
    """docs/interface.md has every parameter with type, default, range, unit and meaning."""
    rows = []
    for line in (ROOT / 'docs/interface.md').read_text().splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if line.startswith('|') and len(cells) == 7 and cells[0].startswith('`'):
            rows.append(cells)
    assert [row[0] for row in rows] == [f'`{spec.name}`' for spec in PARAMETERS]
    for spec, row in zip(PARAMETERS, rows, strict=True):
        default = yaml.safe_load(row[2].strip('`'))
        assert (row[1], default) == (TYPES[type(spec.default)], spec.default), spec.name
        assert row[3] == expected_range(spec), spec.name
        assert row[4:] == [spec.unit, spec.change.value, spec.description], spec.name


def expected_range(spec):
    """Write a range as the page does."""
    if spec.choices:
        return ', '.join(f'`{choice}`' for choice in spec.choices)
    if spec.limits is None:
        return ''
    number = float if isinstance(spec.default, float) else int
    return f'{number(spec.limits[0])!r} to {number(spec.limits[1])!r}'


def test_every_setting_has_a_parameter_and_the_other_way_round():
    """No dead parameter, no setting out of reach."""
    names = set()
    for group, value in vars(NodeSettings()).items():
        fields = vars(value) if hasattr(value, '__dict__') else None
        names |= {group} if fields is None else {f'{group}.{field}' for field in fields}
    assert names == {spec.name for spec in PARAMETERS}


def test_every_setting_is_read():
    """Each field is used somewhere below ros/, the mapping layer or the node."""
    sources = '\n'.join(
        path.read_text() for path in (ROOT / 'da3_ros').rglob('*.py')
        if path.name not in (
            'settings.py', 'parameter_table.py',
            'config.py'))
    # Read through a property of the settings.
    renamed = {'max_m': 'limit_m', 'weights': 'is_random', 'map_frame': 'frames',
               'directory': 'folder'}
    for spec in PARAMETERS:
        field = spec.name.rpartition('.')[2]
        attribute = renamed.get(field, field)
        assert re.search(rf'\.{attribute}\b', sources) or f"'{field}'" in sources, spec.name


def test_defaults_lie_within_their_ranges_and_describe_themselves():
    """Descriptions are sentences; defaults are allowed."""
    for spec in PARAMETERS:
        assert spec.description[0].isupper()
        assert spec.description.endswith('.')
        assert spec.complaint(spec.default) is None
        if spec.limits is not None:
            assert spec.limits[0] <= spec.default <= spec.limits[1], spec.name


def test_read_gives_what_was_set(own):
    """Start values and later ones arrive in the snapshot."""
    owner = own({'window.size': 20, 'depth.max_m': 7.5})
    assert owner.change('window.stride', 5).successful
    snapshot = owner.parameters.read()
    assert (snapshot.window.size, snapshot.window.stride) == (20, 5)
    assert snapshot.depth.max_m == 7.5
    assert snapshot.pipeline(20).window.size == 20


def test_one_view_needs_no_other_setting(own):
    """For single frames, window.size 1 is enough."""
    snapshot = own({'window.size': 1}).parameters.read()
    window = snapshot.pipeline(1).window
    assert (window.size, window.stride, window.min_views) == (1, 1, 1)


@pytest.mark.parametrize(('overrides', 'complaint'), [
    ({'window.size': -1}, 'window.size out of range'),
    ({'window.max_age_s': 2}, "'window.max_age_s' to '2' of type 'INTEGER', expecting type"),
    ({'points.frame': 'moon'}, "points.frame: got 'moon', expected one of camera, world"),
    ({'tf.odom_frame': 'map'}, 'expected three different names'),
    ({'tf.base_frame': '/base_link'}, 'expected names without a leading slash'),
    ({'camera.names': ['a', 'a']}, "camera.names: got ('a', 'a'), expected different names"),
    ({'camera.names': ['a', 'b/c']}, "camera.names: got 'b/c', expected letters, digits and _"),
    ({'camera.names': ['a', '']}, "camera.names: got '', expected letters, digits and _"),
    ({'camera.names': ['a', 'b', 'c'], 'window.size': 2}, 'expected at least 3, one view per'),
    ({'scale.source': 'tf'}, 'expected tf.mode map_to_odom or none'),
    ({'scale.source': 'rig'}, "got 'rig' with camera.names [''], expected several cameras"),
    ({'window.size': 1, 'tf.mode': 'odom_to_base'}, "tf.mode: got 'odom_to_base', which needs"),
    ({'window.size': 1, 'points.frame': 'world'}, "points.frame: got 'world', which needs poses"),
    ({'window.size': 1, 'scale.source': 'pose', 'tf.mode': 'none'}, "scale.source: got 'pose'"),
])
def test_bad_start_values_are_named_by_read(own, overrides, complaint):
    """The node lives; configure says what is wrong."""
    owner = own(overrides)
    with pytest.raises(ValueError) as error:
        owner.parameters.read()
    assert complaint in str(error.value)


def test_bad_start_value_can_be_mended(own):
    """Setting the parameter is enough."""
    owner = own({'window.size': -1})
    assert owner.change('window.size', 8).successful
    assert owner.parameters.read().window.size == 8


@pytest.mark.parametrize(('name', 'value', 'reason'), [
    ('points.stride', 0, 'out of range'),
    ('points.frame', 'moon', 'expected one of camera, world'),
    ('depth.max_m', float('nan'), 'depth.max_m'),
    ('depth.max_m', 'far', 'type'),
    ('autostart', True, 'read-only'),
    ('window.stride', -1, 'window.stride'),
    ('points.voxel_m', 0.0001, 'points.voxel_m: got 0.0001, expected 0 or at least 0.001'),
])
def test_refusals_have_a_reason_and_change_nothing(own, name, value, reason):
    """The old value stays."""
    owner = own()
    before = owner.node.get_parameter(name).value
    result = owner.change(name, value)
    assert not result.successful
    assert reason in result.reason.lower() or reason in result.reason
    assert owner.node.get_parameter(name).value == before


def test_voxels_and_organized_clouds_exclude_each_other(own):
    """Whichever is set second is refused, with the reason."""
    for first, second in ((('points.organized', True), ('points.voxel_m', 0.1)),
                          (('points.voxel_m', 0.1), ('points.organized', True))):
        owner = own(dict([first]))
        result = owner.change(*second)
        assert not result.successful
        assert result.reason == (
            'points.voxel_m: got 0.1 with points.organized true, expected 0 there: a cloud in the '
            'shape of the image cannot be thinned out')
        with pytest.raises(ValueError, match=r'points\.voxel_m: got 0\.1'):
            own(dict([first, second])).parameters.read()


def test_live_parameters_swap_the_snapshot(own):
    """The old snapshot is left as it was."""
    owner = own()
    old = owner.parameters.read()
    owner.is_configured = True
    assert owner.change('points.stride', 3).successful
    assert owner.parameters.settings.points.stride == 3
    assert old.points.stride == 1


@pytest.mark.parametrize('spec', [
    spec for spec in PARAMETERS if spec.change is Change.UNCONFIGURED], ids=lambda spec: spec.name)
def test_others_are_refused_while_configured(own, spec):
    """The reason says what to do."""
    owner = own()
    owner.is_configured = True
    result = owner.change(spec.name, spec.default)
    assert not result.successful
    assert result.reason == (
        f'{spec.name} cannot change while the node is configured: clean up first')


VALUES = (
    st.booleans() | st.integers(-2**63, 2**63 - 1) | st.floats() | st.text(max_size=20)
    | st.lists(st.text(max_size=3), min_size=1, max_size=3)
    | st.sampled_from([spec.default for spec in PARAMETERS])
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from([spec.name for spec in PARAMETERS]), value=VALUES)
def test_any_value_is_taken_or_refused(own_for_fuzz, name, value):
    """Nothing is ever raised, and what was taken can be read."""
    if own_for_fuzz.change(name, value).successful:
        own_for_fuzz.parameters.read()


@pytest.fixture(scope='module')
def own_for_fuzz(context):
    """Give one node for all examples."""
    owner = Owner(context)
    yield owner
    owner.node.destroy_node()


def test_unknown_values_are_ignored_by_build():
    """Only declared parameters make settings."""
    assert build_settings({}) == NodeSettings()
