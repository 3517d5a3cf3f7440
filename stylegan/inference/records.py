# SPDX-License-Identifier: Apache-2.0
"""What the parts of a pipeline hand to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, repr=False, eq=False)
class Mapped:
    """Latents after the mapping network."""

    ws: torch.Tensor  # [N, num_ws, w_dim] on the device of the network
    labels: list[int] | None  # class numbers; None without classes or if the label is a vector

    def __repr__(self) -> str:
        known = f", labels {', '.join(map(str, self.labels[:8]))}" if self.labels else ""
        more = ", ..." if self.labels and len(self.labels) > 8 else ""
        return f"Mapped(ws {list(self.ws.shape)} on {self.ws.device}{known}{more})"


@dataclass(frozen=True)
class Request:
    """What a call asks of the synthesis network."""

    ws: torch.Tensor  # [N, num_ws, w_dim] on the device of the network
    noise_mode: str  # const, random or none
    noise_seeds: Sequence[int]  # per image, for random noise
    batch: int  # images at once
