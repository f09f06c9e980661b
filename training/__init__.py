# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Training of da3-tiny on rendered scenes: not part of the installed package."""
