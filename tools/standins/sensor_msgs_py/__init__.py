# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Stand-in for sensor_msgs_py, for environments without it: the calls that da3_ros makes."""
