# SPDX-License-Identifier: Apache-2.0
"""Layers with equalized learning rate, from which generator and discriminator are built.

Source: Karras et al. 2018 (arXiv:1710.10196), section 4.1. Weights are drawn from N(0, 1) and
scaled at run time by 1/sqrt(fan_in), so that Adam's step has the same relative size in every layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from stylegan.config.describe import network_words
from stylegan.config.numbers import group_count
from stylegan.models.fold import Constant
from stylegan.models.precision import wide
from stylegan_ops import ACTIVATIONS, bias_act, conv2d_resample, setup_filter


class EqualLinear(nn.Module):
    """y = act(x W^T * lr_mult/sqrt(in) + bias * lr_mult).

    Args:
        in_features, out_features: widths.
        act: an activation of `bias_act`.
        lr_mult: factor on the effective learning rate of the layer.
        bias_init: initial effective bias.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        act: str = "linear",
        lr_mult: float = 1.0,
        bias_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.act, self.lr_mult = act, lr_mult
        self.weight_gain = lr_mult / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.randn(out_features, in_features).div_(lr_mult))
        self.bias = nn.Parameter(torch.full([out_features], bias_init / lr_mult))
        self.folded: Constant[tuple[torch.Tensor, torch.Tensor]] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [N, in] -> [N, out], float32; float64 if the weights are."""
        weight, bias = self._constant() or self.effective()
        x = x if x.dtype == weight.dtype else x.to(weight.dtype)
        if self.act == "linear":
            return F.linear(x, weight, bias)
        return bias_act(F.linear(x, weight), bias, act=self.act)

    def extra_repr(self) -> str:
        return f"{weight_words(self.weight)}, act={self.act}"

    def effective(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias, scaled."""
        bias = wide(self.bias)
        return wide(
            self.weight
        ) * self.weight_gain, bias * self.lr_mult if self.lr_mult != 1 else bias

    def _constant(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        return self.folded.get(self.weight, self.bias) if self.folded else None

    def fold(self, dtype: torch.dtype) -> None:
        """See `fold_constants`."""
        if not self._constant():
            self.folded = Constant(self.effective(), self.weight, self.bias)


class EqualConv2d(nn.Module):
    """y = act(conv2d_resample(x, W/sqrt(I*k*k)) + bias) * gain, clamped.

    Args:
        in_channels, out_channels, kernel: sizes; the padding preserves the size of the image.
        act: an activation of `bias_act`.
        up, down: resampling factors.
        resample_filter: taps of the low-pass filter for resampling.
        clamp: maximum magnitude of the result, or None.
        bias: whether to add a bias.
    """

    filter: torch.Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        act: str = "linear",
        up: int = 1,
        down: int = 1,
        resample_filter: Sequence[float] = (1, 3, 3, 1),
        clamp: float | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.act, self.up, self.down, self.clamp = act, up, down, clamp
        self.padding = kernel // 2
        self.weight_gain = 1 / math.sqrt(in_channels * kernel**2)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        register_filter(self, resample_filter if max(up, down) > 1 else None)

    def extra_repr(self) -> str:
        return f"{weight_words(self.weight, self.up, self.down)}, act={self.act}"

    def forward(self, x: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
        """x [N, I, H, W] -> [N, O, H*up/down, W*up/down], dtype of x."""
        weight = (wide(self.weight) * self.weight_gain).to(x.dtype)
        x = conv2d_resample(
            x, weight, self.filter, self.up, self.down, self.padding, flip_weight=self.up == 1
        )
        clamp = None if self.clamp is None else self.clamp * gain
        gain = gain * ACTIVATIONS[self.act].gain
        return bias_act(x, self.bias, act=self.act, gain=gain, clamp=clamp)


NOISE_MODES = ("const", "random", "none")


def check_ws(ws: torch.Tensor, num_ws: int, w_dim: int, noise_mode: str) -> None:
    """Raises: ValueError if ws is not [N, num_ws, w_dim], or the noise mode is unknown."""
    if ws.ndim != 3 or ws.shape[1:] != (num_ws, w_dim):
        wanted = f"[N, {num_ws}, {w_dim}]"
        raise ValueError(f"ws: expected {wanted}, got shape {list(ws.shape)}")
    if noise_mode not in NOISE_MODES:
        raise ValueError(
            f"noise_mode: expected one of {', '.join(NOISE_MODES)}, got {noise_mode!r}"
        )


class MinibatchStd(nn.Module):
    """Appends the standard deviation over groups of the batch as channels, so that D sees how much
    images vary.

    A single image varies from nothing: its statistic is the constant 1e-4, whatever it shows. So D
    is to be asked about several images at once.

    Source: Karras et al. 2018 (arXiv:1710.10196), section 3.

    Args:
        group: samples per group; None: the batch. If it does not divide the batch, groups are of
            about that size, and some have one sample more (`group_count`).
        channels: how many to append; each is the mean over its share of the features and all
            pixels.
    """

    def __init__(self, group: int | None, channels: int = 1) -> None:
        super().__init__()
        self.group, self.channels = group, channels

    def extra_repr(self) -> str:
        return f"group={self.group}, channels={self.channels}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [N, C, H, W] -> [N, C + channels, H, W]."""
        n, c, h, w = x.shape
        if not n:
            return x.new_zeros(0, c + self.channels, h, w)
        groups = group_count(n, self.group)
        size, more = n // groups, n % groups
        # Sample m * groups + j is the m-th member of group j. The first `more` groups have another.
        y = x.reshape(n, self.channels, c // self.channels, h, w)
        members = y[: size * groups].reshape(size, groups, *y.shape[1:])
        if more:
            larger = torch.cat([members[:, :more], y[size * groups :][None]])
            std = torch.cat([_deviation(larger), _deviation(members[:, more:])])
        else:
            std = _deviation(members)
        std = std.repeat(size + (more > 0), 1)[:n, :, None, None]
        return torch.cat([x, std.expand(n, self.channels, h, w)], dim=1)


def _deviation(members: torch.Tensor) -> torch.Tensor:
    """[size, groups, channels, features, H, W] -> [groups, channels]."""
    return (members.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=[2, 3, 4])


def weight_words(weight: torch.Tensor, up: int = 1, down: int = 1) -> str:
    """What `print` shows of a layer: "512, 256, kernel=3, up=2", inputs first."""
    out, into, *kernel = weight.shape
    sizes = [f"{into}, {out}"] + [f"kernel={k}" for k in kernel[:1]]
    sizes += [f"{name}={factor}" for name, factor in (("up", up), ("down", down)) if factor > 1]
    return ", ".join(sizes)


def network_facts(config: Any, *more: str, network: nn.Module) -> str:
    """The first line that `print` shows of a network, above its layers."""
    count = sum(p.numel() for p in network.parameters())
    labels = f"c_dim {config.c_dim}" if config.c_dim else "no labels"
    return ", ".join([network_words(config), *more, labels, f"{count:,} parameters"])


def register_filter(module: nn.Module, taps: Sequence[float] | None) -> None:
    """Set `module.filter` to the FIR filter of `taps`, or None. It follows from the config, so it
    is not in the state."""
    filter = from_cpu(lambda: setup_filter(taps)) if taps else None
    module.register_buffer("filter", filter, persistent=False)


def from_cpu(make: Callable[[], torch.Tensor]) -> torch.Tensor:
    """make(), computed on the CPU and moved to the device on which networks are being built.
    Arithmetic on the meta device would load torch's compiler, which takes a second."""
    with torch.device("cpu"):
        value = make()
    return value.to(torch.empty(0).device)


def normalize_2nd_moment(x: torch.Tensor) -> torch.Tensor:
    """x / sqrt(mean(x^2) + 1e-8) over dimension 1 (pixel norm of a vector)."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
