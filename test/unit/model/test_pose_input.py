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

"""Known cameras, as the camera encoder gets them."""

from da3_ros.model.camera_head import invert_rigid, quaternion_to_rotation
from da3_ros.model.pose_input import normalize_extrinsics
import torch


def random_motions(*shape):
    rotation = quaternion_to_rotation(torch.randn(*shape, 4))
    return torch.cat((rotation, 5.0 * torch.randn(*shape, 3, 1)), dim=-1)


def centres(extrinsics):
    return invert_rigid(extrinsics)[..., 3]


def test_the_first_camera_is_the_origin_and_the_median_one_unit_away():
    normalized = normalize_extrinsics(random_motions(4, 5))
    assert normalized.shape == (4, 5, 4, 4)
    torch.testing.assert_close(normalized[:, 0], torch.eye(4).expand(4, 4, 4))
    median = centres(normalized).norm(dim=-1).median(dim=1).values
    torch.testing.assert_close(median, torch.ones(4))


def test_world_and_unit_do_not_count():
    extrinsics = random_motions(2, 4)
    world_T_other = torch.eye(4).repeat(2, 1, 1, 1)
    world_T_other[:, :, :3] = random_motions(2, 1)
    moved = extrinsics @ world_T_other
    moved[..., 3] *= 7.0
    torch.testing.assert_close(
        normalize_extrinsics(moved), normalize_extrinsics(extrinsics), rtol=1e-4, atol=1e-4
    )


def test_cameras_in_nearly_one_place_are_not_blown_up():
    extrinsics = random_motions(1, 3)
    extrinsics[:, :, :, 3] = 0.0
    extrinsics[:, 1:, 0, 3] = 0.01
    distances = centres(normalize_extrinsics(extrinsics)).norm(dim=-1)
    torch.testing.assert_close(distances, torch.tensor([[0.0, 0.1, 0.1]]))
