# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""Names in the rendered bag. Nothing under ``/truth`` is replayed: the node cannot see it."""

IMAGE = '/camera/image'
CAMERA_INFO = '/camera/camera_info'
STATIC_TF = '/tf_static'
TRUE_DEPTH = '/truth/depth/image'
TRUE_ODOMETRY = '/truth/odometry'

CAMERA_FRAME = 'camera_optical_frame'
LINK_FRAME = 'camera_link'
TRUE_WORLD_FRAME = 'truth_world'
TRUE_CAMERA_FRAME = 'truth_camera_optical_frame'
