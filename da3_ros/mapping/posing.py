# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Views of a window that was placed become what is published."""

from da3_ros.mapping.device_stage import Inferred
from da3_ros.mapping.keyframe import PosedKeyframe, StageTimes
from da3_ros.mapping.placement import Placement
from da3_ros.mapping.view import View
from da3_ros.mapping.world import FIRST_CAMERA
import numpy as np


def pose_view(view: View, placement: Placement, inferred: Inferred) -> PosedKeyframe:
    """
    Express one view in ``odom``: the same scale for its depth and its position.

    :param view: of the window.
    :param placement: where the window lies.
    :param inferred: when it was inferred.
    """
    frame = view.keyframe.frame
    pose = None if placement.window is None else view.window_T_camera
    odom_T_camera = FIRST_CAMERA if pose is None else placement.odom_S_window.transform_pose(pose)
    return PosedKeyframe(
        id=view.keyframe.id,
        stamp_ns=frame.stamp_ns,
        frame_id=frame.frame_id,
        image=view.image,
        depth=view.depth * np.float32(placement.odom_S_window.scale),
        confidence=view.confidence,
        intrinsics=view.intrinsics,
        odom_T_camera=odom_T_camera,
        segment=placement.segment,
        is_metric=placement.scale.is_metric,
        has_pose=pose is not None,
        covariance=None if pose is None else placement.drift.covariance(odom_T_camera[:3, 3]),
        camera=frame.camera,
        instant=view.keyframe.instant,
        robot_T_camera=frame.robot_T_camera,
        base_T_camera=frame.base_T_camera,
        picture=view.picture,
        times=StageTimes(
            frame.received_s, view.keyframe.selected_s, inferred.started_s,
            inferred.inferred_s),
        source=frame.image,
    )
