# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A stream of frames becomes one world: keyframes, windows, alignment, scale."""
