# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""One window on several devices, each in a process of its own."""
