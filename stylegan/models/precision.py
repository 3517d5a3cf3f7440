# SPDX-License-Identifier: Apache-2.0
"""The dtype and the memory layout that a block of a network runs in."""

import torch

PRECISION = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def block_dtype(device, low_precision, precision):
    """The dtype that a block runs in on `device`: float32 unless it is one of the low-precision
    blocks and the device is made for it."""
    if not low_precision:
        return torch.float32
    if precision == "auto":
        precision = "float16" if device.type == "cuda" else "float32"
    return PRECISION[precision]


def block_format(device, dtype):
    """The memory layout that convolutions are fastest in: channels_last on CPUs (up to 2 times at
    batch 8, 256 px) and for tensor cores in half precision."""
    half = dtype in (torch.float16, torch.bfloat16)
    return torch.channels_last if device.type == "cpu" or half else torch.contiguous_format
