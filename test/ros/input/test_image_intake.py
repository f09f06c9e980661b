# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Whatever the camera sends, the intake keeps what is good and counts what is not."""

from types import SimpleNamespace

from da3_ros.mapping.config import KeyframeConfig, PipelineConfig
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.ros.conversions import to_bytes, to_header
from da3_ros.ros.input import calibrations
from da3_ros.ros.input.camera_model import read_camera_model
from da3_ros.ros.input.rig_intake import RigIntake
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.insight.health import Health
from da3_ros.ros.parameters.settings import CameraSettings, PreprocessSettings
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from rclpy.logging import get_logger
from sensor_msgs.msg import CameraInfo, Image
from strange_messages import IMAGES, INFOS

WIDTH, HEIGHT = 64, 48
MS = 1_000_000
K = [60.0, 0.0, 31.5, 0.0, 60.0, 23.5, 0.0, 0.0, 1.0]
DROPS = (
    Event.BAD_IMAGE, Event.DUPLICATE, Event.LATE, Event.WRONG_STAMP, Event.FOREIGN,
    Event.NO_CAMERA_INFO, Event.PAUSED)


class Camera:
    """An intake with a real selector that keeps every frame."""

    def __init__(self, *, process_size=56, keeps_size=False, **options) -> None:
        """Create it."""
        self.offered = []
        self.counters = Counters()
        self._stream = FrameStream(PipelineConfig(
            keyframe=KeyframeConfig(mode='time', min_interval_s=0.0)))
        rig = RigIntake(
            CameraSettings(**options), PreprocessSettings(size=process_size), stream=self._stream,
            offer=self.offered.append, counters={'': self.counters},
            health=Health(lambda: 0), logger=get_logger('intake'),
            keeps_size=keeps_size)
        self.intake = rig.cameras['']
        self.close = rig.close

    @property
    def frames(self):
        """Return what came through."""
        return [instant.keyframes[0].frame for instant in self.offered]

    def send(self, stamp_ns, *, frame_id='camera', encoding='rgb8', width=WIDTH):
        """Send a sound image."""
        image = Image(header=to_header(stamp_ns, frame_id), encoding=encoding)
        image.width, image.height, image.step = width, HEIGHT, 3 * width
        image.data = to_bytes(np.zeros((HEIGHT, width, 3), np.uint8))
        self.intake.on_image(image)

    def send_info(self, **fields):
        """Send a sound calibration."""
        self.intake.on_camera_info(CameraInfo(
            **{'width': WIDTH, 'height': HEIGHT, 'k': K} | fields))


def test_every_kind_of_fault_is_told_and_none_without_end(monkeypatch):
    told = []
    camera = Camera(info_wait_s=0.0)
    monkeypatch.setattr(camera.intake, '_logger', SimpleNamespace(
        error=told.append, warning=lambda *_, **__: None))
    for number in range(30):
        camera.send(number + 1, encoding=f'rgb{number}x')
        camera.intake.on_image(Image(encoding='rgb8', width=8, height=8, step=24))
    assert camera.counters[Event.BAD_IMAGE] == 60
    assert len(told) == 4 and all(line.startswith('image dropped: ') for line in told)
    assert sum('encoding' in line for line in told) == 2


def test_every_kind_of_unusable_camera_info_is_told_and_none_without_end(monkeypatch):
    """Two publishers on the topic, say, each wrong in a way of its own."""
    told = []
    camera = Camera(info_wait_s=0.0)
    monkeypatch.setattr(
        camera.intake._calibrations, '_logger', SimpleNamespace(warning=told.append))
    for number in range(30):
        for wrong in (
            {'k': [0.0] * 9}, {'width': WIDTH + 1 + number},
            {'distortion_model': f"it's \"{number}\"", 'd': [1.0]},
            {'distortion_model': 'plumb_bob', 'd': [1e-5 + 1e-7 * number] * (16 + number)},
        ):
            camera.send_info(**wrong)
            camera.send(camera.counters[Event.RECEIVED] * 33 * MS)
    assert camera.counters[Event.BAD_CAMERA_INFO] == 120
    assert [sum(text in line for line in told) for text in (
        'of zeros', 'pixels', 'distortion model', 'got D')] == [2, 2, 2, 2]


def test_images_wait_for_the_first_camera_info():
    """The last one before it is not lost."""
    camera = Camera(info_wait_s=60.0)
    camera.send(0)
    camera.send(33 * MS)
    assert camera.offered == []
    camera.send_info()
    camera.send(66 * MS)
    assert [frame.stamp_ns for frame in camera.frames] == [33 * MS, 66 * MS]
    assert camera.counters[Event.NO_CAMERA_INFO] == 1
    assert all(frame.intrinsics is not None for frame in camera.frames)


def test_without_camera_info_the_wait_ends():
    """The network then estimates the intrinsics."""
    camera = Camera(info_wait_s=0.0)
    camera.send(0)
    assert camera.frames[0].intrinsics is None


def test_a_session_is_announced_with_its_first_keyframe():
    """Once, with the reason."""
    camera = Camera()
    camera.send_info()
    for stamp_ns, frame_id in ((0, 'a'), (33 * MS, 'a'), (66 * MS, 'b'), (99 * MS, 'b')):
        camera.send(stamp_ns, frame_id=frame_id)
    assert [instant.new_session for instant in camera.offered] == [
        'the first image', None, "frame_id changed from 'a' to 'b'", None]
    assert camera.counters[Event.SESSIONS] == 2


def test_bad_calibration_is_counted_and_the_image_kept():
    """It goes on without intrinsics."""
    camera = Camera()
    camera.send_info(distortion_model='mystery', d=[1.0])
    camera.send(0)
    assert camera.frames[0].intrinsics is None
    assert camera.counters[Event.BAD_CAMERA_INFO] == 1


def test_new_calibration_is_used_from_the_next_image():
    """A zoom changes the intrinsics and not the session."""
    camera = Camera()
    camera.send_info()
    camera.send(0)
    zoomed = CameraInfo(width=WIDTH, height=HEIGHT, k=[90.0, *K[1:4], 90.0, *K[5:]])
    camera.intake.on_camera_info(zoomed)
    camera.send(33 * MS)
    assert [frame.intrinsics[0, 0] for frame in camera.frames] == [60.0, 90.0]
    assert camera.counters[Event.SESSIONS] == 1


def test_calibrations_that_alternate_are_computed_once(monkeypatch):
    """Two cameras on one CameraInfo topic do not cost new maps with every image."""
    made = []
    monkeypatch.setattr(calibrations, 'read_camera_model', lambda *arguments, **keywords: (
        made.append(read_camera_model(*arguments, **keywords)) or made[-1]))
    camera = Camera()
    for index in range(20):
        camera.send_info(distortion_model='plumb_bob', d=[-0.1 - 0.05 * (index % 2)] + [0.0] * 4)
        camera.send(index * 33 * MS)
    assert len(made) == 2
    assert len({frame.intrinsics[0, 0] for frame in camera.frames}) == 2
    # A camera that zooms all the time does not fill the memory with them.
    for index in (*range(20, 30), 0):
        camera.send_info(distortion_model='plumb_bob', d=[-0.1 - 0.001 * index] + [0.0] * 4)
        camera.send((100 + len(camera.frames)) * 33 * MS)
    assert len(made) == 2 + 11


@pytest.mark.parametrize(('sent', 'taken'), [
    ('', 'camera_optical_frame'), ('/front/optical', 'front/optical'), ('//x', 'x'),
    ('/', 'camera_optical_frame'),
])
def test_frame_ids_that_tf_does_not_take_are_mended(sent, taken):
    """Empty ones, and those with the slash of ROS 1."""
    camera = Camera()
    camera.send_info()
    camera.send(0, frame_id=sent)
    assert camera.frames[0].frame_id == taken


def test_unusable_camera_infos_take_nothing_away():
    """Zeros and good ones in turn, as some drivers send them: one session, all rectified."""
    camera = Camera()
    for index in range(16):
        camera.send_info(**({'k': [0.0] * 9} if index % 2 else {}))
        camera.send(index * 33 * MS)
    assert len(camera.frames) == 16
    assert all(frame.intrinsics is not None for frame in camera.frames)
    assert camera.counters[Event.SESSIONS] == 1
    assert camera.counters[Event.BAD_CAMERA_INFO] == 8


def test_a_usable_camera_info_does_not_hold_for_images_of_another_size():
    """Then the network estimates the intrinsics."""
    camera = Camera()
    camera.send_info()
    camera.send(0)
    camera.send_info(k=[0.0] * 9)
    camera.send(33 * MS, width=32)
    camera.send(66 * MS, width=32)
    assert [frame.intrinsics is None for frame in camera.frames] == [False, True, True]


def test_an_image_of_12_bits_is_as_bright_as_one_of_8():
    """As the parameter and the images say."""
    for options in ({}, {'bits': 12}):
        camera = Camera(info_wait_s=0.0, **options)
        image = Image(header=to_header(0, 'camera'), encoding='mono16')
        image.width, image.height, image.step = WIDTH, HEIGHT, 2 * WIDTH
        values = np.linspace(0, 4095, WIDTH * HEIGHT).astype(np.uint16)
        image.data = to_bytes(values)
        camera.intake.on_image(image)
        assert camera.frames[0].image.mean() == pytest.approx(127.5, abs=1.0)


def test_rectified_images_are_no_larger_than_is_looked_at():
    """Unless somebody wants them as large as the camera's."""
    for keeps_size, shape in ((False, (28, 28, 3)), (True, (HEIGHT, WIDTH, 3))):
        camera = Camera(process_size=14, keeps_size=keeps_size)
        camera.send_info(distortion_model='plumb_bob', d=[-0.1, 0.0, 0.0, 0.0])
        camera.send(0)
        assert camera.frames[0].image.shape == shape


def test_more_pixels_than_allowed_are_a_counted_drop():
    """The parameter decides how many these are."""
    camera = Camera(info_wait_s=0.0, max_pixels=WIDTH * HEIGHT - 1)
    camera.send(0)
    assert camera.frames == []
    assert camera.counters[Event.BAD_IMAGE] == 1


def test_paused_images_are_ignored_and_counted():
    """Until they are not paused any more."""
    camera = Camera()
    camera.send_info()
    camera.intake.is_paused = True
    camera.send(0)
    camera.intake.is_paused = False
    camera.send(33 * MS)
    assert len(camera.offered) == 1
    assert camera.counters[Event.PAUSED] == 1


@given(messages=st.lists(IMAGES | INFOS, max_size=12))
@pytest.mark.parametrize('rectify', [True, False])
def test_any_stream_is_survived_and_accounted_for(rectify, messages):
    """Nothing is raised; every image becomes a frame or a counted drop, or still waits."""
    camera = Camera(info_wait_s=60.0, rectify=rectify)
    for message in messages:
        if isinstance(message, Image):
            camera.intake.on_image(message)
        else:
            camera.intake.on_camera_info(message)
    camera.close()
    num_dropped = sum(camera.counters[event] for event in DROPS)
    num_images = sum(isinstance(message, Image) for message in messages)
    assert num_images - 1 <= num_dropped + len(camera.frames) <= num_images
    for frame in camera.frames:
        assert frame.intrinsics is None or np.isfinite(frame.intrinsics).all()
