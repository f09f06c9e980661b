# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the node tells of itself: counts, times, diagnostics."""
