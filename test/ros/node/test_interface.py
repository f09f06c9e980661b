# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""docs/interface.md names the topics and services of the running node, with their types."""

from pathlib import Path
import re

from lifecycle_msgs.msg import Transition
from node_harness import eventually
import pytest

PAGE_FOLDER = Path(__file__).resolve().parents[3] / 'docs'
PAGE = (PAGE_FOLDER / 'interface.md').read_text()
# Those of every node, or of every lifecycle node.
USUAL_TOPICS = {'/rosout', '/parameter_events', '/da3/transition_event', '/clock'}
USUAL_SERVICES = {
    'change_state', 'get_state', 'get_available_states', 'get_available_transitions',
    'get_transition_graph', 'describe_parameters', 'get_parameter_types', 'get_parameters',
    'get_type_description', 'list_parameters', 'set_parameters', 'set_parameters_atomically',
}


def table(title, num_cells):
    """Read the rows of the first table below a title."""
    section = PAGE.split(f'## {title}\n', 1)[1].split('\n## ', 1)[0]
    rows = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if line.startswith('| `') and len(cells) == num_cells:
            rows.append([cell.strip('`') for cell in cells])
    return rows


def documented_topics(direction, *, transport='raw'):
    """Give the documented topics of one direction, with their full names."""
    other = 'image' if transport == 'compressed' else 'image/compressed'
    return {
        (full_name(name.strip('` ')), row[1])
        for row in table('Topics', 5) if row[2] == direction
        for name in row[0].split(',') if name.strip('` ') != other
    }


def full_name(name):
    """Resolve a name as the node does."""
    if name.startswith('/'):
        return name
    return f'/da3{name[1:]}' if name.startswith('~') else f'/{name}'


def found(names_and_types, usual):
    """Give what the graph says, without what every node has."""
    return {(name, types[0]) for name, types in names_and_types if name not in usual}


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_topics_and_services_are_those_of_the_page(start_node, peer, transport):
    """No undocumented topic or service, none that does not exist."""
    node = start_node({'camera.transport': transport})
    node.wait_for_output('active: waiting for')
    assert eventually(peer.knows_node)

    def publications():
        return found(peer.node.get_publisher_names_and_types_by_node('da3', '/'), USUAL_TOPICS)

    def subscriptions():
        return found(
            peer.node.get_subscriber_names_and_types_by_node('da3', '/'), USUAL_TOPICS)

    assert eventually(lambda: publications() == documented_topics('out')), publications()
    wanted = documented_topics('in', transport=transport)
    assert eventually(lambda: subscriptions() == wanted), subscriptions()
    services = found(
        peer.node.get_service_names_and_types_by_node('da3', '/'),
        {f'/da3/{name}' for name in USUAL_SERVICES})
    assert services == {(full_name(row[0]), row[1]) for row in table('Services', 3)}


def test_nothing_of_a_life_is_left_after_cleanup(start_node, peer):
    """Only what an unconfigured node has remains."""
    node = start_node()
    node.wait_for_output('active: waiting for')
    assert peer.change_state(Transition.TRANSITION_DEACTIVATE)
    assert peer.change_state(Transition.TRANSITION_CLEANUP)
    names = {name for name, _ in peer.node.get_publisher_names_and_types_by_node('da3', '/')}
    assert names - USUAL_TOPICS == {'/diagnostics', '/da3/status'}
    names = {name for name, _ in peer.node.get_subscriber_names_and_types_by_node('da3', '/')}
    assert names - USUAL_TOPICS == set()


def test_every_fault_has_its_test():
    """docs/faults.md names only tests that exist."""
    faults = (PAGE_FOLDER / 'faults.md').read_text()
    named = re.findall(r'`(test_\w+\.py)::(test_\w+)`', faults)
    assert len(named) > 20
    for file, name in named:
        (path,) = Path(__file__).parents[2].rglob(file)
        text = path.read_text()
        assert f'\ndef {name}(' in text, f'{file}::{name}'
