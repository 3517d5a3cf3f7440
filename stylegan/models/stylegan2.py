# SPDX-License-Identifier: Apache-2.0
"""The synthesis network of StyleGAN2.

Source: Karras et al. 2020 (arXiv:1912.04958), figures 2 and 7. Parameters and buffers have the
names of the public checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn as nn

from stylegan.config import GeneratorConfig
from stylegan.models.fold import Constant, fold_modulated
from stylegan.models.layers import (
    EqualConv2d,
    EqualLinear,
    check_ws,
    register_filter,
    weight_words,
)
from stylegan.models.precision import (
    block_dtype,
    block_format,
    network_precision,
    own_precision,
    wide,
    wide_dtype,
)
from stylegan.models.sizes import blocks_of, channels_of
from stylegan.words import pixels
from stylegan_ops import ACTIVATIONS, modulated_conv2d, upsample2d


class Synthesis(nn.Module):
    """ws [N, num_ws, w_dim] -> images [N, channels, H, W]."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        sizes = blocks_of(config)
        self.w_dim, self.num_ws = config.w_dim, 2 * len(sizes)
        self.resolutions = list(sizes)
        for i, (nominal, size) in enumerate(sizes.items()):
            last = i == len(sizes) - 1
            low = i >= len(sizes) - config.low_precision_blocks
            before = channels_of(nominal // 2, config) if i else 0
            block = SynthesisBlock(before, channels_of(nominal, config), size, config, last, low)
            setattr(self, f"b{nominal}", block)

    @own_precision
    def forward(
        self,
        ws: torch.Tensor,
        noise_mode: str = "const",
        generator: torch.Generator | None = None,
        update_emas: bool = False,
    ) -> torch.Tensor:
        """Images of ws.

        Args:
            ws: [N, num_ws, w_dim].
            noise_mode, generator: as in `Generator.forward`.
            update_emas: no effect; StyleGAN3 has running means.
        Returns: [N, channels, H, W] float32; float64 if the weights are.
        Raises: ValueError if ws or noise_mode does not fit.
        """
        check_ws(ws, self.num_ws, self.w_dim, noise_mode)
        x: Any = None
        img: Any = None
        first: Any = self.b4
        ws = ws.to(wide_dtype(first.const))
        at = 0
        for nominal in self.resolutions:
            block = getattr(self, f"b{nominal}")
            x, img = block(x, img, ws[:, at:].unbind(dim=1), noise_mode, generator)
            at += block.num_conv  # torgb and the next block's first convolution share a w
        return img


class SynthesisBlock(nn.Module):
    """One resolution: constant or upsampling convolution, convolution, image."""

    filter: torch.Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: tuple[int, int],
        config: GeneratorConfig,
        last: bool,
        low_precision: bool,
    ) -> None:
        super().__init__()
        self.architecture = config.architecture
        self.low_precision, self.precision = low_precision, network_precision(config)
        self.num_conv = 2 if in_channels else 1
        register_filter(self, config.resample_filter)
        if in_channels:
            self.conv0 = SynthesisLayer(in_channels, out_channels, size, config, up=2)
        else:
            self.const = nn.Parameter(torch.randn(out_channels, *size))
        self.conv1 = SynthesisLayer(out_channels, out_channels, size, config)
        if last or config.architecture == "skip":
            self.torgb = ToRGB(out_channels, config)
        if in_channels and config.architecture == "resnet":
            self.skip = EqualConv2d(
                in_channels,
                out_channels,
                1,
                up=2,
                resample_filter=config.resample_filter,
                bias=False,
            )

    def forward(
        self,
        x: torch.Tensor | None,
        img: torch.Tensor | None,
        ws: Sequence[torch.Tensor],
        noise_mode: str,
        generator: torch.Generator | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        dtype = self.dtype_on(ws[0].device)
        layout = block_format(ws[0].device, dtype)
        if x is None:
            x = self.const.expand(ws[0].shape[0], -1, -1, -1)
        x = x.to(dtype=dtype, memory_format=layout)
        if self.num_conv == 1:
            x = self.conv1(x, ws[0], noise_mode, generator)
        elif self.architecture == "resnet":
            y = self.skip(x, gain=math.sqrt(0.5))
            x = self.conv0(x, ws[0], noise_mode, generator)
            x = y + self.conv1(x, ws[1], noise_mode, generator, gain=math.sqrt(0.5))
        else:
            x = self.conv0(x, ws[0], noise_mode, generator)
            x = self.conv1(x, ws[1], noise_mode, generator)
        if img is not None:
            img = upsample2d(img, self.filter)
        if hasattr(self, "torgb"):
            y = wide(self.torgb(x, ws[self.num_conv]))
            img = y if img is None else img + y
        return x, img

    def dtype_on(self, device: torch.device) -> torch.dtype:
        """The dtype in which it runs."""
        return block_dtype(device, self.low_precision, self.precision, self.conv1.weight)

    def image_bytes(self, device: torch.device) -> int:
        """Bytes of its largest tensor for one image, plus the weights, which an image may need a
        copy of."""
        weight, (height, width) = self.conv1.weight, self.conv1.size
        features = len(weight) * height * width * self.dtype_on(device).itemsize
        return features + 4 * (self.conv0.weight.numel() if self.num_conv > 1 else 0)


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, lrelu."""

    noise_const: torch.Tensor
    filter: torch.Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: tuple[int, int],
        config: GeneratorConfig,
        up: int = 1,
    ) -> None:
        super().__init__()
        self.up, self.clamp, self.size = up, config.conv_clamp, size
        self.affine = EqualLinear(config.w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.use_noise = config.use_noise
        if config.use_noise:
            self.noise_strength = nn.Parameter(torch.zeros(1))
            self.register_buffer("noise_const", torch.randn(size))
        register_filter(self, config.resample_filter if up > 1 else None)
        self.folded: Constant[Any] | None = None
        self.folded_noise: Constant[torch.Tensor] | None = None

    def forward(
        self,
        x: torch.Tensor,
        w: torch.Tensor,
        noise_mode: str,
        generator: torch.Generator | None = None,
        gain: float = 1.0,
    ) -> torch.Tensor:
        noise = self._noise(x, noise_mode, generator) if self.use_noise else None
        return modulated_conv2d(
            x,
            self.folded and self.folded.get(self.weight) or wide(self.weight),
            self.affine(w),
            noise,
            up=self.up,
            padding=1,
            resample_filter=self.filter,
            flip_weight=self.up == 1,
            bias=wide(self.bias),
            act="lrelu",
            gain=gain * ACTIVATIONS["lrelu"].gain,
            clamp=None if self.clamp is None else self.clamp * gain,
        )

    def _noise(
        self, x: torch.Tensor, mode: str, generator: torch.Generator | None
    ) -> torch.Tensor | None:
        """[1 or N, 1, H, W], or None."""
        if mode == "none":
            return None
        if mode == "const":
            sources = self.noise_const, self.noise_strength
            if self.folded_noise and (noise := self.folded_noise.get(*sources)) is not None:
                return noise
            noise = wide(self.noise_const)[None, None]
        else:
            device = x.device if generator is None else generator.device
            shape = (x.shape[0], 1, *self.size)
            noise = torch.randn(shape, generator=generator, device=device).to(x.device)
        return noise * wide(self.noise_strength)

    def extra_repr(self) -> str:
        noise = ", noise" if self.use_noise else ""
        return f"{weight_words(self.weight, self.up)}, {pixels(self.size)} px{noise}"

    def fold(self, dtype: torch.dtype) -> None:
        """See `fold_constants`."""
        size = [n // self.up for n in self.size]
        fold_modulated(self, dtype, up=self.up, size=size, flip_weight=self.up == 1)
        if self.use_noise:
            noise: Any = self._noise(self.weight, "const", None)
            self.folded_noise = Constant(noise, self.noise_const, self.noise_strength)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to image channels, without demodulation."""

    def __init__(self, in_channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.clamp, self.styles_gain = config.conv_clamp, 1 / math.sqrt(in_channels)
        self.affine = EqualLinear(config.w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(config.channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(config.channels))
        self.folded: Constant[Any] | None = None

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        styles = self.affine(w) * self.styles_gain
        weight = self.folded and self.folded.get(self.weight) or wide(self.weight)
        bias = wide(self.bias)
        return modulated_conv2d(x, weight, styles, demodulate=False, bias=bias, clamp=self.clamp)

    def extra_repr(self) -> str:
        return weight_words(self.weight)

    def fold(self, dtype: torch.dtype) -> None:
        """See `fold_constants`."""
        fold_modulated(self, dtype)
