# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Every number of the training in one place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """
    Size of images and what a step of such images takes.

    :param image_size: height and width [px].
    :param views: of a step and device; a multiple of every window size.
    :param dense_views: how many of them the depth head sees.
    :param share: of the steps.
    """

    image_size: tuple[int, int]
    views: int = 120
    dense_views: int = 60
    share: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """
    What defines a training; all runs that add up to one training share it.

    :param seed: of weights and data.
    :param formats: of the images; the first is that of the evaluations on the way.
    :param window_sizes: numbers of views of a window.
    :param window_shares: how often each is drawn.
    :param posed_sizes: numbers of views with which cameras may be given.
    :param posed_share: share of such steps whose cameras are given to the camera encoder.
    :param stride_shares: how often every first, second ... view along the path is taken.
    :param pool_chunks: chunks of rendered windows kept on the device, for each format.
    :param first_chunks: chunks rendered before the first step, shared out to the formats.
    :param chunk_windows: windows of a chunk.
    :param window_views: views along the path of a rendered window; steps draw some of them.
    :param refresh_steps: a new chunk, of one format or another, comes every so many steps.
    :param samples: rays along each side of a rendered pixel.
    :param rig_share: see ``handling.Handling``.
    :param rig_cameras: likewise.
    :param near_share: likewise.
    :param distorted_share: likewise.
    :param light_share: see ``windows.Looks``; needs panoramas.
    :param turn_share: of windows that are a camera turning in a panorama; needs those.
    :param jpeg_share: of windows whose images went through JPEG.
    :param learning_rate: of AdamW.
    :param muon_rate: of Muon (the blocks' matrices).
    :param decoder_factor: camera decoder's share of ``learning_rate``: its ReLUs die above.
    :param encoder_factor: camera encoder's share of ``learning_rate``.
    :param warmup_steps: linear warm-up.
    :param weight_decay: of matrices under AdamW.
    :param clip_norm: of every group's gradient.
    :param average_decay: of the exponential average of the weights, which is what ships.
    :param muon_decay: weight decay under Muon.
    """

    seed: int = 1
    formats: tuple[Format, ...] = (
        Format((168, 224), share=0.6),
        Format((126, 224), share=0.2),
        Format((252, 336), views=48, dense_views=24, share=0.2),
    )
    window_sizes: tuple[int, ...] = (2, 4, 8, 12, 24)
    window_shares: tuple[float, ...] = (0.17, 0.24, 0.33, 0.18, 0.08)
    posed_sizes: tuple[int, ...] = (4, 8)
    posed_share: float = 0.25
    stride_shares: tuple[float, ...] = (0.45, 0.3, 0.15, 0.1)
    pool_chunks: int = 96
    first_chunks: int = 12
    chunk_windows: int = 16
    window_views: int = 24
    refresh_steps: int = 20
    samples: int = 2
    rig_share: float = 0.12
    rig_cameras: int = 2
    near_share: float = 0.0
    distorted_share: float = 0.0
    light_share: float = 0.0
    turn_share: float = 0.0
    jpeg_share: float = 0.0
    learning_rate: float = 1e-3
    muon_rate: float = 0.01
    decoder_factor: float = 0.2
    encoder_factor: float = 0.3
    warmup_steps: int = 400
    weight_decay: float = 0.03
    clip_norm: float = 2.0
    average_decay: float = 0.9995
    muon_decay: float = 0.02
