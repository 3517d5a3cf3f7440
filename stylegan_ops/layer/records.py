# SPDX-License-Identifier: Apache-2.0
"""The values of a modulated layer that travel together."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stylegan_ops.runtime.images import Filter, Padding


@dataclass(frozen=True, slots=True)
class Resampling:
    """How a layer convolves and resamples; as `conv2d_resample`."""

    up: int = 1
    down: int = 1
    padding: Padding = 0
    f: Filter = None
    flip_weight: bool = True


@dataclass(frozen=True, slots=True)
class Epilogue:
    """What follows the convolution and the noise; as `bias_act`."""

    bias: torch.Tensor | None = None
    act: str = "linear"
    alpha: float | None = None
    gain: float | None = None
    clamp: float | None = None


@dataclass(frozen=True, slots=True)
class Tiles:
    """The weight of one convolution, transformed for minimal filtering; see `winograd.tiles`."""

    u: torch.Tensor
    out_channels: int
    form: str
    flip: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """A weight in the dtype of the images."""

    weight: torch.Tensor  # over `size`
    size: torch.Tensor | None  # [O], or None for 1


@dataclass(frozen=True, slots=True)
class FoldedWeight:
    """A weight with what depends on it alone, computed once; see `fold_weight`."""

    weight: torch.Tensor  # [O, I, kh, kw], in the order of memory that convolutions ask for
    squares: torch.Tensor  # [O, I], sums over kh, kw
    stored: torch.Tensor  # in the dtype of x, over `size`; the weight itself for float32
    size: torch.Tensor | None  # [O], or None for 1
    tiles: Tiles | None  # transformed, or None


@dataclass(frozen=True, slots=True)
class Layer:
    """Everything about a modulated layer but its images; as `modulated_conv2d`."""

    weight: torch.Tensor
    folded: FoldedWeight | None  # of the weight
    styles: torch.Tensor
    demodulate: bool
    resampling: Resampling
    noise: torch.Tensor | None
    epilogue: Epilogue
    layout: torch.memory_format | None  # of the result; None: as it comes
    input_gain: torch.Tensor | None = None  # []
