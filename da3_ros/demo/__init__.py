# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The demo: render, replay, run the node, record, report."""
