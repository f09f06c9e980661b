# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""Renders a film into a bag, once: the folder's name is the digest of what decides its content."""

from concurrent.futures import ProcessPoolExecutor
import functools
import hashlib
import os
from pathlib import Path
import shutil
from typing import Any

from da3_ros import simulation
from da3_ros.demo import topics
from da3_ros.demo.film import Film
from da3_ros.demo.messages import MessageCodec
from da3_ros.demo.progress import Say
from da3_ros.geometry import rigid
from da3_ros.offline.output import bag_writer
from da3_ros.offline.output.bag_writer import BagWriter, Topic
from da3_ros.simulation.sensor import capture, Shot
import numpy as np

_MAX_WORKERS = 8


def film_bag(film: Film, folder: Path, *, say: Say) -> Path:
    """
    Return the bag of a film; render it unless the folder has it.

    :param film: what to render.
    :param folder: where bags are kept.
    :param say: takes lines of progress for a person.
    """
    bag = folder / f'film-{_digest(film)[:16]}'
    if bag.exists():
        say(f'{film.num_frames} frames lie rendered in {bag}')
        return bag
    unfinished = bag.with_suffix('.unfinished')
    shutil.rmtree(unfinished, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    _render(film, unfinished, say)
    unfinished.rename(bag)
    return bag


def _digest(film: Film) -> str:
    """Digest the film and the code that renders it."""
    digest = hashlib.sha256(repr(film).encode())
    here = Path(__file__)
    sources = [here, here.with_name('messages.py'), here.with_name('topics.py')]
    sources.append(Path(bag_writer.__file__))
    sources += Path(simulation.__file__).parent.glob('*.py')
    for source in sorted(sources):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _render(film: Film, path: Path, say: Say) -> None:
    codec = MessageCodec()
    scene, trajectory = film.scene(), film.trajectory()
    take = functools.partial(
        capture, scene, film.lens, trajectory, sensor=film.sensor, seed=film.path_seed)
    num_workers = max(1, min(os.cpu_count() or 1, _MAX_WORKERS))
    say(f'rendering {film.num_frames} frames in {num_workers} processes')
    with BagWriter(path) as bag, ProcessPoolExecutor(num_workers) as pool:
        optical_T_link = rigid.from_rotation_translation(rigid.BODY_R_OPTICAL.T, np.zeros(3))
        bag.write(_TOPICS[topics.STATIC_TF], film.start_ns, codec.transform(
            optical_T_link, film.start_ns, parent=topics.CAMERA_FRAME, child=topics.LINK_FRAME))
        for index, shot in enumerate(pool.map(take, range(film.num_frames), chunksize=2)):
            stamp_ns = film.stamp_ns(index)
            for topic, message in _messages(codec, film, stamp_ns, shot).items():
                bag.write(_TOPICS[topic], stamp_ns, message)
            if (index + 1) % 25 == 0 or index + 1 == film.num_frames:
                say(f'rendered {index + 1} of {film.num_frames}')


_TOPICS = {
    topic.name: topic for topic in (
        Topic(topics.STATIC_TF, 'tf2_msgs/msg/TFMessage', is_kept=True),
        Topic(topics.CAMERA_INFO, 'sensor_msgs/msg/CameraInfo'),
        Topic(topics.IMAGE, 'sensor_msgs/msg/Image'),
        Topic(topics.TRUE_DEPTH, 'sensor_msgs/msg/Image'),
        Topic(topics.TRUE_ODOMETRY, 'nav_msgs/msg/Odometry'),
    )
}


def _messages(codec: MessageCodec, film: Film, stamp_ns: int, shot: Shot) -> dict[str, Any]:
    """Return the messages of one frame by topic, in the order in which they are sent."""
    frame = topics.CAMERA_FRAME
    return {
        topics.CAMERA_INFO: codec.camera_info(
            film.lens.intrinsics, stamp_ns, frame,
            width=film.lens.width, height=film.lens.height),
        topics.IMAGE: codec.image(shot.image, stamp_ns, frame),
        topics.TRUE_DEPTH: codec.depth(shot.depth, stamp_ns, topics.TRUE_CAMERA_FRAME),
        topics.TRUE_ODOMETRY: codec.odometry(
            shot.world_T_camera, stamp_ns,
            parent=topics.TRUE_WORLD_FRAME, child=topics.TRUE_CAMERA_FRAME),
    }
