# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""From messages to frames: decoding, calibration, sessions."""
