# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""One session and one size of view for all cameras of a rig, whatever one of them does."""

from da3_ros.mapping.config import KeyframeConfig, PipelineConfig, RigConfig
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.ros.conversions import to_bytes, to_header
from da3_ros.ros.input.rig_intake import RigIntake
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.insight.health import Health
from da3_ros.ros.parameters.settings import CameraSettings, PreprocessSettings
import numpy as np
import pytest
from rclpy.logging import get_logger
from sensor_msgs.msg import Image

CAMERAS = ('front', 'left')
MS = 1_000_000


class Rig:
    """Two cameras and the keyframes that they give."""

    def __init__(self, **options) -> None:
        """Wait for images; none is calibrated."""
        names = CameraSettings(CAMERAS, info_wait_s=0.0, **options)
        self.total = Counters()
        self.counters = {name: Counters(self.total) for name in CAMERAS}
        self.offered = []
        self.intake = RigIntake(
            names, PreprocessSettings(size=56),
            stream=FrameStream(
                PipelineConfig(
                    keyframe=KeyframeConfig(mode='time', min_interval_s=0.0),
                    rig=RigConfig(CAMERAS)),
                max_gap_s=names.max_gap_s),
            offer=self.offered.append, counters=self.counters, health=Health(lambda: 0),
            logger=get_logger('rig'))

    def send(self, camera, stamp_ms, *, size=(64, 48), encoding='rgb8', frame_id=None):
        """Send an image."""
        frame_id = f'{camera}_optical' if frame_id is None else frame_id
        image = Image(header=to_header(stamp_ms * MS, frame_id), encoding=encoding)
        image.width, image.height = size
        image.step = 3 * image.width
        image.data = to_bytes(np.zeros((image.height, image.width, 3), np.uint8))
        self.intake.cameras[camera].on_image(image)

    def send_both(self, *stamps_ms, **fields):
        """Send images of both cameras."""
        for stamp_ms in stamps_ms:
            for camera in CAMERAS:
                self.send(camera, stamp_ms, **fields)

    @property
    def sizes(self):
        """Return how many cameras each instant has."""
        return [len(instant.keyframes) for instant in self.offered]

    @property
    def reasons(self):
        """Return why sessions began."""
        return [instant.new_session for instant in self.offered
                if instant.new_session is not None]


def test_the_second_camera_joins_the_session_of_the_first():
    """It is one session, announced with its first instant."""
    rig = Rig()
    rig.send_both(0, 100, 200)
    assert rig.sizes == [2, 2, 2]
    assert rig.reasons == ['camera front: the first image']
    assert rig.total[Event.SESSIONS] == 1
    assert (rig.counters['left'][Event.RECEIVED], rig.total[Event.RECEIVED]) == (3, 6)


def test_a_camera_that_was_away_comes_back_into_the_session():
    """Only a gap of all cameras ends it."""
    rig = Rig(max_gap_s=1.0)
    rig.send_both(0, 100)
    for stamp_ms in range(200, 4000, 100):
        rig.send('front', stamp_ms)
    rig.send_both(4000, 4100)
    assert rig.total[Event.SESSIONS] == 1
    # Until it was back, nobody waited for it.
    assert rig.sizes == [2, 2] + [1] * 38 + [1, 1, 2]
    assert rig.counters['left'][Event.ABSENT] == 39
    rig.send_both(6000, 6100)
    assert rig.reasons[1:] == ['camera front: no image for 1.9 s']


def test_a_bag_that_loops_begins_one_session_for_all():
    """Although every camera sees the time go back."""
    rig = Rig()
    for _ in range(3):
        rig.send_both(5000, 5100, 5200)
    assert rig.total[Event.SESSIONS] == 3
    assert rig.sizes == [2] * 9


@pytest.mark.parametrize('change', [{'encoding': 'bgr8'}, {'frame_id': 'other'}])
def test_a_camera_that_changes_begins_a_session(change):
    """The reason names the camera; what waited is offered before."""
    rig = Rig()
    rig.send_both(0, 100)
    rig.send('front', 200)
    rig.send('left', 200, **change)
    for stamp_ms in (300, 400):
        rig.send('front', stamp_ms)
        rig.send('left', stamp_ms, **change)
    rig.intake.release()
    assert len(rig.reasons) == 2
    assert rig.reasons[1].startswith('camera left: ')
    assert rig.sizes == [2, 2, 1, 1, 1, 1, 2]
    assert rig.total[Event.KEYFRAMES] == 10


def test_a_camera_whose_views_have_another_size_is_refused():
    """The network sees one size; 128x96 is the same to it as 64x48, and 64x64 is not."""
    rig = Rig()
    rig.send('front', 0)
    rig.send('left', 0, size=(128, 96))
    rig.send('front', 100)
    rig.send('left', 100, size=(64, 64))
    rig.intake.release()
    assert rig.counters['left'][Event.BAD_IMAGE] == 1
    assert rig.sizes == [2, 1]


def test_two_cameras_with_one_frame_are_not_told_apart():
    """Both would move one frame on TF: the second is refused. Without names they get two."""
    rig = Rig()
    rig.send_both(0, frame_id='camera')
    rig.intake.release()
    assert rig.counters['left'][Event.BAD_IMAGE] == 1
    assert rig.sizes == [1]
    nameless = Rig()
    nameless.send_both(0, frame_id='')
    (instant,) = nameless.offered
    assert [keyframe.frame.frame_id for keyframe in instant.keyframes] == [
        'front_camera_optical_frame', 'left_camera_optical_frame']


def test_every_kind_of_refused_image_is_told_of_every_camera_and_none_without_end(capfd):
    """Another camera on the topic, of another name or another encoding, and wrong stamps."""
    rig = Rig()
    for stamp_ms in range(1000, 4000, 100):
        rig.send_both(stamp_ms)
        rig.send('left', stamp_ms + 10, frame_id=f'other_{stamp_ms}')
        rig.send('left', stamp_ms + 20, encoding='bgr8')
        rig.send('left', stamp_ms + 900_000)
        rig.send('front', stamp_ms + 10, encoding='bgr8')
    output = capfd.readouterr().err
    assert [output.count(text) for text in (
        'frame_id changed', 'encoding changed', 'of another time')] == [2, 4, 2]


def test_all_cameras_may_change_their_size_one_after_the_other():
    """After a while, a size that nobody sends any more does not count."""
    rig = Rig(max_gap_s=1.0)
    rig.send_both(0, 100)
    for stamp_ms in range(200, 3000, 100):
        rig.send_both(stamp_ms, size=(64, 64))
    assert rig.sizes[-10:] == [2] * 10
    assert rig.total[Event.BAD_IMAGE] < 30


def test_what_waits_comes_out_when_the_images_stop():
    """Unless one has come since the last look."""
    rig = Rig()
    rig.send('front', 0)
    rig.intake.release_if_idle()
    assert rig.offered == []
    rig.intake.release_if_idle()
    assert rig.sizes == [1]


def test_an_image_that_nothing_confirms_is_counted_when_the_images_stop():
    """It is nowhere else to be found."""
    rig = Rig()
    rig.send_both(1000, 1100)
    rig.send('front', 900_000)
    for _ in range(3):
        rig.intake.release_if_idle()
    assert rig.counters['front'][Event.WRONG_STAMP] == 1
    assert rig.sizes == [2, 2]


def test_a_pause_is_of_all_cameras():
    """Counted for each."""
    rig = Rig()
    rig.intake.set_paused(True)
    rig.send_both(0)
    assert [rig.counters[camera][Event.PAUSED] for camera in CAMERAS] == [1, 1]
