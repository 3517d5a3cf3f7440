# SPDX-License-Identifier: Apache-2.0
"""What goes into a pipeline's parts, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image


@dataclass(frozen=True)
class PipelineOutput:
    """The result of a call of a `Pipeline`."""

    images: list[Image.Image]  # grey, RGB or RGBA
    ws: torch.Tensor  # [N, num_ws, w_dim] on the CPU, from which the images were made
    labels: list[int | None]  # class numbers; None without classes or if the label is a vector


@dataclass(frozen=True)
class Mapped:
    """Latents after the mapping network."""

    ws: torch.Tensor  # [N, num_ws, w_dim] on the device of the network
    labels: list[int] | None


@dataclass(frozen=True)
class Request:
    """What a call asks of the synthesis network."""

    ws: torch.Tensor  # [N, num_ws, w_dim] on the device of the network
    noise_mode: str  # const, random or none
    noise_seeds: Sequence[int]  # per image, for random noise
    batch: int  # images at once
