# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How long the recording of these tests is, and the parameters that make it quick."""

NUM_FRAMES = 10
PARAMETERS = (
    'model.name:=da3-tiny', 'model.device:=cpu', 'preprocess.size:=56', 'window.size:=4',
    'window.stride:=2', 'keyframe.mode:=time', 'keyframe.min_interval_s:=0.0',
)
