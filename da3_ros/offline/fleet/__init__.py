# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Many recordings on many machines: Ray places, starts and restarts what works on them."""
