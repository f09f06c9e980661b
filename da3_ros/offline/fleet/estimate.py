# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What recordings will take, from what the planner measures on a worker's machine."""

from dataclasses import dataclass
import math

from da3_ros.errors import Da3Error
from da3_ros.inference.automatic_model import AUTOMATIC
from da3_ros.inference.calibration import CalibrationCache
from da3_ros.inference.device import choose_device
from da3_ros.inference.host_plan import usable_ram_bytes
from da3_ros.inference.memory_guard import MemoryLimits, usable_bytes
from da3_ros.inference.memory_planner import plan_window
from da3_ros.inference.plan import probe_model, probe_model_on_host
from da3_ros.inference.preprocessing import plan_processing
from da3_ros.offline.fleet.listing import Entry
from da3_ros.offline.fleet.places import is_remote
from da3_ros.offline.input.recordings import open_recording
from da3_ros.ros.parameters.settings import NodeSettings
from da3_ros.ros.window_plan import window_demand
import torch

# Of a camera, where it is not known before: as the engine's first run has it.
_IMAGE_SIZE = (480, 640)


@dataclass(frozen=True)
class WindowCost:
    """
    What windows cost on a worker.

    :param seconds: of a window.
    :param new_views: views of a window that none before it had.
    :param text: the plan, for a person.
    """

    seconds: float
    new_views: int
    text: str

    def hours(self, num_keyframes: int) -> float:
        """
        Return how long a worker infers.

        :param num_keyframes: of a recording.
        """
        return math.ceil(num_keyframes / self.new_views) * self.seconds / 3600.0


def measure_windows(settings: NodeSettings) -> WindowCost | str:
    """
    Plan windows as the engine will, on the machine that this is called on.

    Neither time nor memory depends on the weights: none are needed.

    :param settings: of the node.
    :returns: what they cost, or why that is not known.
    """
    model = settings.model
    if model.name == AUTOMATIC:
        return f'model.name {AUTOMATIC}: each worker chooses when it begins'
    device = choose_device() if model.device == 'auto' else torch.device(model.device)
    size = plan_processing(
        *_IMAGE_SIZE, size=settings.preprocess.size, method=settings.preprocess.method).size
    try:
        if device.type == 'cuda':
            cost = probe_model(model.name, size, device, cache=CalibrationCache())
            budget = usable_bytes(device, MemoryLimits(settings.memory.reserve_mib))
        else:
            cost = probe_model_on_host(model.name, size)
            budget = usable_ram_bytes() + cost.calibration.fixed_bytes
        plan = plan_window(cost, window_demand(settings), budget)
        window = settings.pipeline(plan.num_views).window
    except (Da3Error, ValueError) as error:
        return str(error)
    return WindowCost(plan.seconds, window.stride * window.num_cameras, str(plan))


@dataclass(frozen=True)
class Size:
    """
    How large a recording is.

    :param num_images: 0 where nobody knows.
    :param text: why it is not known; empty where it is.
    """

    num_images: int = 0
    text: str = ''


def measure_recording(entry: Entry) -> Size:
    """
    Look how many images a recording says that it has.

    :param entry: of the list.
    """
    if is_remote(entry.place):
        return Size(text='not here')
    try:
        with open_recording(entry.job.recording, entry.job.settings.camera) as source:
            return Size(source.num_images, '' if source.num_images else 'images not counted')
    except (Da3Error, ValueError, OSError) as error:
        return Size(text=str(error))
