# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""config/foxglove.json shows what the node publishes, and docs/interop/foxglove.md says so."""

import json
from pathlib import Path
import re

from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, PointCloud2

ROOT = Path(__file__).resolve().parents[2]
LAYOUT = json.loads((ROOT / 'config' / 'foxglove.json').read_text())
PANELS = LAYOUT['configById']
IMAGES = [panel['imageMode'] for name, panel in PANELS.items() if name.startswith('Image!')]
SCENE = PANELS['3D!world']['topics']
# Topics that are not the node's alone.
COMMON = {'/diagnostics', '/rosout'}


def panels_of(layout):
    """Give the names of the panels that are placed."""
    if isinstance(layout, str):
        return {layout}
    return panels_of(layout['first']) | panels_of(layout['second'])


def published_type(published, topic):
    """Give the type that the node publishes on a topic."""
    return published[topic.removeprefix('/')].msg_type


def test_every_panel_is_placed_once():
    assert panels_of(LAYOUT['layout']) == set(PANELS)


@pytest.mark.parametrize('image', IMAGES, ids=lambda image: image['imageTopic'])
def test_pictures_and_their_calibrations_are_published(published, image):
    assert published_type(published, image['imageTopic']) is CompressedImage
    assert published_type(published, image['calibrationTopic']) is CameraInfo


@pytest.mark.parametrize('topic', SCENE)
def test_the_scene_is_published(published, topic):
    assert published_type(published, topic) in (PointCloud2, PathMessage, Odometry)


def test_the_page_names_these_topics():
    page = (ROOT / 'docs/interop/foxglove.md').read_text()
    named = set(re.findall(r'`(/[a-z0-9_/]+)`', page)) - {'/da3/'}
    shown = set(SCENE) | {topic for image in IMAGES for topic in image.values()}
    assert named == shown | COMMON
