# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The border to ROS: parameters, topics, messages, the worker thread."""
