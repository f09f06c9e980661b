# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Settings of the window, and what they become when the size is known."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
import math

from da3_ros.inference.memory_planner import automatic_stride, DEFAULT_MAX_LATENCY_S
from da3_ros.mapping.config import WindowConfig


@dataclass(frozen=True)
class WindowSettings:
    """
    Which keyframes are inferred together; see ``mapping.config.WindowConfig``.

    :param size: most views in one inference; 0: as many as machine and stream allow.
    :param stride: new instants per inference; 0: a third of the window.
    :param min_views: views of the very first window.
    :param max_age_s: longest wait of a keyframe for its window to fill.
    :param max_latency_s: longest inference, for size 0; 0 = no limit.
    """

    size: int = 0
    stride: int = 0
    min_views: int = WindowConfig.min_views
    max_age_s: float = WindowConfig.max_age_s
    max_latency_s: float = DEFAULT_MAX_LATENCY_S

    @property
    def is_automatic(self) -> bool:
        """Tell whether machine and stream decide about the size."""
        return self.size == 0

    def least_views(self, num_cameras: int) -> int:
        """
        Return the views without which windows cannot be joined well.

        :param num_cameras: views of one instant.
        """
        return max(self.min_views, 2 * num_cameras)

    def config(
        self, num_views: int, num_cameras: int, *, most_views: int = 0
    ) -> WindowConfig:
        """
        Return the settings of the mapping layer.

        Stride and first window are made to fit the size, see ``clamps``.

        :param num_views: of a window.
        :param num_cameras: views of one instant.
        :param most_views: that it may become where windows take less time than was expected.
        :raises ValueError: if not even one view of each camera fits in.
        """
        config = WindowConfig(
            num_views, stride=1, min_views=1, max_age_s=self.max_age_s, num_cameras=num_cameras,
            is_paced=self.is_automatic)
        if not config.is_chained:
            # Every instant is a window of its own, whatever the other settings say.
            return config
        instants = num_views // num_cameras
        config = replace(
            config, stride=min(self.stride or automatic_stride(instants), instants - 1),
            min_views=min(self.min_views, num_views))
        if not self.is_automatic:
            return config
        return replace(
            config, size=max(num_views, most_views), first_views=num_views,
            max_latency_s=self.max_latency_s or math.inf)

    def clamps(self, config: WindowConfig) -> Iterator[str]:
        """
        Say which settings could not be kept, with what took their place.

        :param config: that these settings became.
        """
        if not config.is_chained:
            return
        for name, wanted, got in (
            ('stride', self.stride, config.stride), ('min_views', self.min_views, config.min_views)
        ):
            if wanted > got:
                yield (f'window.{name}: got {wanted}, which is too much for windows of '
                       f'{config.planned_views} views: {got} instead')
