# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A folder of images becomes a coloured cloud: ``folder_to_cloud.py FOLDER OUT [NAME:=VALUE]``."""

from pathlib import Path
import sys

from da3_ros.offline.input.recordings import Recording
from da3_ros.offline.job import Job, process_recording
from da3_ros.offline.settings_file import read_settings

folder, out, *parameters = sys.argv[1:]
# Whose names are no times, those are taken to be 5 a second.
recording = Recording(Path(folder), rate_hz=5.0)
processed = process_recording(
    Job(recording, read_settings(None, parameters), Path(out), frozenset({'ply'})))
for cloud in sorted(processed.out.glob('*/cloud.ply')):
    print(cloud)
