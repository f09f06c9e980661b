# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A session becomes files that other programs read."""
