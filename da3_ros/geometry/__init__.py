# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Stateless geometry in numpy: rigid motions, similarities, pinhole cameras."""
