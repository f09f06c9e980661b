# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A worker over the real pipeline, with an engine and an outlet that do what a test wants."""

from dataclasses import replace
import threading

from da3_ros.mapping.config import KeyframeConfig, PipelineConfig, WindowConfig
from da3_ros.mapping.device_stage import Later
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.mapping.rig import RigSelector
from da3_ros.ros.insight.counters import Counters
from da3_ros.ros.parameters.settings import NodeSettings, QueueSettings
from da3_ros.ros.worker import InferenceWorker
from perfect_engine import frames, level_camera, PerfectEngine

CONFIG = PipelineConfig(
    KeyframeConfig(mode='time', min_interval_s=0.0), WindowConfig(size=4, stride=2, min_views=2))
POSES = [level_camera([0.02 * index, 0.0, 0.0], 0.0) for index in range(200)]


class GatedEngine:
    """A perfect engine that waits for permission, and fails when told so."""

    def __init__(self) -> None:
        """Let everything pass."""
        self.gate = threading.Event()
        self.gate.set()
        self.is_inferring = threading.Event()
        self.fails = False
        self.closes_behind = False
        self._engine = PerfectEngine(POSES)

    def infer(self, images, *, poses=None, intrinsics=None):
        """Infer one window when the gate is open."""
        self.is_inferring.set()
        self.gate.wait(10.0)
        if self.closes_behind:
            self.gate.clear()
        self.is_inferring.clear()
        if self.fails:
            raise RuntimeError('told to fail')
        return self._engine.infer(images, poses=poses, intrinsics=intrinsics)


class Device:
    """A device that works apart: a window begins at once, and is there when the gate is open."""

    works_apart = True

    def __init__(self) -> None:
        """Let everything pass."""
        self.gate = threading.Event()
        self.gate.set()
        self.num_begun = self.num_ended = 0
        self._engine = PerfectEngine(POSES)

    def prepare(self, image):
        """Do nothing."""

    def infer(self, images, **known):
        """Infer one window."""
        return self.submit(images, **known).collect()

    def submit(self, images, *, poses=None, intrinsics=None, wanted=None, keep=True):
        """Begin one window."""
        del keep
        self.num_begun += 1

        def collect():
            self.gate.wait(60.0)
            self.num_ended += 1
            prediction = self._engine.infer(images, poses=poses, intrinsics=intrinsics)
            return prediction if wanted is None else prediction.of_views(wanted)

        return Later(collect)


class Collector:
    """An outlet that remembers."""

    def __init__(self) -> None:
        """Start empty."""
        self.stamps = []
        self.loops = []
        self.reports = []
        self.refuses = ()
        self.gate = threading.Event()
        self.gate.set()
        self.is_publishing = threading.Event()
        self.session = None
        self.num_sessions = 0

    def begin_session(self):
        """Count."""
        self.num_sessions += 1
        self.session = None

    def note(self, window):
        """Begin a session where the pipeline did."""
        if self.session not in (None, window.session):
            self.begin_session()
        self.session = window.session
        self.reports.append(window.report)

    def prepare(self, keyframe, window, settings):
        """Keep the keyframe, unless told to fail."""
        del window, settings
        if keyframe.stamp_ns in self.refuses:
            raise TypeError('told to fail')
        return keyframe

    def publish(self, messages):
        """Remember its stamp, when the gate is open."""
        self.is_publishing.set()
        self.gate.wait(10.0)
        self.stamps.append(messages.stamp_ns)

    def publish_correction(self, window, settings):
        """Remember how many keyframes were out by then."""
        del window, settings
        self.loops.append(len(self.stamps))


class Bench:
    """A worker with everything around it."""

    def __init__(
        self, *, queue_size=100, max_age_s=60.0, config=CONFIG, complete=None, engine=None
    ) -> None:
        """Start it."""
        self.engine = GatedEngine() if engine is None else engine
        self.outlet = Collector()
        self.counters = Counters()
        config = replace(config, window=replace(config.window, max_age_s=max_age_s))
        self._selector = RigSelector(config.rig, config.keyframe)
        self.settings = NodeSettings(queue=QueueSettings(queue_size))
        self.worker = InferenceWorker(
            DepthPipeline(self.engine, config), self.outlet, self.counters,
            lambda: self.settings, complete=complete)

    def take(self, stream, *, new_session=None, selected_s=None):
        """Offer frames, selected now or at some time, and return their stamps."""
        stamps = []
        for frame in stream:
            (instant,) = self._selector.select(frame)
            if selected_s is not None:
                instant = replace(instant, keyframes=tuple(
                    replace(each, selected_s=selected_s) for each in instant.keyframes))
            self.worker.offer(replace(instant, new_session=new_session))
            new_session = None
            stamps.append(frame.stamp_ns)
        return stamps

    def offer(self, count, *, first=0, new_session=None, selected_s=None):
        """Offer frames of the truth and return their stamps."""
        return self.take(
            frames(count, first=first), new_session=new_session, selected_s=selected_s)
