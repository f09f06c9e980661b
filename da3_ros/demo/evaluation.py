# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""Scores what the node published against the truth; all numbers of the summary come from here."""

from collections.abc import Mapping
from dataclasses import dataclass

from da3_ros.demo.readback import Output, TrueView
from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.geometry.camera import DepthImage
from da3_ros.geometry.sim3 import fit_sim3, Sim3
import numpy as np

_DELTA = 1.25


@dataclass(frozen=True, eq=False)
class DepthScore:
    """
    Errors of one depth image, or of all.

    :param abs_rel: mean of abs(estimate - truth) / truth.
    :param delta_1_25: share of pixels within a factor of 1.25.
    :param coverage: share of the pixels with true depth that have an estimate.
    """

    abs_rel: float
    delta_1_25: float
    coverage: float


@dataclass(frozen=True, eq=False)
class KeyframeScore:
    """
    One keyframe beside its truth.

    :param stamp_ns: of the keyframe.
    :param true_depth: (h, w) float32 [m] at the pixels of the estimate.
    :param depth: (h, w) float32 [m], the estimate times ``Evaluation.depth_scale``.
    :param score: of this depth.
    :param true_world_T_camera: (4, 4) [m].
    :param world_T_camera: (4, 4) [m], the estimate moved by ``Evaluation.world_S_odom``.
    :param latency_s: from the sending of the image to the arrival of the last output.
    """

    stamp_ns: int
    true_depth: DepthImage
    depth: DepthImage
    score: DepthScore
    true_world_T_camera: Array
    world_T_camera: Array
    latency_s: float

    @property
    def position_error_m(self) -> float:
        """Distance of the cameras' centres [m]."""
        return float(np.linalg.norm(
            self.world_T_camera[:3, 3] - self.true_world_T_camera[:3, 3]))

    @property
    def rotation_error_deg(self) -> float:
        """Angle between the cameras [deg]."""
        return float(np.degrees(rigid.rotation_angle(
            self.world_T_camera[:3, :3].T @ self.true_world_T_camera[:3, :3])))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """
    All keyframes beside their truth.

    The node's world has a unit and an origin of its own. Depth is compared after one factor for
    the whole recording, the path after one Sim3 fitted to the cameras' centres.

    :param keyframes: in the order of stamps.
    :param depth_scale: metres per unit of the node's depth: median of truth over estimate.
    :param depth: over all pixels of all keyframes.
    :param constant_depth: the same for the best guess without an image, the median true depth.
    :param world_S_odom: from the node's world to the true one.
    :param ate_m: root mean square of the position errors [m].
    :param standing_still_m: the same for a camera that stays at the path's mean [m].
    """

    keyframes: tuple[KeyframeScore, ...]
    depth_scale: float
    depth: DepthScore
    constant_depth: DepthScore
    world_S_odom: Sim3
    ate_m: float
    standing_still_m: float


def evaluate(
    truth: Mapping[int, TrueView], outputs: Mapping[int, Output], sent_ns: Mapping[int, int],
) -> Evaluation:
    """
    Compare keyframes with the truth of the same stamp.

    :param truth: by stamp.
    :param outputs: by stamp; at least three.
    :param sent_ns: wall clock when each image was sent, by stamp.
    :raises ValueError: if there are too few outputs or one has no truth.
    """
    stamps = sorted(outputs)
    unknown = [stamp for stamp in stamps if stamp not in truth]
    if unknown or len(stamps) < 3:
        raise ValueError(
            f'outputs: got {len(stamps)}, {len(unknown)} without truth, expected 3 with truth')
    true_depths = [at_pixels_of(truth[s].depth, outputs[s].depth) for s in stamps]
    scale = _median_ratio(true_depths, [outputs[s].depth for s in stamps])
    depths = [np.float32(scale) * outputs[s].depth for s in stamps]
    median = np.float32(np.median(np.concatenate([_finite(depth) for depth in true_depths])))
    true_poses = np.stack([truth[s].world_T_camera for s in stamps])
    poses = np.stack([outputs[s].odom_T_camera for s in stamps])
    world_S_odom = fit_sim3(true_poses[:, :3, 3], poses[:, :3, 3], np.ones(len(stamps)))
    keyframes = tuple(
        KeyframeScore(
            stamp, true_depth, depth, score_depth([true_depth], [depth]), true_pose,
            world_S_odom.transform_pose(pose),
            1e-9 * (outputs[stamp].arrival_ns - sent_ns[stamp]))
        for stamp, true_depth, depth, true_pose, pose in zip(
            stamps, true_depths, depths, true_poses, poses, strict=True)
    )
    offsets = true_poses[:, :3, 3] - true_poses[:, :3, 3].mean(axis=0)
    return Evaluation(
        keyframes=keyframes,
        depth_scale=scale,
        depth=score_depth(true_depths, depths),
        constant_depth=score_depth(true_depths, [np.full_like(d, median) for d in depths]),
        world_S_odom=world_S_odom,
        ate_m=_rms(np.array([keyframe.position_error_m for keyframe in keyframes])),
        standing_still_m=_rms(np.linalg.norm(offsets, axis=1)),
    )


def at_pixels_of(true_depth: DepthImage, depth: DepthImage) -> DepthImage:
    """
    Take the true depth at the pixels of a resized image.

    The nearest pixel, not a mean: a mean over an edge is the depth of nothing.

    :param true_depth: (H, W).
    :param depth: (h, w), of the same view.
    :returns: (h, w).
    """
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(depth.shape, true_depth.shape, strict=True)
    )
    return true_depth[np.ix_(rows, columns)]


def score_depth(truths: list[DepthImage], estimates: list[DepthImage]) -> DepthScore:
    """
    Score depth where both are finite.

    :param truths: (h, w) each.
    :param estimates: (h, w) each, in the same unit.
    """
    ratios = np.concatenate([_ratios(a, b) for a, b in zip(truths, estimates, strict=True)])
    num_true = sum(int(np.isfinite(truth).sum()) for truth in truths)
    return DepthScore(
        abs_rel=float(np.mean(np.abs(ratios - 1.0))),
        delta_1_25=float(np.mean(np.maximum(ratios, 1.0 / ratios) < _DELTA)),
        coverage=len(ratios) / num_true,
    )


def _ratios(truth: DepthImage, estimate: DepthImage) -> Array:
    """Return estimate over truth where both are known."""
    known = np.isfinite(truth) & np.isfinite(estimate) & (estimate > 0.0)
    ratios: Array = estimate[known].astype(np.float64) / truth[known]
    return ratios


def _median_ratio(truths: list[DepthImage], estimates: list[DepthImage]) -> float:
    ratios = np.concatenate([_ratios(a, b) for a, b in zip(truths, estimates, strict=True)])
    if len(ratios) == 0:
        raise ValueError('outputs: got no finite depth, expected some')
    return float(1.0 / np.median(ratios))


def _finite(depth: DepthImage) -> DepthImage:
    return depth[np.isfinite(depth)]


def _rms(errors: Array) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))
