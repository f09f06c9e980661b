# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What recordings become beside the formats of ``export``: bags, summaries and pages."""
