# SPDX-License-Identifier: Apache-2.0
"""What all ops ask about images and filters: layouts, dtypes, paddings, sizes of masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from stylegan_ops.runtime.numbers import as_int

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
FLOAT16_MAX = torch.finfo(torch.float16).max
MASK_BLOCK = 512  # elements of y whose bits lie together; mask_plane_bytes() in csrc

Filter = torch.Tensor | None  # [k] or [kh, kw]; None is a single tap of 1
Pair = tuple[int, int]
Padding = int | Sequence[int]  # int, [x, y] or [x0, x1, y0, y1]
Padding4 = tuple[int, int, int, int]  # (x0, x1, y0, y1)


def memory_format(x: torch.Tensor) -> torch.memory_format:
    """channels_last if x [N, C, H, W] is that and not contiguous, else contiguous."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def is_channels_last(x: torch.Tensor) -> bool:
    """Whether x can be read as channels_last; it may be contiguous as well."""
    return x.is_contiguous(memory_format=torch.channels_last)


def accumulator(x: torch.Tensor) -> torch.dtype:
    """The dtype of arithmetic with x: float64 for float64, else float32."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def empty_mask(x: torch.Tensor, numel: int, planes: int) -> torch.Tensor:
    """An uninitialised mask on the device of x: `planes` bits for each of numel elements."""
    return x.new_empty(planes * mask_bytes(numel), dtype=torch.uint8)


def mask_bytes(numel: int) -> int:
    """Bytes of one bit for each of numel elements, in whole blocks."""
    return (numel + MASK_BLOCK - 1) // MASK_BLOCK * (MASK_BLOCK // 8)


def has_mask(x: torch.Tensor, size: Sequence[int]) -> bool:
    """Whether the kernels can write the mask of y, [N, C, *size] in the layout of x: by whole
    blocks on the CPU, whole bytes on CUDA."""
    return has_mask_in(x, size, memory_format(x) == torch.channels_last)


def has_mask_in(x: torch.Tensor, size: Sequence[int], channels_last: bool) -> bool:
    """The same for a layout of y that the caller names."""
    height, width = size
    run = x.shape[1] if channels_last else 1
    if x.device.type == "cpu":
        return height * width * run % 512 == 0
    return (run if run > 1 else width) % 8 == 0


def is_plane(noise: torch.Tensor, shape: Sequence[int]) -> bool:
    """Whether noise is [N, 1, H, W] or [1, 1, H, W] for images of a shape."""
    return (
        noise.ndim == 4
        and noise.shape[0] in (1, shape[0])
        and noise.shape[1] == 1
        and tuple(noise.shape[2:]) == tuple(shape[2:])
    )


def filter_size(f: Filter) -> Pair:
    """(kw, kh) of a filter; (1, 1) for None."""
    return (1, 1) if f is None else (f.shape[-1], f.shape[0])


def pair(value: int | Sequence[int], name: str, op: str = "upfirdn2d") -> Pair:
    """`value`, an int or [x, y] of factors >= 1, as a tuple (x, y); name and op are for errors."""
    x, y = (value, value) if type(value) is int else _integers(value, f"{op}: {name}", (2,))
    if x < 1 or y < 1:
        raise ValueError(f"{op}: {name} must be >= 1, got {value}")
    return x, y


def pad4(padding: Padding, op: str = "upfirdn2d") -> Padding4:
    """`padding`, an int, [x, y] or [x0, x1, y0, y1], as a tuple of four; op names it in errors."""
    if type(padding) is int:
        return padding, padding, padding, padding
    if type(padding) is tuple and len(padding) == 4:  # as ops pass it on
        x0, x1, y0, y1 = padding
        if type(x0) is type(x1) is type(y0) is type(y1) is int:
            return padding
    values = _integers(padding, f"{op}: padding", (2, 4))
    if len(values) == 2:
        values = (values[0], values[0], values[1], values[1])
    x0, x1, y0, y1 = values
    return x0, x1, y0, y1


def _integers(value: Any, name: str, lengths: Sequence[int]) -> tuple[int, ...]:
    """`value`, an integer or a sequence of some length of them, as a tuple of two or more. Raises:
    ValueError that begins with `name`."""
    single = getattr(value, "shape", None) == () or not hasattr(value, "__len__")
    if single or isinstance(value, (str, bytes, dict, set)):
        return (as_int(value, name),) * max(lengths)
    if len(value) not in lengths:
        forms = "an integer, [x, y] or [x0, x1, y0, y1]" if 4 in lengths else "an integer or [x, y]"
        raise ValueError(f"{name} must be {forms}, got {value}")
    return tuple(as_int(v, name) for v in value)


def up_padding(padding: Padding, size: Pair, up: Pair) -> Padding4:
    """Padding for `upfirdn2d` that keeps the centre of an image enlarged by `up`.

    Args:
        padding: relative to the enlarged image.
        size: (kw, kh) of the filter.
        up: (x, y).
    """
    (kw, kh), (ux, uy), (x0, x1, y0, y1) = size, up, pad4(padding)
    x0, x1 = x0 + (kw + ux - 1) // 2, x1 + (kw - ux) // 2
    return x0, x1, y0 + (kh + uy - 1) // 2, y1 + (kh - uy) // 2


def down_padding(padding: Padding, size: Pair, down: Pair) -> Padding4:
    """Padding for `upfirdn2d` that keeps the centre of an image reduced by `down` (x, y)."""
    (kw, kh), (dx, dy), (x0, x1, y0, y1) = size, down, pad4(padding)
    x0, x1 = x0 + (kw - dx + 1) // 2, x1 + (kw - dx) // 2
    return x0, x1, y0 + (kh - dy + 1) // 2, y1 + (kh - dy) // 2


def total_padding(padding: Padding, f: Filter, up: int, down: int) -> Padding4:
    """`padding` of a convolution with what its resampling filter needs, as `upfirdn2d` takes it."""
    padding = pad4(padding)
    if up > 1:
        padding = up_padding(padding, filter_size(f), (up, up))
    if down > 1:
        padding = down_padding(padding, filter_size(f), (down, down))
    return padding
