# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A recording for the viewer of rerun.io: images, depth and cameras in time, path and points."""

from typing import Any, BinaryIO

from da3_ros.export.optional import library_of
from da3_ros.mapping.points import WeightedPoints
from da3_ros.mapping.session_record import RecordedKeyframe, Session
import numpy as np

_TIMELINE = 'stamp'
# The library gives a recording in one piece: as many keyframes as memory has room for anywhere.
_MAX_KEYFRAMES = 500
# Below zero: points of the screen, however far away.
_RADIUS = -1.5


def write_recording(
    file: BinaryIO, session: Session, points: WeightedPoints, *, name: str
) -> None:
    """
    Write a recording; keyframes at the stamps of their images, all else for all times.

    :param file: to write to.
    :param session: with keyframes.
    :param points: fused, in its frame.
    :param name: of the session.
    :raises SaveError: if rerun is not installed.
    """
    rerun = library_of('rerun')
    recording = rerun.RecordingStream('da3_ros', recording_id=name)
    stream = recording.binary_stream()
    _log_world(rerun, recording, session, points)
    num = len(session.keyframes)
    for index in np.unique(np.linspace(0, num - 1, _MAX_KEYFRAMES).round().astype(int)):
        _log_keyframe(rerun, recording, session, session.keyframes[index])
    # Once, at the end: each time that it is read it begins a recording of its own.
    file.write(stream.read() or b'')


def _log_world(rerun: Any, recording: Any, session: Session, points: WeightedPoints) -> None:
    world = session.frame
    recording.log(world, rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    recording.log(f'{world}/points', rerun.Points3D(
        points.positions, colors=np.rint(points.colours).astype(np.uint8), radii=_RADIUS),
        static=True)
    path = [session.frame_S_camera(pose.id).translation for pose in session.poses]
    recording.log(f'{world}/path', rerun.LineStrips3D([np.array(path)]), static=True)


def _log_keyframe(
    rerun: Any, recording: Any, session: Session, keyframe: RecordedKeyframe
) -> None:
    frame_S_camera = session.frame_S_camera(keyframe.id)
    pose = frame_S_camera.rigid_part()
    height, width = keyframe.depth.shape
    entity = f'{session.frame}/{keyframe.frame_id}'
    recording.set_time(_TIMELINE, timestamp=np.datetime64(keyframe.stamp_ns, 'ns'))
    recording.log(entity, rerun.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
    recording.log(f'{entity}/image', rerun.Pinhole(
        image_from_camera=keyframe.intrinsics, resolution=(width, height),
        camera_xyz=rerun.ViewCoordinates.RDF))
    recording.log(f'{entity}/image/rgb', rerun.EncodedImage(
        contents=keyframe.jpeg, media_type='image/jpeg'))
    # Sky and unknown alike are no depth there.
    depth = np.where(np.isfinite(keyframe.depth), keyframe.depth, np.float16(0.0))
    recording.log(f'{entity}/image/depth', rerun.DepthImage(
        depth, meter=1.0 / frame_S_camera.scale))
