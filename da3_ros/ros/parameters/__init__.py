# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What users set: settings, the table of parameters, snapshots of them."""
