# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The whole product without ROS, against an engine that knows the truth."""

from da3_ros.geometry import rigid
from da3_ros.mapping.config import KeyframeConfig, PipelineConfig, WindowConfig
from da3_ros.mapping.pipeline import DepthPipeline
import numpy as np
from perfect_engine import frames, level_camera, PerfectEngine
import pytest

EVERY_FRAME = KeyframeConfig(mode='time', min_interval_s=0.0)


def forward_poses(count, step_m=0.05):
    return [level_camera([step_m * i, 0.0, 0.0], 0.01 * i) for i in range(count)]


def run(pipeline, stream):
    updates = []
    for frame in stream:
        keyframe = pipeline.select(frame)
        if keyframe is not None:
            updates.append(pipeline.add(keyframe))
    updates.append(pipeline.flush())
    return updates


def posed_keyframes(updates):
    return [keyframe for update in updates for keyframe in update.keyframes]


@pytest.mark.parametrize('size, stride, min_views', [(12, 4, 3), (5, 1, 2), (1, 1, 1), (8, 7, 8)])
def test_every_keyframe_comes_out_exactly_once(size, stride, min_views):
    window = WindowConfig(size=size, stride=stride, min_views=min_views)
    engine = PerfectEngine(forward_poses(41))
    pipeline = DepthPipeline(engine, PipelineConfig(keyframe=EVERY_FRAME, window=window))
    stream = list(frames(41))
    posed = posed_keyframes(run(pipeline, stream))
    assert [keyframe.stamp_ns for keyframe in posed] == [frame.stamp_ns for frame in stream]
    assert max(len(window) for window in engine.windows) == size


def test_exact_windows_in_random_gauges_give_the_exact_path():
    truth = forward_poses(40)
    pipeline = DepthPipeline(PerfectEngine(truth), PipelineConfig(keyframe=EVERY_FRAME))
    posed = posed_keyframes(run(pipeline, frames(40)))
    # The first window's unit is arbitrary; everything else follows from it.
    scale = np.linalg.norm(posed[-1].odom_T_camera[:3, 3]) / np.linalg.norm(truth[-1][:3, 3])
    for keyframe, true_pose in zip(posed, truth, strict=True):
        expected = true_pose.copy()
        expected[:3, 3] *= scale
        np.testing.assert_allclose(keyframe.odom_T_camera, expected, atol=1e-5)
    assert {keyframe.segment for keyframe in posed} == {0}


def test_the_first_camera_looks_along_x_with_z_up():
    pipeline = DepthPipeline(PerfectEngine(forward_poses(3)), PipelineConfig(keyframe=EVERY_FRAME))
    first = posed_keyframes(run(pipeline, frames(3)))[0]
    forward, up = first.odom_T_camera[:3, 2], -first.odom_T_camera[:3, 1]
    np.testing.assert_allclose(forward, [1.0, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(up, [0.0, 0.0, 1.0], atol=1e-9)
    np.testing.assert_allclose(first.odom_T_camera[:3, 3], 0.0, atol=1e-9)
    assert rigid.rotation_angle(first.odom_T_camera[:3, :3]) > 0.0
