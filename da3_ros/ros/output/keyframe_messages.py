# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The messages of a keyframe, by the names of their outputs."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.ros import conversions
from da3_ros.ros.message_types import Header, Odometry, PointCloud2
from da3_ros.ros.output.compressed_images import to_depth_message, to_jpeg_message
from da3_ros.ros.output.depth_mask import mask_depth
from da3_ros.ros.output.depth_preview import DepthPreview
from da3_ros.ros.output.image_size import at_image_size
from da3_ros.ros.output.placement import PlacedKeyframe
from da3_ros.ros.output.point_cloud import to_point_cloud
from da3_ros.ros.parameters.settings import NodeSettings
import numpy as np
from numpy.typing import NDArray

# Nothing is known about the velocity.
UNKNOWN_VARIANCE = 1e6

Makers = dict[str, Callable[[], Any]]
"""What makes a message, by the name of its output."""


def as_published(keyframe: PosedKeyframe, settings: NodeSettings) -> PosedKeyframe:
    """
    Return the keyframe with its depth as published.

    :param keyframe: as it came out.
    :param settings: of the depth.
    """
    depth = mask_depth(keyframe.depth, keyframe.confidence, settings.depth)
    return replace(keyframe, depth=depth)


def messages_of(
    keyframe: PosedKeyframe, published: PosedKeyframe, placed: PlacedKeyframe | None,
    settings: NodeSettings, preview: DepthPreview,
) -> Makers:
    """
    Say what goes out for a keyframe; what nobody wants is not made.

    :param keyframe: as it came out.
    :param published: the same with its depth as published.
    :param placed: its poses, or None where there are none.
    :param settings: that it is made with.
    :param preview: of its camera.
    :returns: what makes the messages; those of cameras have names as in ``topic_names``.
    """
    header = conversions.to_header(keyframe.stamp_ns, keyframe.frame_id)
    # At the size at which images are published.
    shown = cache(lambda: published if settings.depth.size == 'network' else as_published(
        at_image_size(keyframe, settings.preprocess), settings))
    makers = _images_of(shown, settings, preview, header)
    if keyframe.confidence is not None:
        makers['confidence'] = lambda: conversions.to_float_message(shown().confidence, header)
    if placed is not None or settings.points.frame == 'camera':
        makers['points'] = lambda: _to_points(published, placed, settings)
    if placed is not None and placed.leads:
        makers['odometry'] = lambda: _to_odometry(keyframe, placed)
    return makers


def _images_of(
    shown: Callable[[], PosedKeyframe], settings: NodeSettings, preview: DepthPreview,
    header: Header,
) -> Makers:
    drawn: Callable[[], NDArray[np.uint8]] = cache(lambda: preview.draw(shown().depth))

    def camera_info() -> Any:
        height, width = shown().depth.shape
        return conversions.to_camera_info(
            shown().intrinsics, width=width, height=height, header=header)

    return {
        'camera_info': camera_info,
        'rgb_camera_info': camera_info,
        'depth': lambda: conversions.to_float_message(shown().depth, header),
        'compressed_depth': lambda: to_depth_message(
            shown().depth, settings.compressed, header),
        'rgb': lambda: conversions.to_rgb_message(shown().image, header),
        'compressed_rgb': lambda: to_jpeg_message(shown().image, settings.compressed, header),
        'preview': lambda: conversions.to_rgb_message(drawn(), header),
        'compressed_preview': lambda: to_jpeg_message(drawn(), settings.compressed, header),
    }


def _to_odometry(keyframe: PosedKeyframe, placed: PlacedKeyframe) -> Odometry:
    return conversions.to_odometry(
        placed.world_T_body,
        pose_covariance=_pose_covariance(keyframe, placed),
        twist_covariance=UNKNOWN_VARIANCE * np.eye(6),
        header=conversions.to_header(keyframe.stamp_ns, placed.world_frame),
        child=placed.body_frame,
    )


def _pose_covariance(
    keyframe: PosedKeyframe, placed: PlacedKeyframe
) -> NDArray[np.float64]:
    """Turn the covariance of a keyframe's pose into the axes that the pose is published in."""
    if keyframe.covariance is None:
        return UNKNOWN_VARIANCE * np.eye(6)
    turn = np.kron(np.eye(2), placed.world_T_camera[:3, :3] @ keyframe.odom_T_camera[:3, :3].T)
    turned: NDArray[np.float64] = turn @ keyframe.covariance @ turn.T
    return turned


def _to_points(
    keyframe: PosedKeyframe, placed: PlacedKeyframe | None, settings: NodeSettings
) -> PointCloud2:
    frame, frame_T_camera = keyframe.frame_id, None
    if settings.points.frame == 'world' and placed is not None:
        frame, frame_T_camera = placed.world_frame, placed.world_T_camera
    header = conversions.to_header(keyframe.stamp_ns, frame)
    return to_point_cloud(
        keyframe, keyframe.depth, settings.points, header, frame_T_camera=frame_T_camera)
