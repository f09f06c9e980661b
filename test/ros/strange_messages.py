# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Strategies for what cameras send: sound messages, the same with a few fields spoilt, rubbish."""

from da3_ros.ros.conversions import to_bytes, to_header
from da3_ros.ros.input.image_decoding import ENCODINGS
from hypothesis import strategies as st
import numpy as np
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest

UINT32 = st.sampled_from([0, 1, 2, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)
NASTY = st.sampled_from([
    float('nan'), float('inf'), -float('inf'), 0.0, -0.0, -1.0, 1e-308, 1e38, 1e308, -1e308,
]) | st.floats()
DISTORTIONS = {
    '': (), 'plumb_bob': (4, 5, 8), 'rational_polynomial': (5, 8, 12, 14), 'equidistant': (4,),
}


def row_bytes(encoding: str, width: int) -> int:
    """Give the bytes of a row without padding."""
    if encoding.startswith(('yu', 'uyvy')):
        return 2 * width
    name = encoding.rstrip('0123456789')
    channels = {'rgb': 3, 'bgr': 3, 'rgba': 4, 'bgra': 4}.get(name, 1)
    if encoding.startswith('8UC'):
        channels = int(encoding[3:])
    return channels * width * (2 if encoding.endswith('16') or encoding == '16UC1' else 1)


def num_rows(encoding: str, height: int) -> int:
    """Give the rows in memory."""
    if encoding == 'nv24':
        return height * 3
    return height * 3 // 2 if encoding.startswith('nv') else height


def sound_image(
    encoding: str, width: int, height: int, *, padding: int = 0, lacking: int = 0,
    is_bigendian: int = 0, time_ns: int = 0, frame_id: str = 'camera',
) -> Image:
    """Make an image of noise; ``lacking`` bytes are cut off its end."""
    step = row_bytes(encoding, width) + padding
    message = Image(
        header=to_header(time_ns, frame_id), encoding=encoding, width=width, height=height,
        step=step, is_bigendian=is_bigendian)
    size = max(step * num_rows(encoding, height) - lacking, 0)
    message.data = to_bytes(np.random.default_rng(size).integers(0, 256, size, np.uint8))
    return message


TIMES_NS = st.integers(-2**31 * 10**9, 2**31 * 10**9 - 1) | st.integers(0, 40).map(
    lambda index: 10**12 + index * 33_000_000)
SOUND_IMAGES = st.builds(
    lambda encoding, size, **options: sound_image(encoding, *size, **options),
    st.sampled_from(ENCODINGS), st.sampled_from([(64, 48), (64, 48), (64, 48), (16, 12), (2, 4)]),
    padding=st.sampled_from([0, 1, 7]), is_bigendian=st.integers(0, 255), time_ns=TIMES_NS,
    frame_id=st.sampled_from(['', 'a', '/b']))
SPOILT_IMAGE_FIELDS = st.fixed_dictionaries({}, optional={
    'width': st.integers(0, 70) | UINT32, 'height': st.integers(0, 70) | UINT32,
    'step': st.integers(0, 300) | UINT32, 'encoding': st.sampled_from(ENCODINGS) | st.text(),
    'data': st.binary(max_size=9).map(bytes), 'is_bigendian': st.integers(0, 255),
})


def spoil(message, fields: dict):
    """Overwrite fields."""
    for name, value in fields.items():
        setattr(message, name, value)
    return message


IMAGES = SOUND_IMAGES | st.builds(spoil, SOUND_IMAGES, SPOILT_IMAGE_FIELDS)


@st.composite
def sound_infos(draw):
    """Draw a calibration that a camera of 64x48 pixels may have."""
    width, height = 64, 48
    focal = draw(st.floats(1.0, 3.0)) * width
    k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    model = draw(st.sampled_from(tuple(DISTORTIONS)))
    lengths = DISTORTIONS[model]
    num_coefficients = draw(st.sampled_from(lengths)) if lengths else 0
    coefficients = st.floats(-0.05, 0.05)
    d = draw(st.lists(coefficients, min_size=num_coefficients, max_size=num_coefficients))
    return CameraInfo(
        width=width, height=height, distortion_model=model, d=d, k=k,
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0],
        binning_x=draw(st.integers(0, 1)), binning_y=draw(st.integers(0, 1)))


@st.composite
def spoilt_infos(draw):
    """Draw a calibration with one to three fields spoilt."""
    message = draw(sound_infos())
    for name in draw(st.lists(st.sampled_from(
            ['k', 'p', 'r', 'd', 'width', 'height', 'binning_x', 'binning_y', 'roi',
             'distortion_model', 'length of d']), min_size=1, max_size=3)):
        if name in ('k', 'p', 'r', 'd'):
            numbers = list(getattr(message, name)) or [0.0]
            numbers[draw(st.integers(0, len(numbers) - 1))] = draw(NASTY)
            setattr(message, name, numbers)
        elif name == 'length of d':
            message.d = draw(st.lists(st.floats(-1.0, 1.0) | NASTY, max_size=16))
        elif name == 'distortion_model':
            message.distortion_model = draw(st.sampled_from(tuple(DISTORTIONS)) | st.text())
        elif name == 'roi':
            message.roi = RegionOfInterest(
                x_offset=draw(UINT32), y_offset=draw(UINT32), width=draw(UINT32 | st.just(64)),
                height=draw(UINT32 | st.just(48)), do_rectify=draw(st.booleans()))
        else:
            setattr(message, name, draw(UINT32))
    return message


INFOS = sound_infos() | spoilt_infos()
