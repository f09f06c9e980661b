# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Weights from a hub on the loopback, by the hub's own library and into its cache."""

import json
import logging
import os
from pathlib import Path
import socket
import subprocess
import sys
import time

from da3_ros.errors import WeightsError
from da3_ros.model import hub as hub_module
from da3_ros.model.hub import download, from_cache, from_hub
from da3_ros.model.weights_file import checksum
from hub_server import Hub, served
from huggingface_hub import utils as hub_utils
import pytest
from safetensors.torch import save_file
import torch

ROOT = Path(__file__).parents[3]
ID = 'some-body/DA3'


def sharded(folder):
    save_file({'a': torch.ones(2)}, folder / '1.safetensors')
    save_file({'b': torch.ones(2)}, folder / '2.safetensors')
    index = {'weight_map': {'a': '1.safetensors', 'b': '2.safetensors'}}
    (folder / 'model.safetensors.index.json').write_text(json.dumps(index))


@pytest.fixture
def folder(tmp_path):
    """Give the folder of the repository, with weights of 2 MB."""
    folder = tmp_path / 'repository'
    folder.mkdir()
    save_file({'a': torch.randn(500_000)}, folder / 'model.safetensors')
    (folder / 'config.json').write_text('{"model_name": "da3-small"}')
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Make the cache an empty folder."""
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def point_to(monkeypatch, endpoint):
    monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', endpoint)
    monkeypatch.setattr(
        'huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE',
        endpoint + '/{repo_id}/resolve/{revision}/{filename}')


@pytest.fixture
def hub(folder, cache, monkeypatch):  # noqa: ARG001
    with served(Hub({ID: folder})) as hub:
        point_to(monkeypatch, hub.endpoint)
        yield hub


def test_weights_and_config_come_into_the_cache_once(hub, folder, cache):
    path = from_hub(ID)
    assert path.read_bytes() == (folder / 'model.safetensors').read_bytes()
    assert path.is_relative_to(cache)
    assert path.with_name('config.json').is_file()
    hub.requests.clear()
    assert from_hub(ID) == from_hub(ID, offline=True) == from_cache(ID) == path
    assert not hub.requests


def test_a_newer_version_is_only_asked_for_when_weights_are_fetched(hub, folder):
    from_hub(ID)
    hub.requests.clear()
    assert download(ID).read_bytes() == (folder / 'model.safetensors').read_bytes()
    assert hub.requests and not [r for r in hub.requests if r.startswith('GET')]


@pytest.mark.usefixtures('hub')
def test_a_repository_without_a_config(folder):
    (folder / 'config.json').unlink()
    assert from_hub(ID).is_file()


def test_shards(hub, folder):
    (folder / 'model.safetensors').unlink()
    sharded(folder)
    path = from_hub(ID)
    assert path.name == 'model.safetensors.index.json'
    hub.requests.clear()
    assert from_hub(ID) == path and not hub.requests
    # One that is not there any more is brought again.
    path.with_name('2.safetensors').unlink()
    assert from_cache(ID) is None
    assert from_hub(ID) == path and path.with_name('2.safetensors').is_file()


@pytest.mark.usefixtures('hub')
def test_an_index_that_lists_what_is_not_there(folder):
    (folder / 'model.safetensors').unlink()
    sharded(folder)
    (folder / '2.safetensors').unlink()
    with pytest.raises(WeightsError, match=r'2\.safetensors is not on the hub'):
        from_hub(ID)


@pytest.mark.usefixtures('hub')
def test_torch_files(folder):
    (folder / 'model.safetensors').unlink()
    torch.save({'a': torch.ones(1)}, folder / 'pytorch_model.bin')
    assert from_hub(ID).name == 'pytorch_model.bin'


@pytest.mark.usefixtures('hub')
def test_a_repository_without_weights_and_one_that_is_not_there(folder):
    (folder / 'model.safetensors').unlink()
    with pytest.raises(WeightsError, match=rf'{ID}: there is no model\.safetensors or .* on the'):
        from_hub(ID)
    with pytest.raises(WeightsError, match='no-body/DA3: no such repository on the hub'):
        from_hub('no-body/DA3')


def test_a_hub_that_fails_once_is_asked_again(hub):
    hub.num_failing = 1
    assert from_hub(ID).is_file()


def test_what_was_damaged_on_its_way_is_not_kept(hub):
    hub.damage = True
    with pytest.raises(WeightsError, match=r'config\.json was damaged on its way'):
        from_hub(ID)
    hub.damage = False
    assert from_hub(ID).is_file()


@pytest.mark.usefixtures('hub')
def test_what_an_ended_process_left_is_deleted(cache):
    """A file that is still written, or that an older library goes on with, stays."""
    blobs = cache / 'models--some-body--DA3' / 'blobs'
    blobs.mkdir(parents=True)
    old, young, shared = (blobs / f'{name}.incomplete' for name in (
        'e3b0.0123abcd', 'e3b0.89abcdef', 'e3b0'))
    for path in (old, young, shared):
        path.write_bytes(bytes(1000))
    for path in (old, shared):
        os.utime(path, (0, 0))
    from_hub(ID)
    assert not old.exists() and young.exists() and shared.exists()


def test_progress_is_told_and_logged_now_and_then(
        hub, folder, cache, monkeypatch, caplog, capfd):
    # What another process downloads meanwhile is not counted.
    blobs = cache / 'models--some-body--DA3' / 'blobs'
    blobs.mkdir(parents=True)
    with (blobs / 'e3b0.0123abcd.incomplete').open('wb') as other:
        other.truncate(50_000_000)
    monkeypatch.setattr(hub_module, '_LOG_PERIOD_S', 0.5)
    monkeypatch.setattr(hub_module, '_LOOK_PERIOD_S', 0.05)
    save_file({'a': torch.randn(3_000_000)}, folder / 'model.safetensors')
    # The library writes what it has got in blocks of 10 MB.
    hub.bytes_per_s = 8e6
    told = []
    with caplog.at_level(logging.INFO, logger='da3_ros'):
        from_hub(ID, report=told.append)
    assert f'{ID}, model.safetensors: 0 of 12 MB' in told
    assert f'{ID}, model.safetensors: 10 of 12 MB' in told
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.INFO]
    assert 1 < len(lines) < len(told)
    assert all(line.startswith(f'downloading {ID}') and ' MB' in line for line in lines)
    # The library's own bars and lines would spam a ROS log.
    assert capfd.readouterr() == ('', '')


class Kept(logging.Handler):
    """Stands for the handler that the library brings, which writes to the standard error."""

    def __init__(self):
        """Keep nothing yet."""
        super().__init__()
        self.texts = []

    def emit(self, record):
        """Keep a record."""
        self.texts.append(record.getMessage())


def test_what_the_library_says_goes_to_the_log_at_debug_and_its_bars_are_off(
        hub, folder, monkeypatch, caplog):
    """A transfer that breaks off is taken up again; others' downloads are as loud as ever."""
    monkeypatch.setattr(hub_module, '_LOOK_PERIOD_S', 0.05)
    (folder / 'config.json').unlink()
    library, handler, bars = logging.getLogger('huggingface_hub'), Kept(), []
    library.addHandler(handler)
    try:
        hub.num_cut = 1
        with caplog.at_level(logging.DEBUG, logger='da3_ros'):
            from_hub(ID, report=lambda _: bars.append(hub_utils.are_progress_bars_disabled()))
        assert handler.texts == []
        library.warning('another one')
        assert handler.texts == ['another one']
    finally:
        library.removeHandler(handler)
    assert [r.levelno for r in caplog.records if 'resume' in r.getMessage()] == [logging.DEBUG]
    assert bars and all(bars)
    assert not hub_utils.are_progress_bars_disabled()


@pytest.fixture(params=['refused', 'silent', 'failing', 'no hub'])
def dead_endpoint(request, hub, monkeypatch):
    """Give what the error is to name, with an endpoint that is of no use."""
    monkeypatch.setattr(hub_module, '_TIMEOUT_S', 0.5)
    if request.param == 'failing':
        hub.status = 503
        yield '503'
    elif request.param == 'no hub':
        point_to(monkeypatch, 'http://host.invalid')
        yield r'http://host\.invalid'
    else:
        with socket.socket() as listener:
            listener.bind(('127.0.0.1', 0))
            if request.param == 'silent':
                listener.listen()
            endpoint = f'http://127.0.0.1:{listener.getsockname()[1]}'
            point_to(monkeypatch, endpoint)
            yield endpoint


@pytest.mark.usefixtures('cache')
def test_a_hub_that_cannot_be_reached_is_one_quick_error(dead_endpoint, caplog, capfd):
    start_s = time.monotonic()
    with pytest.raises(WeightsError, match=dead_endpoint) as caught:
        from_hub(ID)
    assert time.monotonic() - start_s < 10.0
    assert f'{ID}: model.safetensors cannot be had from ' in str(caught.value)
    assert 'da3-tiny' in str(caught.value) and '\n' not in str(caught.value)
    # Nothing of another library that a user would see.
    assert not [r for r in caplog.records if r.levelno > logging.INFO]
    assert capfd.readouterr() == ('', '')


def run_fetch(hub, cache, *arguments):
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, '-m', 'da3_ros.model.fetch_weights', *arguments], check=False,
        capture_output=True, text=True, timeout=120, cwd=ROOT,
        env=os.environ | {
            'HF_ENDPOINT': hub.endpoint, 'HF_HUB_CACHE': str(cache), 'PYTHONPATH': str(ROOT)})


def test_the_command_brings_weights_and_says_where_they_are(hub, folder, cache):
    hub.repositories['depth-anything/DA3-SMALL'] = folder
    done = run_fetch(hub, cache)
    assert done.returncode == 0, done.stderr
    path, digest = done.stdout.removeprefix('da3-small: ').strip().split(', sha256 ')
    assert Path(path).is_relative_to(cache)
    assert digest == checksum(Path(path)) == checksum(folder / 'model.safetensors')
    assert 'licensed Apache-2.0' in done.stderr
    failed = run_fetch(hub, cache, 'da3-base', 'da3-tiny', 'da3-small')
    assert failed.returncode == 1
    assert 'depth-anything/DA3-BASE: no such repository' in failed.stderr
    assert 'Traceback' not in failed.stderr
    assert [line.split(':')[0] for line in failed.stdout.splitlines()] == ['da3-tiny', 'da3-small']


def test_the_command_names_what_it_knows(hub, cache):
    assert 'da3-large' in run_fetch(hub, cache, '--help').stdout
    wrong = run_fetch(hub, cache, 'da3-huge')
    assert wrong.returncode == 2 and "got 'da3-huge', expected some of da3-tiny" in wrong.stderr
