# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a GPU has run before the first image: the windows that the stream begins with, often."""

from collections import Counter

from da3_ros.errors import MemoryBudgetError
from da3_ros.mapping.config import FramesConfig, PipelineConfig, ScaleConfig, WindowConfig
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.ros.warm_up import warm_up
from paths import curve
from perfect_engine import frames, HEIGHT, WIDTH
from pipeline_runs import EVERY_FRAME, run
import pytest
from two_stage_engine import TwoStageEngine


class Recorder(TwoStageEngine):
    """Write down what of a window decides about how a GPU runs it."""

    def __init__(self, **options):
        """Start with nothing known."""
        super().__init__(curve(60), **options)
        self.kinds = []
        self.kept = []

    def submit(self, images, *, poses=None, intrinsics=None, wanted=None, keep=True):
        """Note the size of a window, and which of its images are new."""
        known = {id(image) for image in self.kept}
        num_new = sum(id(image) not in known for image in images)
        self.kinds.append(
            (len(images), num_new, None if wanted is None else len(wanted), poses is not None))
        if keep:
            self.kept = list(images)
        return super().submit(
            images, poses=poses, intrinsics=intrinsics, wanted=wanted, keep=keep)


@pytest.mark.parametrize('window', [
    WindowConfig(), WindowConfig(6, 2), WindowConfig(4, 1, 2), WindowConfig(1, 1, 1),
    WindowConfig(24, 4, 3, first_views=12)])
def test_no_window_that_a_stream_begins_with_is_new_to_the_gpu(window):
    warm, stream = Recorder(), Recorder()
    config = PipelineConfig(EVERY_FRAME.keyframe, window)
    warm_up(warm, config, (HEIGHT, WIDTH), most_views=32)
    run(DepthPipeline(stream, config), frames(3 * window.planned_views))
    often = {kind for kind, count in Counter(warm.kinds).items() if count >= 3}
    # The very last window holds what is left over.
    assert set(stream.kinds[:-1]) <= often


def test_live_frames_are_run_as_they_will_be():
    warm = Recorder()
    config = PipelineConfig(frames=FramesConfig('all', context=3))
    warm_up(warm, config, (HEIGHT, WIDTH), most_views=32)
    assert Counter(warm.kinds)[4, 1, 3, False] == 3


def test_windows_are_conditioned_where_the_streams_will_be():
    warm = Recorder()
    warm_up(warm, PipelineConfig(scale=ScaleConfig('pose')), (HEIGHT, WIDTH), most_views=32)
    assert {is_given for *_, is_given in warm.kinds} == {True}


def test_a_window_that_grows_slowly_does_not_hold_configure_up():
    warm = Recorder()
    warm_up(warm, PipelineConfig(window=WindowConfig(32, 1)), (HEIGHT, WIDTH), most_views=32)
    assert {size for size, *_ in warm.kinds} == {32}
    assert len(warm.kinds) == 9


def test_instants_of_several_cameras_come_whole():
    warm = Recorder()
    config = PipelineConfig(window=WindowConfig(8, 2, 4, num_cameras=2))
    warm_up(warm, config, (HEIGHT, WIDTH), most_views=32)
    assert {kind[:2] for kind in warm.kinds} == {(4, 4), (8, 4)}


def test_windows_that_are_launched_kernel_by_kernel_anyway_are_not_run():
    warm = Recorder()
    warm_up(warm, PipelineConfig(), (HEIGHT, WIDTH), most_views=7)
    assert {size for size, *_ in warm.kinds} == {3, 7}


def test_a_start_without_memory_is_a_start_all_the_same():
    warm = Recorder(errors=lambda *_: MemoryBudgetError('full'))
    warm_up(warm, PipelineConfig(), (HEIGHT, WIDTH), most_views=32)
    assert len(warm.kinds) == 1
