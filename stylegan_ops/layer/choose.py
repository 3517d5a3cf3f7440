# SPDX-License-Identifier: Apache-2.0
"""Which strategies may compute a modulated layer, and which of them may be the fastest."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stylegan_ops.layer import tensor_core_layer, winograd
from stylegan_ops.layer.records import Epilogue, FoldedWeight, Layer, Resampling
from stylegan_ops.runtime import dispatch, plan
from stylegan_ops.runtime.activation import PIECEWISE
from stylegan_ops.runtime.images import Padding, is_channels_last, pad4
from stylegan_ops.runtime.registration import wants_gradient

MIN_SAMPLE = 1 << 19  # elements of y of a sample: 2 MiB of float32, more than caches hold
MIN_PIXELS_PER_CHANNEL = 4  # of the image for each output channel
WINOGRAD_FORMS = {1: ("tile2", "tile4"), 2: ("up",)}  # by up


@dataclass(frozen=True, slots=True)
class Candidates:
    """The strategies that can compute a call."""

    names: tuple[str, ...]  # those that may be the fastest, the rule's choice first
    others: tuple[str, ...]  # those that work too


@dataclass(frozen=True, slots=True)
class Choice:
    """The strategy to run, or None and those to measure."""

    strategy: str | None
    candidates: tuple[str, ...] = ()


def choose(op: str, x: torch.Tensor, layer: Layer) -> Choice:
    """The strategy of `op` for a layer.

    Raises: RuntimeError in mode "native" if no kernel is loaded.
    """
    tensors = layer.weight, layer.styles, layer.noise, layer.epilogue.bias, layer.input_gain
    if dispatch.kernel(op, x, *tensors) is None:
        return Choice("weights" if x.shape[0] == 1 else "sandwich")
    wanted = wants_gradient(x, *tensors)
    weight = layer.weight if layer.folded is None else layer.folded
    found = candidates(x, weight, layer.resampling, layer.epilogue, layer.noise, wanted)
    return Choice(plan.settled(found.names, found.others, x.device, wanted), found.names)


def candidates(
    x: torch.Tensor,
    weight: torch.Tensor | FoldedWeight,
    resampling: Resampling | None = None,
    epilogue: Epilogue | None = None,
    noise: torch.Tensor | None = None,
    differentiable: bool = False,
) -> Candidates:
    """The strategies for a call of `modulated_conv2d`.

    Two CPU cores (Zen 5), float32, ms of "weights", "sandwich" at batch 1: 3.4, 2.8 at 4 px, 25.2,
    29.4 at 512 px; "samples", "sandwich" at batch 8: 143, 111 at 64 px, 205, 221 at 512 px, with
    temporaries of one sample. `benchmarks/bench_modconv.py` repeats it.
    """
    resampling, epilogue = resampling or Resampling(), epilogue or Epilogue()
    folded = weight if isinstance(weight, FoldedWeight) else None
    weight = weight.weight if isinstance(weight, FoldedWeight) else weight
    fused = not differentiable and x.shape[0] > 0 and epilogue.act in PIECEWISE
    fused = fused and _is_per_sample(noise, x.shape[0])
    names = _by_channels(x, weight, resampling.up, fused)
    others: tuple[str, ...] = ("weights", "sandwich")
    forced = plan.is_forced("tensor_core_layer")
    if fused and x.device.type == "cuda" and (forced or tensor_core_layer.wins(x.device)):
        if tensor_core_layer.supports(x, weight, resampling, epilogue.act, noise):
            names = names if forced else ("tensor_core_layer", *names)
            others += ("tensor_core_layer",)
    up, padding = resampling.up, resampling.padding
    if fused and supports_winograd(x, weight, up, resampling.down, padding):
        others += ("winograd",)
        tiles = folded.tiles if folded else None
        if tiles is None and torch.compiler.is_compiling():
            return Candidates(names, others)  # it would transform the weight in each call
        forms = WINOGRAD_FORMS[up] if tiles is None else (tiles.form,)
        if winograd_form(x, weight, up, padding, forms, tiles is not None) is not None:
            names = ("winograd", *names)
    return Candidates(names, others)


def _by_channels(x: torch.Tensor, weight: torch.Tensor, up: int, fused: bool) -> tuple[str, ...]:
    """The strategies that scale channels and convolve as PyTorch does."""
    n, _, h, w = x.shape
    if n == 1:
        # Scaling the weights is three passes over them, scaling the image two over it.
        large = h * w >= MIN_PIXELS_PER_CHANNEL * weight.shape[0]
        return ("weights", "sandwich") if large else ("sandwich", "weights")
    if x.device.type != "cpu":
        return ("sandwich", "weights")
    if not fused or torch.compiler.is_compiling():
        return ("sandwich",)
    large = h * w * up**2 * weight.shape[0] >= MIN_SAMPLE
    return ("samples", "sandwich") if large else ("sandwich", "samples")


def _is_per_sample(noise: torch.Tensor | None, n: int) -> bool:
    return noise is None or (noise.ndim == 4 and noise.shape[0] in (1, n) and noise.shape[1] == 1)


def supports_winograd(
    x: torch.Tensor, weight: torch.Tensor, up: int, down: int, padding: Padding
) -> bool:
    """Whether the strategy "winograd" can compute a call."""
    x0, x1, y0, y1 = pad4(padding)
    return (
        up in WINOGRAD_FORMS
        and down == 1
        and (up > 1 or (x0 == x1 >= 0 and y0 == y1 >= 0))
        and winograd.supports(x, weight)
        and min(convolved_size(x, up, padding)) > 0
    )


def winograd_form(
    x: torch.Tensor,
    weight: torch.Tensor,
    up: int,
    padding: Padding,
    forms: tuple[str, ...],
    folded: bool = False,
) -> str | None:
    """The fastest of some forms, or None if a direct convolution is faster; folded: whether the
    weights are transformed already."""
    size, channels = convolved_size(x, up, padding), (weight.shape[1], weight.shape[0])
    return winograd.best_form(forms, x.shape[0], channels, size, folded, is_channels_last(x))


def convolved_size(x: torch.Tensor, up: int, padding: Padding) -> tuple[int, int]:
    """(H, W) of what a 3x3 convolution makes of x, before a filter; the same padding all around."""
    x0, _, y0, _ = pad4(padding)
    height, width = winograd.out_size(x.shape[2:], WINOGRAD_FORMS[up][0], (y0, x0))
    return height, width
