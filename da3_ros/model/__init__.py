# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The Depth Anything 3 network in torch, equal to upstream's to rounding."""

from da3_ros.model.build import build_network, Network
from da3_ros.model.config import ModelConfig, MODELS
from da3_ros.model.nested import NestedDepthAnything3
from da3_ros.model.network import DepthAnything3, NetworkOutput, RawOutput
from da3_ros.model.weights import load_weights, LoadedWeights

__all__ = [
    'MODELS',
    'DepthAnything3',
    'LoadedWeights',
    'ModelConfig',
    'NestedDepthAnything3',
    'Network',
    'NetworkOutput',
    'RawOutput',
    'build_network',
    'load_weights',
]
