# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

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
