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
