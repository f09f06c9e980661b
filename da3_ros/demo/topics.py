# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.


"""Names in the rendered bag. Nothing under ``/truth`` is replayed: the node cannot see it."""

IMAGE = '/camera/image'
CAMERA_INFO = '/camera/camera_info'
STATIC_TF = '/tf_static'
TRUE_DEPTH = '/truth/depth/image'
TRUE_ODOMETRY = '/truth/odometry'

REPLAYED = (STATIC_TF, CAMERA_INFO, IMAGE)

CAMERA_FRAME = 'camera_optical_frame'
LINK_FRAME = 'camera_link'
TRUE_WORLD_FRAME = 'truth_world'
TRUE_CAMERA_FRAME = 'truth_camera_optical_frame'
