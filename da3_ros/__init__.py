# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Depth Anything 3 for robots: joint multi-view geometry as a ROS 2 node."""
