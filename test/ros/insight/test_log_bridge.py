# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the bridge makes of the package's log ends with the last node of the process."""

import logging

from da3_ros.ros.insight.log_bridge import LogBridge
from rclpy.logging import get_logger


def test_the_log_goes_where_it_went_before_when_the_last_bridge_is_gone(caplog):
    package = logging.getLogger('da3_ros.some.module')
    bridges = [LogBridge(get_logger('first')), LogBridge(get_logger('second'))]
    for bridge in bridges:
        package.info('to ROS alone')
        bridge.detach()
    package.info('to everybody')
    assert [record.getMessage() for record in caplog.records] == ['to everybody']
