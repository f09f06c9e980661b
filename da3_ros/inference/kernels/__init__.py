# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Fused kernels for a GPU; only imported where Triton is installed."""
