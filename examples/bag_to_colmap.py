# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A bag becomes COLMAP models of full size: ``bag_to_colmap.py BAG OUT [NAME:=VALUE]``."""

from pathlib import Path
import sys

from da3_ros.offline.input.recordings import Recording
from da3_ros.offline.job import Job, process_recording
from da3_ros.offline.settings_file import read_settings

bag, out, *parameters = sys.argv[1:]
settings = read_settings(None, ['depth.size:=image', *parameters])
processed = process_recording(
    Job(Recording(Path(bag)), settings, Path(out), frozenset({'colmap'})))
for loss in processed.summary.losses:
    print(loss, file=sys.stderr)
for model in sorted(processed.out.glob('*/colmap')):
    print(model)
