# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""config/da3.rviz shows what the node publishes, with matching types and policies."""

from pathlib import Path

from da3_ros.ros.parameters.settings import TfSettings
from nav_msgs.msg import OccupancyGrid
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage
import yaml

CONFIG = Path(__file__).resolve().parents[2] / 'config' / 'da3.rviz'
MANAGER = yaml.safe_load(CONFIG.read_text())['Visualization Manager']
DISPLAYS = {
    display['Topic']['Value']: display
    for display in MANAGER['Displays'] if 'Topic' in display}

# Where the plugin is not called as the message is.
PLUGINS = {OccupancyGrid: 'Map'}


@pytest.mark.parametrize('name', DISPLAYS)
def test_a_display_understands_its_topic(name, published):
    publisher = published[name]
    display = DISPLAYS[name]
    plugin = PLUGINS.get(publisher.msg_type, publisher.msg_type.__name__)
    assert display['Class'] == f'rviz_default_plugins/{plugin}'
    for policy in ('Reliability', 'Durability'):
        offered = getattr(publisher.qos_profile, policy.lower()).name
        assert display['Topic'][f'{policy} Policy'].upper().replace(' ', '_') == offered


def test_every_picture_and_pose_is_shown(published):
    others = {name for name, publisher in published.items()
              if publisher.msg_type in (CameraInfo, CompressedImage)}
    assert set(DISPLAYS) == set(published) - others


def test_the_world_is_the_fixed_frame():
    assert MANAGER['Global Options']['Fixed Frame'] == TfSettings().odom_frame
