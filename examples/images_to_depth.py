# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Joint depth of some images, without ROS: images_to_depth.py MODEL OUT.npz IMAGE..."""

import sys

import cv2
import da3_ros
import numpy as np

model, out, *paths = sys.argv[1:]
engine = da3_ros.load(model)
prediction = engine.infer([cv2.imread(path)[..., ::-1] for path in paths])
np.savez(out, depth=prediction.depth, world_T_camera=prediction.poses, K=prediction.intrinsics)
