# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Why a transform cannot be had."""


class TransformException(Exception):
    """Base of the others."""


class LookupException(TransformException):
    """A frame does not exist."""


class ConnectivityException(TransformException):
    """Both frames exist, in different trees."""


class ExtrapolationException(TransformException):
    """The buffer holds no data around the asked time."""


class InvalidArgumentException(TransformException):
    """An empty frame name, or one with a leading slash."""
