# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""One window of images in, one joint prediction out."""

from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.engine import InferenceEngine
from da3_ros.inference.prediction import WindowPrediction

__all__ = ['ExecutorOptions', 'InferenceEngine', 'WindowPrediction']
