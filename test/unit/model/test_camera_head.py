# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Cameras and their encoding."""

from da3_ros.model.camera_head import (
    build_intrinsics,
    CameraDecoder,
    CameraEncoder,
    Cameras,
    decode_cameras,
    encode_cameras,
    invert_rigid,
    quaternion_to_rotation,
    rotation_to_quaternion,
)
import pytest
from random_weights import randomize
import torch

SIZE = (42, 56)


def random_cameras(num_views, seed=0):
    random = torch.Generator().manual_seed(seed)
    rotation = quaternion_to_rotation(torch.randn(1, num_views, 4, generator=random))
    translation = torch.randn(1, num_views, 3, 1, generator=random)
    focal = 30.0 + 50.0 * torch.rand(1, num_views, 2, generator=random)
    centre = torch.tensor((SIZE[1] / 2, SIZE[0] / 2)).expand(1, num_views, 2)
    return Cameras(torch.cat((rotation, translation), dim=-1), build_intrinsics(focal, centre))


def test_decoding_undoes_encoding():
    cameras = random_cameras(200)
    decoded = decode_cameras(encode_cameras(cameras, SIZE), SIZE)
    torch.testing.assert_close(decoded.extrinsics, cameras.extrinsics, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(decoded.intrinsics, cameras.intrinsics, rtol=1e-5, atol=1e-5)


def test_encoding_of_a_known_camera():
    """A camera at (1, 2, 3), turned by 90 degrees about y, that sees 90 degrees both ways."""
    pose = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 2.0], [-1.0, 0.0, 0.0, 3.0]])
    focal = torch.tensor((SIZE[1] / 2, SIZE[0] / 2))
    cameras = Cameras(invert_rigid(pose)[None, None], build_intrinsics(focal, focal)[None, None])
    half, right_angle = 0.5**0.5, torch.pi / 2
    expected = torch.tensor((1.0, 2.0, 3.0, 0.0, half, 0.0, half, right_angle, right_angle))
    torch.testing.assert_close(encode_cameras(cameras, SIZE)[0, 0], expected)


def test_quaternions_of_any_norm_give_rotations():
    quaternion = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    rotation = quaternion_to_rotation(quaternion)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand(100, 3, 3))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(100))
    torch.testing.assert_close(quaternion_to_rotation(3.0 * quaternion), rotation)


@pytest.mark.parametrize('axis', [0, 1, 2])
@pytest.mark.parametrize('angle', [0.0, 1e-3, 3.14, torch.pi])
def test_quaternions_near_half_turns(axis, angle):
    quaternion = torch.zeros(4)
    quaternion[axis] = torch.sin(torch.tensor(angle / 2))
    quaternion[3] = torch.cos(torch.tensor(angle / 2))
    found = rotation_to_quaternion(quaternion_to_rotation(quaternion))
    assert float(found.norm()) == pytest.approx(1.0, abs=1e-5)
    assert float((found @ quaternion).abs()) == pytest.approx(1.0, abs=1e-5)
    assert float(found[3]) >= 0.0


def test_inverse_of_the_inverse():
    extrinsics = random_cameras(10).extrinsics
    torch.testing.assert_close(invert_rigid(invert_rigid(extrinsics)), extrinsics)
    point = torch.randn(3, 1)
    moved = extrinsics[..., :3] @ point + extrinsics[..., 3:]
    inverse = invert_rigid(extrinsics)
    torch.testing.assert_close(
        inverse[..., :3] @ moved + inverse[..., 3:], point.expand(1, 10, 3, 1)
    )


def test_a_dead_field_of_view_gives_finite_cameras():
    encoding = torch.tensor([[[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]]])
    cameras = decode_cameras(encoding, SIZE)
    assert bool(cameras.intrinsics.isfinite().all())
    assert bool(cameras.extrinsics.isfinite().all())


def test_encoder_mixes_views_and_decoder_does_not():
    encoder, decoder = CameraEncoder(32), CameraDecoder(64)
    randomize(encoder)
    randomize(decoder)
    encodings = torch.randn(1, 3, 9)
    changed = encodings.clone()
    changed[:, 2] += 1.0
    with torch.no_grad():
        assert not torch.allclose(encoder(encodings)[:, 0], encoder(changed)[:, 0], atol=1e-3)
        features = torch.randn(1, 3, 64)
        torch.testing.assert_close(decoder(features)[:, :1], decoder(features[:, :1]))
