# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The arrays that most functions take and give."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
