# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Join two windows through the keyframes that both saw.

Both windows saw the same pixels of a shared keyframe. The scale is therefore the robust ratio of
the two depths of each pixel: it needs no camera motion, so it works for rotation in place, for
straight lines and for planar scenes. With the scale known, the shared cameras give rotation and
translation; they are compared at the points that the cameras see, so that an error of angle and
one of position weigh as they displace the scene, and the depth's own noise cancels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from da3_ros.errors import AlignmentError
from da3_ros.geometry import robust
from da3_ros.geometry.arrays import Array
from da3_ros.geometry.sim3 import fit_sim3, Sim3
from da3_ros.mapping.config import AlignmentConfig
from da3_ros.mapping.samples import ViewSamples
import numpy as np

# Spreads below these are not believed: float32 depth, and poses good to a ten-thousandth of the
# distance of the scene.
_MIN_LOG_DEPTH_SIGMA = 1e-5
_MIN_POSE_SIGMA = 1e-4
_MIN_WEIGHT = 1e-9
_NUM_POSE_ITERATIONS = 5
# A camera is known from a few hundred of its points.
_MAX_CAMERA_POINTS = 400


@dataclass(frozen=True, eq=False)
class Alignment:
    """
    How a window joins what came before.

    :param reference_S_window: the similarity.
    :param residual: median distance between the two positions of a shared point, as a share of
        its depth.
    :param inlier_share: share of shared points below the threshold.
    :param scale_sigma: relative standard deviation of the scale.
    :param camera_sigma: typical distance by which a camera's view of the scene disagrees, as a
        share of the depth.
    :param num_shared: keyframes seen by both.
    """

    reference_S_window: Sim3
    residual: float
    inlier_share: float
    scale_sigma: float
    camera_sigma: float
    num_shared: int


@dataclass(frozen=True, eq=False)
class Constraint:
    """
    How two windows lie to each other, as far as is known.

    :param reference: number of the earlier one.
    :param reference_S_window: how the later one lies to it.
    :param alignment: the fit behind it, or None where the relation is a guess.
    """

    reference: int
    reference_S_window: Sim3
    alignment: Alignment | None


@dataclass(frozen=True, eq=False)
class _Pair:
    """
    One shared keyframe: the pixels that both windows know.

    :param reference: the view in the reference, valid pixels only.
    :param window: the same pixels in the window.
    :param weights: (M,) trust of both.
    """

    reference: ViewSamples
    window: ViewSamples
    weights: Array

    def thinned(self, max_points: int) -> '_Pair':
        """Keep a regular choice of the pixels."""
        kept = np.arange(self.weights.size) % (self.weights.size // max_points + 1) == 0
        return _Pair(self.reference.only(kept), self.window.only(kept), self.weights[kept])

    @property
    def log_ratio(self) -> Array:
        """Return the logarithm of the reference's depth over the window's, (M,)."""
        ratio: Array = np.log(self.reference.depth / self.window.depth)
        return ratio


@dataclass(frozen=True, eq=False)
class _CameraPoints:
    """
    What a shared camera sees, placed by either window, both in the reference's unit.

    :param target: (M, 3) by the reference.
    :param source: (M, 3) by the window.
    :param weights: (M,) trust over the squared depth.
    :param depth: (M,) on which both windows agree.
    """

    target: Array
    source: Array
    weights: Array
    depth: Array

    def miss(self, target_S_source: Sim3) -> float:
        """
        Return how far the camera's points are from each other, as a share of the depth.

        :param target_S_source: brings the window to the reference.
        """
        squared = np.square(self.target - target_S_source.transform_points(self.source))
        trust = np.sum(self.weights * np.square(self.depth))
        return float(np.sqrt(np.sum(self.weights * squared.sum(axis=1)) / trust))


@dataclass(frozen=True, eq=False)
class _CameraFit:
    """
    The similarity that brings the shared cameras together.

    :param reference_S_window: the similarity.
    :param sigma: typical disagreement of a camera, as a share of the depth.
    """

    reference_S_window: Sim3
    sigma: float


def align(
    reference: Sequence[ViewSamples], window: Sequence[ViewSamples], config: AlignmentConfig
) -> Alignment:
    """
    Fit ``reference_S_window`` to the keyframes that both hold.

    :param reference: views in the reference's frame and unit.
    :param window: views in the window's.
    :param config: what counts as an inlier.
    :raises AlignmentError: if they share no known pixel.
    """
    pairs = _shared_pairs(reference, window)
    if not pairs:
        raise AlignmentError('the windows share no keyframe with known depth')
    log_scale = robust.location(
        np.concatenate([pair.log_ratio for pair in pairs]),
        np.concatenate([pair.weights for pair in pairs]),
        min_sigma=_MIN_LOG_DEPTH_SIGMA,
    )
    fit = _fit_cameras(pairs, log_scale)
    reference_S_window = fit.reference_S_window
    errors = np.concatenate([_point_errors(pair, reference_S_window) for pair in pairs])
    weights = np.concatenate([pair.weights for pair in pairs])
    is_inlier = errors < config.inlier_threshold
    inlier_share = float(np.sum(weights * is_inlier) / weights.sum())
    return Alignment(
        reference_S_window,
        residual=robust.weighted_median(errors, weights),
        inlier_share=inlier_share,
        scale_sigma=_scale_sigma(pairs, log_scale),
        camera_sigma=fit.sigma,
        num_shared=len(pairs),
    )


def rejection(alignment: Alignment, config: AlignmentConfig) -> str | None:
    """
    Say why an alignment must not be used, or return None if it may.

    :param alignment: of two windows.
    :param config: thresholds.
    """
    scale = alignment.reference_S_window.scale
    if alignment.residual > config.max_residual:
        return f'residual {alignment.residual:.3f} above {config.max_residual}'
    if alignment.inlier_share < config.min_inlier_share:
        return f'inlier share {alignment.inlier_share:.2f} below {config.min_inlier_share}'
    if not 1.0 / config.max_scale_ratio <= scale <= config.max_scale_ratio:
        return f'scale {scale:.3g} beyond a factor of {config.max_scale_ratio}'
    return None


def _shared_pairs(
    reference: Sequence[ViewSamples], window: Sequence[ViewSamples]
) -> list[_Pair]:
    by_id = {view.id: view for view in reference}
    pairs = []
    for ours in window:
        theirs = by_id.get(ours.id)
        if theirs is None or theirs.depth.shape != ours.depth.shape:
            continue
        weights = np.sqrt(theirs.weights * ours.weights)
        known = np.isfinite(theirs.depth) & np.isfinite(ours.depth) & (weights > 0.0)
        if known.any():
            pairs.append(_Pair(theirs.only(known), ours.only(known), weights[known]))
    return pairs


def _fit_cameras(pairs: Sequence[_Pair], log_scale: robust.Cluster) -> _CameraFit:
    """
    Fit rotation and translation at a known scale.

    Every camera is compared at the points it sees, at the depth on which both windows agree, in
    units of that depth. A camera that disagrees with the others counts less (least absolute
    instead of least squared deviations, by re-weighting).
    """
    scale = float(np.exp(log_scale.centre))
    cameras = [_compare_camera(pair.thinned(_MAX_CAMERA_POINTS), log_scale) for pair in pairs]
    target = np.concatenate([camera.target for camera in cameras])
    source = np.concatenate([camera.source for camera in cameras])
    trust = np.ones(len(cameras))
    for _ in range(_NUM_POSE_ITERATIONS):
        weights = np.concatenate([t * c.weights for t, c in zip(trust, cameras, strict=True)])
        fit = fit_sim3(target, source, weights, scale=1.0)
        misses = np.array([camera.miss(fit) for camera in cameras])
        trust = 1.0 / np.maximum(misses, _MIN_POSE_SIGMA)
    return _CameraFit(Sim3(scale, fit.rotation, fit.translation), float(np.median(misses)))


def _compare_camera(pair: _Pair, log_scale: robust.Cluster) -> _CameraPoints:
    scale = float(np.exp(log_scale.centre))
    agreement = robust.tukey_weights(pair.log_ratio - log_scale.centre, log_scale.spread)
    fused = np.sqrt(pair.reference.depth * scale * pair.window.depth)
    # One set of rays: this compares cameras, not what the windows think of the lens.
    window = replace(pair.window, rays=pair.reference.rays)
    resized = window.transformed(Sim3(scale, np.eye(3), np.zeros(3)))
    return _CameraPoints(
        pair.reference.points(fused), resized.points(fused),
        (pair.weights * agreement + _MIN_WEIGHT) / np.square(fused), fused,
    )


def _point_errors(pair: _Pair, reference_S_window: Sim3) -> Array:
    """Return the distance of each point's two positions over its depth, (M,)."""
    moved = pair.window.transformed(reference_S_window)
    distance = np.linalg.norm(pair.reference.points() - moved.points(), axis=1)
    errors: Array = distance / pair.reference.depth
    return errors


def _scale_sigma(pairs: Sequence[_Pair], log_scale: robust.Cluster) -> float:
    """
    Return the relative standard deviation of the scale.

    Errors of neighbouring pixels are alike, so that the number of pixels alone would promise too
    much: the scatter between keyframes is a second opinion, and the larger one counts.
    """
    means, total = [], 0.0
    for pair in pairs:
        offsets = pair.log_ratio - log_scale.centre
        kept = pair.weights * robust.tukey_weights(offsets, log_scale.spread)
        total += float(kept.sum())
        means.append(float(np.sum(kept * offsets) / max(float(kept.sum()), _MIN_WEIGHT)))
    by_pixels = log_scale.spread / np.sqrt(max(total, 1.0))
    by_views = float(np.std(means)) / np.sqrt(len(means))
    return float(max(by_pixels, by_views))
