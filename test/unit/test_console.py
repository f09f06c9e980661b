# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What commands without ROS show of the log, and that they leave logging as it was."""

import logging

from da3_ros.console import logged
import pytest

LOGGER = logging.getLogger('da3_ros.somewhere')
OTHER = logging.getLogger('some.library')


def test_the_package_is_told_from_a_level_on_and_libraries_from_warnings_on(capsys):
    with logged():
        LOGGER.info('weights: %d MB', 3)
        LOGGER.debug('detail')
        OTHER.info('chatter')
        OTHER.warning('careful')
    assert capsys.readouterr() == ('', 'weights: 3 MB\ncareful\n')


def test_quiet_means_warnings_only(capsys):
    with logged(level=logging.WARNING):
        LOGGER.info('chatter')
        LOGGER.warning('careful')
    assert capsys.readouterr() == ('', 'careful\n')


def test_logging_is_left_as_it_was_also_after_a_fault():
    root, package = logging.getLogger(), logging.getLogger('da3_ros')
    before = list(root.handlers), package.level
    with pytest.raises(ValueError, match='fault'), logged(logging.NullHandler()):
        raise ValueError('fault')
    assert (root.handlers, package.level) == before
