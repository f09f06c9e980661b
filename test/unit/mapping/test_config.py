# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Settings say what is wrong with them."""

from da3_ros.mapping.config import (
    AlignmentConfig,
    KeyframeConfig,
    PipelineConfig,
    ScaleConfig,
    WindowConfig,
)
import pytest


@pytest.mark.parametrize('make, name', [
    (lambda: KeyframeConfig(mode='space'), 'keyframe.mode'),
    (lambda: KeyframeConfig(min_interval_s=-1.0), 'keyframe.min_interval_s'),
    (lambda: KeyframeConfig(min_interval_s=float('nan')), 'keyframe.min_interval_s'),
    (lambda: KeyframeConfig(min_interval_s=2.0, max_interval_s=1.0), 'keyframe.max_interval_s'),
    (lambda: KeyframeConfig(min_parallax=0.0), 'keyframe.min_parallax'),
    (lambda: KeyframeConfig(min_overlap=1.1), 'keyframe.min_overlap'),
    (lambda: KeyframeConfig(min_sharpness=1.0), 'keyframe.min_sharpness'),
    (lambda: WindowConfig(size=0), 'window.size'),
    (lambda: WindowConfig(size=4, stride=4), 'window.stride'),
    (lambda: WindowConfig(size=4, stride=2, min_views=5), 'window.min_views'),
    (lambda: WindowConfig(max_age_s=0.0), 'window.max_age_s'),
    (lambda: AlignmentConfig(samples_per_view=1), 'alignment.samples_per_view'),
    (lambda: AlignmentConfig(inlier_threshold=0.0), 'alignment.inlier_threshold'),
    (lambda: AlignmentConfig(max_residual=2.0), 'alignment.max_residual'),
    (lambda: AlignmentConfig(min_inlier_share=0.0), 'alignment.min_inlier_share'),
    (lambda: AlignmentConfig(max_scale_ratio=1.0), 'alignment.max_scale_ratio'),
    (lambda: ScaleConfig(source='guess'), 'scale.source'),
    (lambda: ScaleConfig(fixed_factor=0.0), 'scale.fixed_factor'),
    (lambda: ScaleConfig(tf_noise_m=float('inf')), 'scale.tf_noise_m'),
])
def test_a_bad_value_is_named(make, name):
    with pytest.raises(ValueError, match=f'{name}: got .* expected'):
        make()


def test_the_defaults_are_valid_and_windows_of_one_view_are_allowed():
    assert PipelineConfig().window.size > PipelineConfig().window.stride
    assert WindowConfig(size=1, stride=1, min_views=1).size == 1
