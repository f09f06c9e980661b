# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Names of the topics that the node publishes, below its own name."""

OF_CAMERAS = {
    'depth': 'depth/image',
    # As image_transport names what is compressed.
    'compressed_depth': 'depth/image/compressedDepth',
    'camera_info': 'depth/camera_info',
    'rgb': 'rgb/image',
    'compressed_rgb': 'rgb/image/compressed',
    'rgb_camera_info': 'rgb/camera_info',
    'confidence': 'depth/confidence',
    'preview': 'depth/preview',
    'compressed_preview': 'depth/preview/compressed',
    'points': 'points',
}
"""Topics that every camera has, by the name of the output."""


def camera_topic(camera: str, name: str) -> str:
    """
    Return the name of one of a camera's topics.

    :param camera: name of the camera; that of a single one may be empty.
    :param name: of the topic, as of a single camera.
    """
    return f'{camera}/{name}' if camera else name
