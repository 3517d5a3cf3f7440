# SPDX-License-Identifier: Apache-2.0
"""Layers with equalized learning rate, on which generator and discriminator are built.

Source: Karras et al. 2018 (arXiv:1710.10196), section 4.1: weights are drawn from N(0, 1) and
scaled at run time by 1/sqrt(fan_in), so that Adam's step is of the same relative size in every
layer.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from stylegan.models.fold import Constant
from stylegan_ops import bias_act, conv2d_resample, setup_filter
from stylegan_ops.bias_act import ACTIVATIONS


class EqualLinear(nn.Module):
    """y = act(x W^T * lr_mult/sqrt(in) + bias * lr_mult).

    Args:
        in_features, out_features: widths.
        act: an activation of `bias_act`.
        lr_mult: factor on the effective learning rate of the layer.
        bias_init: initial effective bias.
    """

    def __init__(self, in_features, out_features, act="linear", lr_mult=1.0, bias_init=0.0):
        super().__init__()
        self.act, self.lr_mult = act, lr_mult
        self.weight_gain = lr_mult / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.randn(out_features, in_features).div_(lr_mult))
        self.bias = nn.Parameter(torch.full([out_features], bias_init / lr_mult))
        self.folded = None

    def forward(self, x):
        """x [N, in] -> [N, out], float32."""
        weight, bias = self._constant() or self.effective()
        if self.act == "linear":
            return F.linear(x, weight, bias)
        return bias_act(F.linear(x, weight), bias, act=self.act)

    def effective(self):
        """Weight and bias, scaled."""
        bias = self.bias if self.lr_mult == 1 else self.bias * self.lr_mult
        return self.weight * self.weight_gain, bias

    def _constant(self):
        return self.folded and self.folded.get(self.weight, self.bias)

    def fold(self, dtype):
        """See `fold_constants`."""
        if not self._constant():
            self.folded = Constant(self.effective(), self.weight, self.bias)


class EqualConv2d(nn.Module):
    """y = act(conv2d_resample(x, W/sqrt(I*k*k)) + bias) * gain, clamped.

    Args:
        in_channels, out_channels, kernel: sizes; the padding keeps the size of the image.
        act: an activation of `bias_act`.
        up, down: resampling factors.
        resample_filter: taps of the low-pass filter that goes with them.
        clamp: largest magnitude of the result, or None.
        bias: whether there is one.
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel,
        act="linear",
        up=1,
        down=1,
        resample_filter=(1, 3, 3, 1),
        clamp=None,
        bias=True,
    ):
        super().__init__()
        self.act, self.up, self.down, self.clamp = act, up, down, clamp
        self.padding = kernel // 2
        self.weight_gain = 1 / math.sqrt(in_channels * kernel**2)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        register_filter(self, resample_filter if max(up, down) > 1 else None)

    def forward(self, x, gain=1.0):
        """x [N, I, H, W] -> [N, O, H*up/down, W*up/down], dtype of x."""
        weight = (self.weight * self.weight_gain).to(x.dtype)
        x = conv2d_resample(
            x, weight, self.filter, self.up, self.down, self.padding, flip_weight=self.up == 1
        )
        clamp = None if self.clamp is None else self.clamp * gain
        gain = gain * ACTIVATIONS[self.act].gain
        return bias_act(x, self.bias, act=self.act, gain=gain, clamp=clamp)


NOISE_MODES = ("const", "random", "none")


def check_ws(synthesis, ws, noise_mode):
    """Raises: ValueError if ws is not [N, num_ws, w_dim] of a synthesis network, or there is no
    such noise mode."""
    if ws.ndim != 3 or ws.shape[1:] != (synthesis.num_ws, synthesis.w_dim):
        wanted = f"[N, {synthesis.num_ws}, {synthesis.w_dim}]"
        raise ValueError(f"ws: expected {wanted}, got shape {list(ws.shape)}")
    if noise_mode not in NOISE_MODES:
        raise ValueError(
            f"noise_mode: expected one of {', '.join(NOISE_MODES)}, got {noise_mode!r}"
        )


class MinibatchStd(nn.Module):
    """Appends the standard deviation over groups of the batch as channels, so that D sees variety.

    Source: Karras et al. 2018 (arXiv:1710.10196), section 3.

    Args:
        group: samples per group (their largest divisor of the batch up to this); None is the batch.
        channels: channels appended, each the mean over its share of the features and all pixels.
    """

    def __init__(self, group, channels=1):
        super().__init__()
        self.group, self.channels = group, channels

    def forward(self, x):
        """x [N, C, H, W] -> [N, C + channels, H, W]."""
        n, c, h, w = x.shape
        group = n if self.group is None else min(self.group, n)
        group = next(g for g in range(group, 0, -1) if n % g == 0)
        # Sample m * (n / group) + j is the m-th member of group j.
        y = x.reshape(group, n // group, self.channels, c // self.channels, h, w)
        y = (y.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=[2, 3, 4])
        y = y.repeat(group, 1)[:, :, None, None].expand(n, self.channels, h, w)
        return torch.cat([x, y], dim=1)


def register_filter(module, taps):
    """`module.filter`: the FIR filter of `taps`, or None. A constant of the config, so not in the
    state."""
    filter = taps and from_cpu(lambda: setup_filter(taps))
    module.register_buffer("filter", filter, persistent=False)


def from_cpu(make):
    """make(), computed on the CPU, on the device that networks are being built on; arithmetic on
    the meta device would load torch's compiler for it, a second."""
    with torch.device("cpu"):
        value = make()
    return value.to(torch.empty(0).device)


def normalize_2nd_moment(x):
    """x / sqrt(mean(x^2) + 1e-8) over dimension 1 (pixel norm of a vector)."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
