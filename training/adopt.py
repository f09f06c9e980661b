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

"""
Adopt weights that were trained without a camera encoder.

    python -m training.adopt study.pt --out adopted.safetensors

The encoder is fitted to give what the network knows instead of poses: its learnt camera tokens,
one for the reference view (the pose at the origin), one for all others. Poses then do no harm;
that they help is for the training to learn.
"""

import argparse
import logging
from pathlib import Path

from da3_ros.model import build_network
from da3_ros.model.camera_head import rotation_to_quaternion
from da3_ros.model.network import DepthAnything3
from safetensors.torch import save_file
import torch
from torch import Tensor

from training.initialise import initialise

_SEED = 1
_STEPS = 600
_WINDOWS = 64
_RATE = 1e-3

_logger = logging.getLogger('training')


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description='Adopt weights without a camera encoder.')
    parser.add_argument('source', type=Path, help='torch file of a state dict')
    parser.add_argument('--out', type=Path, required=True, help='weights to write')
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    network = build_network('da3-tiny')
    assert isinstance(network, DepthAnything3)
    initialise(network, _SEED)
    tensors = torch.load(options.source, map_location='cpu', weights_only=True)
    missing, unknown = network.load_state_dict(tensors, strict=False)
    if unknown or any(not key.startswith('cam_enc.') for key in missing):
        raise ValueError(f'source: got {len(unknown)} unknown keys, expected da3-tiny')
    _logger.info('camera encoder fitted to %.2e', fit_encoder(network))
    save_file(network.state_dict(), options.out)


def fit_encoder(network: DepthAnything3) -> float:
    """
    Fit the camera encoder to the learnt camera tokens on random poses.

    :param network: changed in place.
    :returns: the mean square error of the last step.
    """
    encoder = network.cam_enc
    assert encoder is not None
    tokens = network.backbone.pretrained.camera_token.detach()[0]
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    random = torch.Generator().manual_seed(_SEED)
    loss = torch.zeros(())
    for step in range(_STEPS):
        num_views = 2 + step % 7
        encoding = _random_encodings(num_views, random)
        target = torch.cat((tokens[:1], tokens[1:].expand(num_views - 1, -1)))
        loss = (encoder(encoding) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return float(loss.detach())


def _random_encodings(num_views: int, random: torch.Generator) -> Tensor:
    """Return encodings of windows whose first camera is the origin: (B, N, 9)."""
    shape = (_WINDOWS, num_views)
    translation = torch.randn(*shape, 3, generator=random)
    vectors = 0.5 * torch.randn(*shape, 3, generator=random)
    translation[:, 0] = vectors[:, 0] = 0.0
    x, y, z = vectors.unbind(dim=-1)
    zero = torch.zeros_like(x)
    skew = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=-1).unflatten(-1, (3, 3))
    fov = 0.6 + torch.rand(_WINDOWS, 1, 2, generator=random).expand(-1, num_views, -1)
    quaternion = rotation_to_quaternion(torch.linalg.matrix_exp(skew))
    return torch.cat((translation, quaternion, fov), dim=-1)


if __name__ == '__main__':
    main()
