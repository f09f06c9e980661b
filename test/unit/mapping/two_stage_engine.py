# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A perfect engine with a device of its own, which works until it is asked for its answer."""

from collections.abc import Callable

from da3_ros.mapping.device_stage import Later
from perfect_engine import index_of, PerfectEngine


class TwoStageEngine(PerfectEngine):
    """
    Answer as the perfect engine does, but in two stages, and write down what is asked for.

    ``log`` holds ``('prepare', index)``, ``('begin', indices)`` and ``('collect', indices)``.
    """

    works_apart = True

    def __init__(self, poses, *, errors=lambda _stage, _call, _num_views: None, **options):
        """
        Remember the truth.

        :param errors: gives the error of a stage (``begin`` or ``collect``) of a call, or None.
        """
        super().__init__(poses, **options)
        self.errors = errors
        self.log: list[tuple[str, object]] = []
        self.wanted: list[object] = []
        self.keeps: list[bool] = []
        self._num_calls = 0
        self._under_way: Callable[[], object] | None = None

    def prepare(self, image):
        """Note which image is prepared."""
        self.log.append(('prepare', index_of(image)))

    def infer(self, images, *, poses=None, intrinsics=None, wanted=None, keep=True):
        """Infer some views of one window."""
        return self.submit(
            images, poses=poses, intrinsics=intrinsics, wanted=wanted, keep=keep).collect()

    def submit(self, images, *, poses=None, intrinsics=None, wanted=None, keep=True):
        """Begin a window; the one before must have been collected."""
        assert self._under_way is None, 'one window at a time'
        self._num_calls += 1
        call, indices = self._num_calls, [index_of(image) for image in images]
        self.log.append(('begin', indices))
        self.wanted.append(wanted)
        self.keeps.append(keep)
        self._fail('begin', call, len(images))

        def collect():
            assert self._under_way is collect, 'collected once, and before the next one'
            self._under_way = None
            self.log.append(('collect', indices))
            self._fail('collect', call, len(images))
            infer = super(TwoStageEngine, self).infer
            prediction = infer(images, poses=poses, intrinsics=intrinsics)
            return prediction if wanted is None else prediction.of_views(wanted)

        self._under_way = collect
        return Later(collect)

    def _fail(self, stage, call, num_views):
        error = self.errors(stage, call, num_views)
        if error is not None:
            raise error
