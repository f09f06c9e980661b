# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Recordings become worlds: a bag, a film or a folder of images in, files out; no ROS graph."""
