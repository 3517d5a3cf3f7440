# SPDX-License-Identifier: Apache-2.0
"""FIR filters, and the three special cases of `upfirdn2d`: filter, up-sample, down-sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from stylegan_ops.ops.upfirdn2d import upfirdn2d
from stylegan_ops.runtime.images import (
    Padding,
    down_padding,
    filter_size,
    pad4,
    pair,
    up_padding,
)
from stylegan_ops.runtime.numbers import as_float


def setup_filter(
    f: Any,
    normalize: bool = True,
    flip_filter: bool = False,
    gain: float = 1.0,
    separable: bool | None = None,
) -> torch.Tensor:
    """A FIR filter as the other ops take it.

    Args:
        f: taps as a list, array or tensor, [k] or [kh, kw]; None or a number is one tap.
        normalize: divide by the sum of the taps.
        flip_filter: reverse the taps.
        gain: total factor that the filter puts on an image.
        separable: keep a 1-D filter 1-D; None does so from 8 taps, where two passes are cheaper.
    Returns: float32 [k] (separable) or [kh, kw]; on the CPU unless f is a tensor of another device.
    Raises: ValueError if f has no taps or more than 2 dimensions, or is 2-D and separable is True;
        if taps are not finite, or add up to 0 and shall be normalized.
    Source: Karras et al. 2020 (arXiv:1912.04958), appendix B.
    """
    f = _taps(1.0 if f is None else f)
    if f.ndim == 0:
        f = f[None]
    if f.ndim > 2 or f.numel() == 0:
        raise ValueError(f"setup_filter: f must be [k] or [kh, kw], got shape {list(f.shape)}")
    if separable and f.ndim == 2:
        raise ValueError("setup_filter: separable=True takes a 1-D filter, got a 2-D one")
    if separable is None:
        separable = f.ndim == 1 and f.numel() >= 8
    if f.ndim == 1 and not separable:
        f = torch.outer(f, f)
    if not torch.compiler.is_compiling() and not f.is_meta:
        if not f.isfinite().all():
            raise ValueError("setup_filter: the taps of f must be finite numbers")
        if normalize and f.sum() == 0:
            raise ValueError("setup_filter: the taps of f add up to 0; normalize=False keeps them")
    if normalize:
        f = f / f.sum()
    if flip_filter:
        f = f.flip(list(range(f.ndim)))
    return f * as_float(gain, "setup_filter: gain") ** (f.ndim / 2)


def _taps(f: Any) -> torch.Tensor:
    """float32 taps of what a caller gives."""
    if isinstance(f, (list, tuple)):
        f = [_taps(v) if _is_row(v) else as_float(v, "setup_filter: a tap of f") for v in f]
        if any(isinstance(v, torch.Tensor) for v in f):
            if not all(isinstance(v, torch.Tensor) and v.shape == f[0].shape for v in f):
                raise ValueError("setup_filter: the rows of f are not of one length")
            return torch.stack(f)
    try:
        return torch.as_tensor(f, dtype=torch.float32)
    except (TypeError, ValueError) as e:
        raise ValueError(f"setup_filter: f must be numbers, got {type(f).__name__}") from e


def _is_row(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or len(getattr(value, "shape", ())) > 0


def filter2d(
    x: torch.Tensor,
    f: torch.Tensor | None,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> torch.Tensor:
    """y = f * x at the size of x: `upfirdn2d` without resampling, padded by the filter's width.

    Args: as `upfirdn2d`; padding is relative to the size of x, 0 keeps it.
    Returns: [N, C, H + y0 + y1, W + x0 + x1]; dtype and layout of x.
    Raises: ValueError as `upfirdn2d`.
    """
    (kw, kh), (x0, x1, y0, y1) = filter_size(f), pad4(padding)
    padding = (x0 + kw // 2, x1 + (kw - 1) // 2, y0 + kh // 2, y1 + (kh - 1) // 2)
    return upfirdn2d(x, f, padding=padding, flip_filter=flip_filter, gain=gain)


def upsample2d(
    x: torch.Tensor,
    f: torch.Tensor | None,
    up: int | Sequence[int] = 2,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> torch.Tensor:
    """y = f * zero_insert(x, up) * up_x * up_y * gain: `up` times as large, of the same brightness.

    Args: as `upfirdn2d`; padding is relative to the enlarged image, 0 gives exactly `up` times the
        size.
    Returns: [N, C, H*up + y0 + y1, W*up + x0 + x1]; dtype and layout of x.
    Raises: ValueError as `upfirdn2d`.
    """
    ux, uy = up = pair(up, "up")
    padding = up_padding(padding, filter_size(f), up)
    return upfirdn2d(
        x,
        f,
        up=up,
        padding=padding,
        flip_filter=flip_filter,
        gain=as_float(gain, "upsample2d: gain") * ux * uy,
    )


def downsample2d(
    x: torch.Tensor,
    f: torch.Tensor | None,
    down: int | Sequence[int] = 2,
    padding: Padding = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> torch.Tensor:
    """y = keep_every(down, f * x) * gain: `down` times as small.

    Args: as `upfirdn2d`; padding is relative to x, 0 gives the size of x divided by `down`.
    Returns: [N, C, (H + y0 + y1) // down, (W + x0 + x1) // down]; dtype and layout of x.
    Raises: ValueError as `upfirdn2d`.
    """
    down = pair(down, "down")
    padding = down_padding(padding, filter_size(f), down)
    return upfirdn2d(x, f, down=down, padding=padding, flip_filter=flip_filter, gain=gain)
