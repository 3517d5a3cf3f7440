# SPDX-License-Identifier: Apache-2.0
"""What callers of a pipeline give it, in any form, as numbers and tensors of the pipeline's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from stylegan.config.numbers import as_float, as_int
from stylegan.errors import UserError
from stylegan.words import shown

MAX_SEED = 2**32

Seeds = int | Iterable[int]  # of any library
Numbers = torch.Tensor | np.ndarray | Sequence[Any]


def seeds_of(seeds: Any, subject: str = "seeds") -> list[int]:
    """A list of seeds.

    Args:
        seeds: an integer, or integers in a list, range, generator, array or tensor.
        subject: the argument, for errors.
    Raises: UserError for anything else, for an empty list and for a seed out of range.
    """
    try:
        found = _integers(seeds)
    except (TypeError, ValueError) as e:
        raise UserError(
            subject, f"expected an integer, or a list of integers, got {shown(seeds)}"
        ) from e
    if not found:
        raise UserError(subject, "expected at least one, got none")
    for seed in found:
        if not 0 <= seed < MAX_SEED:
            raise UserError("seed", f"expected an integer from 0 to 2^32 - 1, got {seed}")
    return found


def _integers(value: Any) -> list[int]:
    """One integer, or those of anything that holds several. Raises: TypeError."""
    if isinstance(value, (str, bytes)):
        raise TypeError("expected integers, got text")
    single = not isinstance(value, Iterable) or getattr(value, "shape", None) == ()
    return [as_int(v) for v in ([value] if single else value)]


def count_of(value: Any, subject: str, minimum: int) -> int:
    """An integer from `minimum` on. Raises: UserError."""
    try:
        number = as_int(value)
    except (TypeError, ValueError) as e:
        raise UserError(subject, f"expected an integer, got {shown(value)}") from e
    if number < minimum:
        raise UserError(subject, f"expected {minimum} or more, got {number}")
    return number


def number_of(value: Any, subject: str) -> float:
    """A finite number. Raises: UserError."""
    try:
        return as_float(value)
    except (TypeError, ValueError, RuntimeError) as e:
        raise UserError(subject, f"expected a finite number, got {shown(value)}") from e


def layers_of(layers: Iterable[int], num_ws: int) -> list[int]:
    """Indices into ws in order, each once. Raises: UserError for a layer that does not exist."""
    try:
        indices = sorted(set(_integers(layers)))
    except (TypeError, ValueError):
        indices = []
    if not indices or indices[0] < 0 or indices[-1] >= num_ws:
        wrong = [i for i in indices if not 0 <= i < num_ws]
        got = wrong[:3] or shown(layers)
        raise UserError("layers", f"expected numbers from 0 to {num_ws - 1}, got {got}")
    return indices


def rows_of(
    value: Numbers | None, subject: str, item: Sequence[int], dtype: torch.dtype
) -> torch.Tensor:
    """A copy of latents or ws, [N, *item]; one of them counts as a list of one.

    Raises: UserError that names the shape that is expected.
    """
    shape = f"[N, {', '.join(map(str, item))}]"
    x = floats_of(value, subject, f"numbers of shape {shape}", dtype)
    if list(x.shape) == list(item):
        x = x[None]
    if list(x.shape[1:]) != list(item) or not len(x):
        raise UserError(subject, f"expected {shape}, got {list(x.shape)}")
    return x


def floats_of(
    value: Any, subject: str, expected: str, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """A copy of real, finite numbers as an ordinary tensor, which shares nothing with `value`.

    Args:
        value: a tensor, an array or nested lists of numbers; a tensor stays on its device.
        subject, expected: the argument and its form, for errors.
        dtype: of the result.
    Raises: UserError for other types, and for numbers that are not finite.
    """
    try:
        tensor = _tensor(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as e:
        raise UserError(subject, f"expected {expected}, got {shown(value)}") from e
    if tensor.is_meta:
        raise UserError(subject, f"expected {expected}, got a tensor without values")
    if tensor.is_complex():
        raise UserError(subject, f"expected real numbers, got {tensor.dtype}")
    with torch.inference_mode(False):
        tensor = tensor.detach().to(dtype).clone(memory_format=torch.contiguous_format)
    if not tensor.isfinite().all():
        raise UserError(subject, "expected finite numbers; some are NaN, infinite or too large")
    return tensor


def _tensor(value: Any) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value if value.layout == torch.strided else value.to_dense()
    if isinstance(value, (list, tuple)) and value:
        if all(isinstance(item, torch.Tensor) for item in value):
            return torch.stack([item.detach() for item in value])
    array = np.asarray(value)
    if array.dtype.kind not in "fiubc":
        raise TypeError(f"numbers cannot be read from {array.dtype}")
    wide = np.complex128 if array.dtype.kind == "c" else np.float64
    return torch.from_numpy(array.astype(wide))
