# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Rendered scenes with exact depth and poses, for the demo, the tests and training."""
