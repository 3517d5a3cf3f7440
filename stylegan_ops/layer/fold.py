# SPDX-License-Identifier: Apache-2.0
"""What depends on the weight of a layer alone, and computing that once."""

from __future__ import annotations

import torch

from stylegan_ops.layer import winograd
from stylegan_ops.layer.choose import WINOGRAD_FORMS, convolved_size, supports_winograd
from stylegan_ops.layer.records import FoldedWeight, Stored
from stylegan_ops.runtime.images import Padding
from stylegan_ops.runtime.numbers import as_int

EPS = 1e-8  # added to the sum of squares before the reciprocal root
MAX_FOLDED_TIME = 0.92  # of oneDNN's, for a transformed weight of two to four times the memory


def fold_weight(
    weight: torch.Tensor,
    dtype: torch.dtype = torch.float32,
    up: int = 1,
    memory_format: torch.memory_format = torch.channels_last,
    size: tuple[int, int] | None = None,
    flip_weight: bool = True,
    padding: Padding = 1,
) -> FoldedWeight:
    """Prepare a weight that does not change any more for `modulated_conv2d`, which takes it in
    place of the weight, without a gradient: the same results, for fewer passes over it.

    Args:
        weight: [O, I, kh, kw].
        dtype: of the images.
        up, flip_weight, padding: as `modulated_conv2d`: an up-sampling convolution takes its weight
            in another order; padding matters to what is transformed.
        memory_format: of the images.
        size: (H, W) of the images, or None if unknown. If known, a 3x3 weight for float32 on a CPU
            is transformed too if that saves much (small images), in 2 to 4 times its memory.
    Returns: `FoldedWeight`. On a CPU, two cores, [512, 512, 3, 3] then costs 0.6 to 1.6 ms less a
        call, 2 ms less again if transformed.
    """
    up = as_int(up, "fold_weight: up")
    wide = torch.float64 if torch.float64 in (dtype, weight.dtype) else torch.float32
    weight, tiles = weight.detach().to(wide), None
    if size is not None and up in WINOGRAD_FORMS:
        x = weight.new_empty(1, dtype=dtype).expand(1, weight.shape[1], *size)
        if supports_winograd(x, weight, up, 1, padding):
            form = _form_worth_folding(weight, convolved_size(x, up, padding), up)
            if form is not None:
                tiles = winograd.tiles(weight, form, flip_weight == (up > 1))
    if tiles is None:  # else the weight itself is hardly ever used: not a second copy
        weight = weight.transpose(0, 1) if up > 1 else weight
        weight = weight.contiguous(memory_format=memory_format)
        weight = weight.transpose(0, 1) if up > 1 else weight
    stored = stored_as(weight, dtype)
    return FoldedWeight(weight, squares_of(weight), stored.weight, stored.size, tiles)


def _form_worth_folding(weight: torch.Tensor, size: tuple[int, int], up: int) -> str | None:
    channels = weight.shape[1], weight.shape[0]
    form = winograd.best_form(
        WINOGRAD_FORMS[up], 1, channels, size, folded=True, below=MAX_FOLDED_TIME
    )
    return form if form and winograd.worth_folding(form, channels, size) else None


def stored_as(weight: torch.Tensor, dtype: torch.dtype) -> Stored:
    """The weight in a dtype. float16 ends at 65504: images times weights may pass that although the
    normalised result does not. So there it is divided by a size, a constant that cancels exactly;
    no gradient flows through it."""
    if dtype != torch.float16:
        return Stored(weight.to(dtype), None)
    fan_in = weight[0].numel()
    size = weight.detach().abs().amax(dim=[1, 2, 3]).clamp_min(EPS) * fan_in**0.5
    return Stored((weight / size[:, None, None, None]).to(dtype), size)


def squares_of(weight: torch.Tensor) -> torch.Tensor:
    """[O, I, kh, kw] -> [O, I]: sums of squares over kh, kw."""
    return weight.square().sum(dim=[2, 3])
