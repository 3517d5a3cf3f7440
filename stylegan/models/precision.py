# SPDX-License-Identifier: Apache-2.0
"""The dtype and the memory layout that a block of a network runs in."""

from __future__ import annotations

import torch

PRECISION = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def block_dtype(device: torch.device, low_precision: bool, precision: str) -> torch.dtype:
    """The dtype that a block runs in on `device`.

    Args:
        low_precision: whether it is one of the blocks that run in `precision`; others are float32.
        precision: a key of PRECISION, or auto: float16 on CUDA, float32 elsewhere.
    """
    if not low_precision:
        return torch.float32
    if precision == "auto":
        precision = "float16" if device.type == "cuda" else "float32"
    return PRECISION[precision]


def block_format(device: torch.device, dtype: torch.dtype) -> torch.memory_format:
    """The memory layout in which convolutions are fastest: channels_last on CPUs (up to 2 times at
    batch 8, 256 px) and for tensor cores in half precision."""
    half = dtype in (torch.float16, torch.bfloat16)
    return torch.channels_last if device.type == "cpu" or half else torch.contiguous_format
