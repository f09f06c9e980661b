# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What recordings are read from: bags, films, folders, and what is known of their cameras."""
