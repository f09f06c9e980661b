# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The device's stage: one window is with the engine while the others' results are made and sent.

What a window of keyframes asks the engine, and when, is decided here alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
import time
from typing import Protocol, runtime_checkable

from da3_ros.inference.prediction import WindowPrediction
from da3_ros.mapping.config import ScaleConfig
from da3_ros.mapping.keyframe import Keyframe, WindowEngine
from da3_ros.mapping.metres import has_motion
from da3_ros.mapping.view import known_intrinsics
from da3_ros.mapping.window import Window
import numpy as np
from numpy.typing import NDArray


class Pending(Protocol):
    """A window that the device may still be at."""

    @property
    def collect(self) -> Callable[[], WindowPrediction]:
        """Return what waits for the prediction, and raises what ``infer`` does."""
        ...


@runtime_checkable
class StagedEngine(WindowEngine, Protocol):
    """An engine whose windows can be begun, and that need not make all maps."""

    @property
    def works_apart(self) -> bool:
        """Tell whether a device works on what was begun while the caller does other things."""
        ...

    def prepare(self, image: NDArray[np.uint8]) -> None:
        """
        Do beforehand what can be done of an image.

        :param image: (H, W, 3) uint8 RGB, which comes as this very object in a window.
        """

    def infer(
        self,
        images: Sequence[NDArray[np.uint8]],
        *,
        poses: NDArray[np.float64] | None = None,
        intrinsics: NDArray[np.float64] | None = None,
        wanted: Sequence[int] | None = None,
        keep: bool = True,
    ) -> WindowPrediction:
        """
        Infer all images together; parameters and errors are those of ``WindowEngine``.

        :param wanted: images whose views are asked for, each once; None: all.
        :param keep: whether the images come again in the next windows; if not, what is kept of
            others stays as it is.
        :returns: the views asked for, in that order.
        """
        ...

    def submit(
        self,
        images: Sequence[NDArray[np.uint8]],
        *,
        poses: NDArray[np.float64] | None = None,
        intrinsics: NDArray[np.float64] | None = None,
        wanted: Sequence[int] | None = None,
        keep: bool = True,
    ) -> Pending:
        """
        Begin to infer all images together; parameters and errors are those of ``infer``.

        :returns: the prediction, to be collected before another window begins.
        """
        ...


class _Plain:
    """
    An engine that only infers, in the form of one with two stages.

    :param engine: infers windows.
    """

    works_apart = False

    def __init__(self, engine: WindowEngine) -> None:
        self._engine = engine

    def prepare(self, image: NDArray[np.uint8]) -> None:
        """Do nothing, since the engine can do nothing beforehand."""

    def infer(
        self,
        images: Sequence[NDArray[np.uint8]],
        *,
        poses: NDArray[np.float64] | None = None,
        intrinsics: NDArray[np.float64] | None = None,
        wanted: Sequence[int] | None = None,
        keep: bool = True,
    ) -> WindowPrediction:
        """Infer all images, and keep the views asked for."""
        del keep
        prediction = self._engine.infer(images, poses=poses, intrinsics=intrinsics)
        return prediction if wanted is None else prediction.of_views(wanted)

    def submit(
        self,
        images: Sequence[NDArray[np.uint8]],
        *,
        poses: NDArray[np.float64] | None = None,
        intrinsics: NDArray[np.float64] | None = None,
        wanted: Sequence[int] | None = None,
        keep: bool = True,
    ) -> 'Later':
        """Infer all images when they are collected."""
        return Later(lambda: self.infer(
            images, poses=poses, intrinsics=intrinsics, wanted=wanted, keep=keep))


def staged(engine: WindowEngine) -> StagedEngine:
    """
    Return an engine in the form of one with two stages, whatever it can do.

    :param engine: infers windows.
    """
    return engine if isinstance(engine, StagedEngine) else _Plain(engine)


@dataclass(frozen=True, eq=False)
class Later:
    """
    A window that is inferred when it is collected, or has been.

    :param collect: gives the prediction, or raises what ``infer`` does.
    """

    collect: Callable[[], WindowPrediction]


@dataclass(frozen=True, eq=False)
class Inferred:
    """
    What became of a window.

    :param prediction: of the views that were wanted.
    :param started_s: when the engine began, by the steady clock.
    :param inferred_s: when the prediction was there.
    :param occupied_s: how long the caller had to wait for it, in all.
    :param is_conditioned: whether the network was given poses.
    """

    prediction: WindowPrediction
    started_s: float
    inferred_s: float
    occupied_s: float
    is_conditioned: bool


@dataclass(frozen=True, eq=False)
class _Begun:
    """
    A window at the engine.

    :param window: the window.
    :param collect: waits for the prediction.
    :param started_s: when it began, or None where it only begins when it is collected.
    :param occupied_s: how long it took to begin.
    :param is_conditioned: whether poses were given.
    """

    window: Window
    collect: Callable[[], WindowPrediction]
    started_s: float | None
    occupied_s: float
    is_conditioned: bool


class DeviceStage:
    """
    Run windows on an engine, one after the other.

    Where a device works apart from the processor, ``begin`` returns when the window is on its way,
    and ``finish`` waits for it. Elsewhere the window is inferred in ``finish``: it delays nothing
    that is done in between.
    """

    def __init__(self, engine: WindowEngine, scale: ScaleConfig) -> None:
        """
        Start with nothing under way.

        :param engine: infers windows; one that is a ``StagedEngine`` does so in two stages.
        :param scale: says whether the robot's poses are given.
        """
        self._engine = staged(engine)
        self._scale = scale
        self._begun: _Begun | None = None

    @property
    def window(self) -> Window | None:
        """Return the window under way."""
        return None if self._begun is None else self._begun.window

    def prepare(self, image: NDArray[np.uint8]) -> None:
        """
        Do beforehand what can be done of an image, if the engine knows how.

        :param image: of a keyframe that waits for its window.
        """
        self._engine.prepare(image)

    def begin(self, window: Window) -> None:
        """
        Begin a window.

        :param window: to be finished before another one begins.
        :raises Da3Error: as the engine does; nothing is under way then.
        """
        assert self._begun is None, 'one window at a time'
        engine, started_s = self._engine, time.monotonic()
        images = [keyframe.frame.image for keyframe in window.keyframes]
        intrinsics = known_intrinsics(window.keyframes)
        is_calibrated = intrinsics is not None and bool(np.isfinite(intrinsics).all())
        poses = self._given_poses(window.keyframes) if is_calibrated else None
        wanted, keep = window.wanted, not window.is_live
        pending: Pending
        if engine.works_apart:
            pending = engine.submit(
                images, poses=poses, intrinsics=intrinsics, wanted=wanted, keep=keep)
        else:
            pending = Later(partial(
                engine.infer, images, poses=poses, intrinsics=intrinsics, wanted=wanted,
                keep=keep))
        self._begun = _Begun(
            window, pending.collect, started_s if engine.works_apart else None,
            time.monotonic() - started_s, poses is not None)

    def finish(self) -> Inferred:
        """
        Wait for the window under way; whatever comes of it, nothing is under way then.

        :raises Da3Error: as the engine does.
        """
        begun, self._begun = self._begun, None
        assert begun is not None
        asked_s = time.monotonic()
        prediction = begun.collect()
        now_s = time.monotonic()
        return Inferred(
            prediction, asked_s if begun.started_s is None else begun.started_s, now_s,
            begun.occupied_s + now_s - asked_s, begun.is_conditioned)

    def drop(self) -> None:
        """Let go of the window under way, which nobody wants any more."""
        begun, self._begun = self._begun, None
        if begun is not None and begun.started_s is not None:
            # The device must be free for the next one.
            begun.collect()

    def _given_poses(self, keyframes: Sequence[Keyframe]) -> NDArray[np.float64] | None:
        """
        Return the robot's poses for ``scale.source`` pose, if all are known.

        Poses that hold no motion say nothing about lengths: given to the network, they would leave
        a window in any unit, and its cameras in another.
        """
        known = [k.frame.robot_T_camera for k in keyframes if k.frame.robot_T_camera is not None]
        if self._scale.source != 'pose' or len(known) < len(keyframes):
            return None
        poses = np.stack(known)
        return poses if has_motion(poses[:, :3, 3], self._scale) else None
