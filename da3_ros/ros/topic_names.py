# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Names of the topics that the node publishes, below its own name."""

TRANSPORTS = {'depth': 'compressedDepth', 'rgb': 'compressed', 'preview': 'compressed'}
"""How image_transport calls what is compressed, by the name of the output."""

_RAW = {
    'depth': 'depth/image',
    'camera_info': 'depth/camera_info',
    'rgb': 'rgb/image',
    'rgb_camera_info': 'rgb/camera_info',
    'confidence': 'depth/confidence',
    'preview': 'depth/preview',
    'points': 'points',
}
OF_CAMERAS = _RAW | {
    f'compressed_{output}': f'{_RAW[output]}/{transport}'
    for output, transport in TRANSPORTS.items()}
"""Topics that every camera has, by the name of the output."""


def camera_topic(camera: str, name: str) -> str:
    """
    Return the name of one of a camera's topics.

    :param camera: name of the camera; that of a single one may be empty.
    :param name: of the topic, as of a single camera.
    """
    return f'{camera}/{name}' if camera else name
