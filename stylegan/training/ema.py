# SPDX-License-Identifier: Apache-2.0
"""The moving average of the generator's weights, which generates the images."""

from __future__ import annotations

import torch


def ema_beta(batch: int, ema_kimg: float, images_seen: int, rampup: float | None = None) -> float:
    """Decay per step: 0.5^(batch / half-life). The half-life is in images, at most rampup *
    images_seen, which is the count before this step: beta is 0 in the first one.

    Source: Karras et al. 2018 (arXiv:1710.10196), section 4; ramp-up: arXiv:2006.06676, appendix C.
    """
    half_life = ema_kimg * 1000
    if rampup is not None:
        half_life = min(half_life, images_seen * rampup)
    return 0.5 ** (batch / max(half_life, 1e-8))


@torch.no_grad()
def update_ema(averaged: torch.nn.Module, model: torch.nn.Module, beta: float) -> None:
    """averaged = beta * averaged + (1 - beta) * model for parameters; buffers are copied."""
    for old, new in zip(averaged.parameters(), model.parameters()):
        old.lerp_(new, 1 - beta)
    for buffer, source in zip(averaged.buffers(), model.buffers()):
        buffer.copy_(source)
