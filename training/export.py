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
The weights' average as the file that ships.

fp16, but for the camera encoder's matrices: fp8 (e4m3), which keeps the file under 16 MB.
"""

from pathlib import Path

from da3_ros.model.network import DepthAnything3
from safetensors.torch import save_file
import torch

_COARSE = 'cam_enc.trunk.'


def export_weights(network: DepthAnything3, path: Path) -> None:
    """
    Write a network's weights.

    :param network: as it should ship.
    :param path: of the file; its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, tensor in network.state_dict().items():
        coarse = name.startswith(_COARSE) and tensor.ndim == 2
        dtype = torch.float8_e4m3fn if coarse else torch.float16
        tensors[name] = tensor.detach().to(dtype).contiguous().cpu()
    save_file(tensors, path)
