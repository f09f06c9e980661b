# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Stand-in for cv_bridge, for environments without it: the calls that da3_ros makes."""

from cv_bridge.bridge import CvBridge, CvBridgeError

__all__ = ['CvBridge', 'CvBridgeError']
