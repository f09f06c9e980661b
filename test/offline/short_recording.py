# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A quick recording: how long, with which parameters and engine; run, it is ``process``."""

import os
import signal
import sys
import time

import cv2
from da3_ros.inference.prediction import WindowPrediction
from da3_ros.offline import process
from da3_ros.ros.engine_loading import LoadedEngine, ModelIdentity
import numpy as np

NUM_FRAMES = 10
PARAMETERS = (
    'model.name:=da3-tiny', 'model.device:=cpu', 'preprocess.size:=56', 'window.size:=4',
    'window.stride:=2', 'keyframe.mode:=time', 'keyframe.min_interval_s:=0.0',
)


class SteadyEngine:
    """Answers with a room that looks like the images; the same for the same, on any machine."""

    def infer(self, images, *, poses=None, intrinsics=None):
        """See everything from where the brightness says."""
        del poses
        small = np.stack([cv2.resize(image, (28, 14)) for image in images])
        places = np.tile(np.eye(4), (len(images), 1, 1))
        places[:, 0, 3] = [float(image.mean()) / 20.0 for image in images]
        k = np.tile(np.array([[20.0, 0, 14], [0, 20, 7], [0, 0, 1]]), (len(images), 1, 1))
        del intrinsics
        depth = (2.0 + small[..., 0] / 255.0).astype(np.float32)
        return WindowPrediction(
            small, depth, np.full_like(depth, 2.0), None, k, places,
            appearance=small[:, ::4, ::4, 0].reshape(len(images), -1).astype(np.float32))


def load_steady_engine(settings, *, report=None):
    """Take the place of ``load_engine``."""
    del report
    return LoadedEngine(SteadyEngine(), ModelIdentity(
        settings.model.name, 'none, sha256 0', 'none', 'cpu', False, settings.window.size))


def tree(folder):
    """Give all files of a folder with their content."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob('*')) if path.is_file()}


class SlowEngine(SteadyEngine):
    """Leaves time to end it between two windows."""

    def infer(self, images, *, poses=None, intrinsics=None):
        """Take a second."""
        time.sleep(1.0)
        return super().infer(images, poses=poses, intrinsics=intrinsics)


def load_slow_engine(settings, *, report=None):
    """Take the place of ``load_engine``."""
    return LoadedEngine(SlowEngine(), load_steady_engine(settings, report=report).identity)


# Seed of an engine that dies whenever it is asked.
UNLUCKY = 13


class DeadlyEngine(SteadyEngine):
    """Dies as a process does that is out of memory: after some windows, once or always."""

    def __init__(self, grave, num_windows):
        self.grave = grave
        self.num_windows = num_windows

    def infer(self, images, *, poses=None, intrinsics=None):
        """Answer as long as it lives."""
        if self.num_windows == 0 and not (self.grave and self.grave.exists()):
            if self.grave:
                self.grave.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        self.num_windows -= 1
        return super().infer(images, poses=poses, intrinsics=intrinsics)


def load_deadly_engine(grave, settings, *, report=None):
    """Take the place of ``load_engine``; the file tells the next process that one has died."""
    loaded = load_steady_engine(settings, report=report)
    is_unlucky = settings.model.seed == UNLUCKY
    return LoadedEngine(
        DeadlyEngine(None, 0) if is_unlucky else DeadlyEngine(grave, 1), loaded.identity)


if __name__ == '__main__':
    process.load_engine = load_steady_engine
    sys.exit(process.main())
