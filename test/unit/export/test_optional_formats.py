# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Formats that need a library which not everybody has."""

import errno
import io
import json
import os
import re
import struct
import subprocess
import sys

from da3_ros.errors import SaveError
from da3_ros.export import atomic_folder
from da3_ros.export.optional import EXTRAS
from da3_ros.export.save import save_session
from da3_ros.mapping.config import GridConfig, MapConfig
import numpy as np
import pytest
from readers import read_ply, read_tum
from walk import NUM_KEYFRAMES

CONFIG = MapConfig(voxel_m=0.05)


def save(session, folder, *formats):
    """Save, and return the folder of the session."""
    return save_session(session, folder, frozenset(formats), CONFIG, GridConfig()).path


def cloud_of(folder):
    """Return positions, colours and confidence of the PLY file."""
    vertices, _ = read_ply(folder / 'cloud.ply')
    return (np.stack([vertices[name] for name in 'xyz'], axis=1),
            np.stack([vertices[name] for name in ('red', 'green', 'blue')], axis=1),
            vertices['confidence'])


@pytest.mark.parametrize('extra', EXTRAS)
def test_a_library_that_is_missing_is_named_with_what_installs_it(
        extra, session, tmp_path, monkeypatch):
    """And nothing is written."""
    module = {'glb': 'trimesh', 'laz': 'laspy', 'rerun': 'rerun'}[extra]
    monkeypatch.setitem(sys.modules, module, None)
    words = rf"{extra} needs {module}.*pip install 'da3_ros\[{extra}\]'"
    with pytest.raises(SaveError, match=words):
        save(session, tmp_path / 'sessions', extra, 'ply')
    assert list(tmp_path.iterdir()) == []


def test_the_scene_is_the_cloud_with_y_up(session, tmp_path):
    """By the rules of glTF, read without the library that wrote it."""
    pytest.importorskip('trimesh', reason="needs pip install 'da3_ros[glb]'")
    folder = save(session, tmp_path, 'glb', 'ply')
    data = (folder / 'scene.glb').read_bytes()
    magic, version, size, length, kind = struct.unpack('<4sIII4s', data[:20])
    assert (magic, version, size, kind) == (b'glTF', 2, len(data), b'JSON')
    content = json.loads(data[20:20 + length])
    binary = data[20 + length + 8:]

    def read(index, dtype, width):
        accessor = content['accessors'][index]
        start = content['bufferViews'][accessor['bufferView']].get('byteOffset', 0)
        return np.frombuffer(binary, dtype, accessor['count'] * width, start).reshape(-1, width)

    meshes = {mesh['name']: mesh['primitives'][0] for mesh in content['meshes']}
    assert {name: mesh['mode'] for name, mesh in meshes.items()} == {
        'points': 0, 'path and cameras': 1}
    points = read(meshes['points']['attributes']['POSITION'], '<f4', 3)
    colours = read(meshes['points']['attributes']['COLOR_0'], 'u1', 4)
    positions, srgb, _ = cloud_of(folder)
    np.testing.assert_allclose(
        points, np.stack([positions[:, 0], positions[:, 2], -positions[:, 1]], axis=1), atol=1e-5)
    # Half of sRGB is a fifth of the light.
    middle = np.abs(srgb.astype(int) - 128).max(axis=1) <= 1
    assert middle.any()
    np.testing.assert_allclose(colours[middle, :3], 55, atol=2)
    lines = read(meshes['path and cameras']['attributes']['POSITION'], '<f4', 3)
    assert len(lines) == 2 * (NUM_KEYFRAMES - 1 + 8 * NUM_KEYFRAMES)
    _, poses = read_tum(save(session, tmp_path, 'tum') / 'trajectory.txt')
    for pose in poses:
        x, y, z = pose[:3, 3]
        assert np.linalg.norm(lines - (x, z, -y), axis=1).min() < 1e-5


def test_others_open_the_scene(session, tmp_path):
    trimesh = pytest.importorskip('trimesh', reason="needs pip install 'da3_ros[glb]'")
    data = (save(session, tmp_path, 'glb') / 'scene.glb').read_bytes()
    scene = trimesh.load(io.BytesIO(data), file_type='glb')
    assert set(scene.geometry) == {'points', 'path and cameras'}


def test_the_laz_cloud_is_the_ply_cloud(session, tmp_path):
    """To a tenth of a millimetre, with colours of 16 bits; the same bytes every time."""
    laspy = pytest.importorskip('laspy', reason="needs pip install 'da3_ros[laz]'")
    pytest.importorskip('lazrs')
    folder = save(session, tmp_path, 'laz', 'ply')
    cloud = laspy.read(folder / 'cloud.laz')
    positions, colours, confidence = cloud_of(folder)
    assert (str(cloud.header.version), cloud.header.point_format.id) == ('1.4', 7)
    np.testing.assert_allclose(np.array(cloud.xyz), positions, atol=6e-5)
    found = np.stack([cloud.red, cloud.green, cloud.blue], axis=1)
    np.testing.assert_allclose(found / 257.0, colours, atol=0.51)
    np.testing.assert_array_equal(cloud.confidence, confidence)
    # The day of the recording, not that of the writing.
    assert str(cloud.header.creation_date) == '2023-11-14'
    again = save(session, tmp_path, 'laz')
    assert (again / 'cloud.laz').read_bytes() == (folder / 'cloud.laz').read_bytes()


def test_rerun_reads_the_recording(session, tmp_path):
    """Its own command finds it whole, and every keyframe at its stamp."""
    pytest.importorskip('rerun', reason="needs pip install 'da3_ros[rerun]'")
    path = save(session, tmp_path, 'rerun') / 'session.rrd'

    def rerun(*words):
        return subprocess.run(
            [sys.executable, '-m', 'rerun', *words, str(path)], check=True, text=True, timeout=60,
            stdout=subprocess.PIPE, env={**os.environ, 'HOME': str(tmp_path)}).stdout

    rerun('rrd', 'verify')
    printed = rerun('rrd', 'print')
    for entity in ('/map/points', '/map/path', '/map/camera', '/map/camera/image',
                   '/map/camera/image/rgb', '/map/camera/image/depth'):
        assert entity in printed
    # Axes, points, path, what is told of the recording, and four things of each keyframe.
    rows = re.search(r'^num_rows = (\d+)', rerun('rrd', 'stats'), re.MULTILINE)
    assert int(rows[1]) == 4 + 4 * NUM_KEYFRAMES


@pytest.mark.parametrize('extra', EXTRAS)
@pytest.mark.parametrize('num_whole', [0, 1])
def test_a_disk_that_is_full_leaves_nothing(extra, num_whole, session, tmp_path, monkeypatch):
    """Whatever the library makes of it."""
    pytest.importorskip({'glb': 'trimesh', 'laz': 'lazrs', 'rerun': 'rerun'}[extra],
                        reason=f"needs pip install 'da3_ros[{extra}]'")
    left = [num_whole]
    write = atomic_folder._CheckedFile.write

    def failing(file, data):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        return write(file, data[:100])

    monkeypatch.setattr(atomic_folder._CheckedFile, 'write', failing)
    with pytest.raises(SaveError, match='No space left on device'):
        save(session, tmp_path / 'sessions', extra)
    assert list(tmp_path.iterdir()) == []
