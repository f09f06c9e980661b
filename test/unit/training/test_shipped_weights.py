# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The weights in the package are those of the card, and see."""

import hashlib
from pathlib import Path
import re

from confidence import compare, kept, tenths
from da3_ros.inference import InferenceEngine
from da3_ros.model import build_network, load_weights
from da3_ros.simulation.generator import generate_scene
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.sensor import capture, Sensor
from da3_ros.simulation.trajectory import Motion, plan_path
import numpy as np
import pytest
from recorded_windows import predict_windows
from streams import seven_scenes
import torch

from training.heldout import draw_held_out
from training.metrics import floor, score, Truth
from training.renderer import HostRenderer
from training.step import normalise

_FOLDER = Path(__file__).parents[3] / 'da3_ros' / 'model' / 'weights'
_WEIGHTS = _FOLDER / 'da3-tiny.safetensors'
_SEEDS = (11, 12, 13)
_NUM_VIEWS = 3
_COURT_SEED = 500_010
_MAX_BYTES = 16_000_000
_RECORDED = Path(__file__).parents[4] / 'shared' / 'data' / 'sevenscenes_100'


def test_hash_is_in_the_card() -> None:
    """The card describes this file and no other."""
    card = (_FOLDER / 'MODEL_CARD.md').read_text()
    hashes = re.findall(r'\b[0-9a-f]{64}\b', card)
    assert hashlib.sha256(_WEIGHTS.read_bytes()).hexdigest() in hashes


def test_file_is_small() -> None:
    """The package stays small."""
    assert _WEIGHTS.stat().st_size < _MAX_BYTES


def test_held_out_scenes_are_seen() -> None:
    """A floor under depth and poses, on scenes that were never trained on."""
    network = build_network('da3-tiny').eval()
    load_weights(network, _WEIGHTS)
    lens = Lens(224, 168, 70.0)
    images, depths, poses = [], [], []
    for seed in _SEEDS:
        scene = generate_scene(seed)
        path = plan_path(scene, seed, motion=Motion.ARC, num_frames=_NUM_VIEWS, rate_hz=1.0)
        shots = [
            capture(scene, lens, path, i, sensor=Sensor(), seed=seed) for i in range(_NUM_VIEWS)]
        images.append(np.stack([shot.image for shot in shots]))
        depths.append(np.stack([shot.depth for shot in shots]))
        poses.append(np.stack([shot.world_T_camera for shot in shots]))
    pixels = torch.from_numpy(np.stack(images)).permute(0, 1, 4, 2, 3).float() / 255.0
    with torch.no_grad():
        output = network(normalise(pixels))
    extrinsics = torch.eye(4).repeat(len(_SEEDS), _NUM_VIEWS, 1, 1)
    extrinsics[..., :3, :] = output.extrinsics
    truth = Truth(torch.from_numpy(np.stack(depths)), torch.from_numpy(np.stack(poses)))
    scores = score(output.depth, torch.linalg.inv(extrinsics), truth)
    blind = floor(truth)
    assert scores.abs_rel < 0.08 and scores.delta > 0.94
    assert scores.rotation_deg < 2.5 < 0.1 * blind.rotation_deg
    assert scores.direction_deg < 4.0 and scores.auc_30 > 87.0
    assert scores.ate_percent < 1.5 < 0.05 * blind.ate_percent


def test_confidence_is_low_in_the_sky_and_where_depth_is_wrong(renderer: HostRenderer) -> None:
    """On a held-out court 1.05 takes the sky away, and little of the rest."""
    network = build_network('da3-tiny')
    load_weights(network, _WEIGHTS)
    court = draw_held_out(renderer, 1, _NUM_VIEWS, (168, 224), first_seed=_COURT_SEED)
    prediction = InferenceEngine(network, device='cpu', size=224).infer(
        list(court.images[0].permute(0, 2, 3, 1).numpy()))
    pixels = compare([prediction], court.truth, has_sky=True)
    assert pixels.sky.size > 1000 and (pixels.sky < 1.05).mean() > 0.95
    assert kept(pixels, 1.05).share > 0.85
    errors = [group.abs_rel for group in tenths(pixels)]
    assert np.mean(errors[5:]) < 0.5 * np.mean(errors[:5])


@pytest.mark.skipif(not _RECORDED.is_dir(), reason=f'needs the recorded scenes in {_RECORDED}')
def test_a_recorded_room_is_seen() -> None:
    """A floor under depth and rotation on a real room, and well above knowing nothing."""
    network = build_network('da3-tiny')
    load_weights(network, _WEIGHTS)
    engine = InferenceEngine(network, device='cpu', size=224)
    found = predict_windows(engine, seven_scenes(_RECORDED), 8)
    depths = np.stack([prediction.depth for prediction in found.predictions])
    poses = np.stack([prediction.poses for prediction in found.predictions])
    truth = found.truth
    scores = score(torch.from_numpy(depths), torch.from_numpy(poses), truth)
    blind = floor(truth)
    assert scores.abs_rel < 0.75 * blind.abs_rel
    assert scores.rotation_deg < 0.5 * blind.rotation_deg
