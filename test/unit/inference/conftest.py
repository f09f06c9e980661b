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

"""Networks shared by the tests of a session."""

import pytest
from reduced_networks import build_reduced
import torch


@pytest.fixture(scope='module', autouse=True)
def single_thread():
    """Networks so narrow gain nothing by threads, which wait long for each other when busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='session')
def networks():
    """Give narrow networks by the names of their variants, each built once."""
    built = {}

    def get(name):
        if name not in built:
            built[name] = build_reduced(name)
        return built[name]

    return get
