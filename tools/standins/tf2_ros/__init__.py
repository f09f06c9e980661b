# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Stand-in for tf2_ros, for environments without it: the calls that da3_ros makes."""

from tf2_ros.broadcasters import StaticTransformBroadcaster, TransformBroadcaster
from tf2_ros.buffer import Buffer
from tf2_ros.exceptions import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformException,
)
from tf2_ros.transform_listener import TransformListener

__all__ = [
    'Buffer', 'ConnectivityException', 'ExtrapolationException', 'InvalidArgumentException',
    'LookupException', 'StaticTransformBroadcaster', 'TransformBroadcaster',
    'TransformException', 'TransformListener',
]
