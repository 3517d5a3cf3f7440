# SPDX-License-Identifier: Apache-2.0
"""The dtypes and the memory layout that the parts of a network run in.

A network decides them, whatever its weights were cast to. Weights of float16 and bfloat16 are only
stored so: arithmetic is in float32, except in the blocks that `precision` names. A network of
float64 computes in float64 everywhere.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from stylegan.config import DiscriminatorConfig, GeneratorConfig, Stylegan3Config
from stylegan.errors import UserError

PRECISION = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

WIDE = frozenset((torch.float32, torch.float64))
Forward = TypeVar("Forward", bound=Callable[..., Any])


def wide_dtype(weight: torch.Tensor) -> torch.dtype:
    """The dtype of arithmetic with a weight: float64 for float64, else float32."""
    return torch.float64 if weight.dtype == torch.float64 else torch.float32


def wide(x: torch.Tensor) -> torch.Tensor:
    """x in the dtype of arithmetic with it."""
    return x if x.dtype in WIDE else x.float()


def network_precision(config: GeneratorConfig | Stylegan3Config | DiscriminatorConfig) -> str:
    """The setting `precision` of a network's blocks: that of the config, but auto means float32 if
    nothing clamps the activations. float16 holds numbers up to 65504 only, and the papers rely on
    the clamp instead of scaling the loss (arXiv:2006.06676, appendix D)."""
    if config.precision == "auto" and config.conv_clamp is None:
        return "float32"
    return config.precision


def check_default_dtype() -> None:
    """Raises: UserError if new networks would have weights that are too coarse to train."""
    default = torch.get_default_dtype()
    if default not in WIDE:
        raise UserError(
            "default dtype",
            f"training needs float32 or float64, not {str(default).removeprefix('torch.')}; "
            "torch.set_default_dtype(torch.float32) sets it",
        )


def block_dtype(
    device: torch.device, low_precision: bool, precision: str, weight: torch.Tensor | None = None
) -> torch.dtype:
    """The dtype that a block runs in on `device`.

    Args:
        low_precision: whether it is one of the blocks that run in `precision`; others are float32.
        precision: a key of PRECISION, or auto: float16 on CUDA, float32 elsewhere.
        weight: of the block; one of float64 makes everything float64.
    """
    if weight is not None and weight.dtype == torch.float64:
        return torch.float64
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


def own_precision(forward: Forward) -> Forward:
    """A decorator for the forward of a network, which chooses its dtypes itself: torch.autocast is
    off inside."""

    @functools.wraps(forward)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            if isinstance(value, torch.Tensor):
                device = value.device.type
                if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
                    with torch.autocast(device, enabled=False):
                        return forward(self, *args, **kwargs)
                break
        return forward(self, *args, **kwargs)

    return run  # type: ignore[return-value]
