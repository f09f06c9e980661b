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

"""Known cameras, as the camera encoder was trained to get them."""

from da3_ros.model.camera_head import invert_rigid
import torch
from torch import Tensor

_MIN_DISTANCE = 0.1


def normalize_extrinsics(extrinsics: Tensor) -> Tensor:
    """
    Put the first camera into the origin, and the median camera one unit away.

    :param extrinsics: (B, N, 3, 4) or (B, N, 4, 4) camera_T_world, in any world and unit.
    :returns: (B, N, 4, 4) camera_T_first.
    """
    bottom = extrinsics.new_tensor((0.0, 0.0, 0.0, 1.0)).expand(*extrinsics.shape[:2], 1, 4)
    camera_T_world = torch.cat((extrinsics[..., :3, :], bottom), dim=-2)
    world_T_first = torch.cat((invert_rigid(camera_T_world[:, :1]), bottom[:, :1]), dim=-2)
    camera_T_first = camera_T_world @ world_T_first
    distances = invert_rigid(camera_T_first)[..., 3].norm(dim=-1)
    unit = distances.median(dim=1).values.clamp(min=_MIN_DISTANCE)
    translations = camera_T_first[..., :3, 3:] / unit[:, None, None, None]
    top = torch.cat((camera_T_first[..., :3, :3], translations), dim=-1)
    return torch.cat((top, bottom), dim=-2)
