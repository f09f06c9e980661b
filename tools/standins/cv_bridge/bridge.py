# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""CvBridge: between sensor_msgs images and numpy arrays."""

import sys

import cv2
from cv_bridge.image_encodings import convert, CvBridgeError, Encoding, parse_encoding
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

__all__ = ['CvBridge', 'CvBridgeError']


class CvBridge:
    """Convert images; stateless."""

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = 'passthrough') -> np.ndarray:
        """
        Convert a message to an array.

        Like the original it drops the padding of a row only where that is a whole number of
        pixels, and with ``passthrough`` the array may share the message's memory.

        :returns: (H, W) or (H, W, C) in the machine's byte order.
        :raises CvBridgeError: if the encoding is unknown or cannot be converted.
        :raises TypeError: if the data are shorter than the size asks for.
        """
        encoding = parse_encoding(img_msg.encoding)
        dtype = encoding.dtype.newbyteorder('>' if img_msg.is_bigendian else '<')
        columns = int(img_msg.step / dtype.itemsize / encoding.num_channels)
        shape = (img_msg.height, columns)
        if encoding.num_channels > 1:
            shape += (encoding.num_channels,)
        image = np.ndarray(shape, dtype, buffer=img_msg.data)[:, :img_msg.width]
        image = np.ascontiguousarray(image).astype(encoding.dtype, copy=False)
        if desired_encoding == 'passthrough':
            return image
        return convert(image, encoding, parse_encoding(desired_encoding))

    def cv2_to_imgmsg(
        self, cvim: np.ndarray, encoding: str = 'passthrough', header: Header | None = None,
    ) -> Image:
        """
        Convert an array to a message, without a change of colour.

        :param cvim: (H, W) or (H, W, C).
        :raises CvBridgeError: if the array's type is not the encoding's.
        """
        _require_array(cvim)
        channels = cvim.shape[2] if cvim.ndim > 2 else 1
        actual = Encoding('', cvim.dtype.newbyteorder('='), channels).opencv_type
        if encoding == 'passthrough':
            encoding = actual
        elif parse_encoding(encoding).opencv_type != actual:
            raise CvBridgeError(f'encoding specified as {encoding}, but image has incompatible '
                                f'type {actual}')
        message = Image(encoding=encoding, height=cvim.shape[0], width=cvim.shape[1])
        if header is not None:
            message.header = header
        big = '>' if sys.byteorder == 'little' else '='
        message.is_bigendian = int(cvim.dtype.byteorder == big)
        message.data.frombytes(cvim.tobytes())
        message.step = len(message.data) // message.height
        return message

    def compressed_imgmsg_to_cv2(
        self, cmprs_img_msg: CompressedImage, desired_encoding: str = 'passthrough',
    ) -> np.ndarray:
        """
        Decode a compressed message; OpenCV decodes colours as bgr8.

        :raises CvBridgeError: if bgr8 cannot be converted to the desired encoding.
        """
        buffer = np.frombuffer(cmprs_img_msg.data, np.uint8)
        image = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
        if desired_encoding == 'passthrough':
            return image
        return convert(image, parse_encoding('bgr8'), parse_encoding(desired_encoding))

    def cv2_to_compressed_imgmsg(
        self, cvim: np.ndarray, dst_format: str = 'jpg',
    ) -> CompressedImage:
        """
        Compress an array of OpenCV's channel order.

        :param dst_format: a file extension that OpenCV writes, without the dot.
        """
        _require_array(cvim)
        message = CompressedImage(format=dst_format)
        message.data.frombytes(cv2.imencode('.' + dst_format, cvim)[1].tobytes())
        return message


def _require_array(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray):
        raise TypeError('Your input type is not a numpy array')
