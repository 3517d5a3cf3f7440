# SPDX-License-Identifier: Apache-2.0
"""The discriminator of StyleGAN2.

Source: Karras et al. 2020 (arXiv:1912.04958), figure 7; conditional logits by projection, Miyato
and Koyama 2018 (arXiv:1802.05637). Parameters have the names of the public checkpoints.
"""

from __future__ import annotations

import math

import torch
import torch.nn as nn

from stylegan.config import DiscriminatorConfig
from stylegan.errors import UserError
from stylegan.models.layers import (
    EqualConv2d,
    EqualLinear,
    MinibatchStd,
    network_facts,
    register_filter,
)
from stylegan.models.mapping import Mapping
from stylegan.models.precision import block_dtype, block_format, own_precision, wide_dtype
from stylegan.models.sizes import blocks_of, channels_of
from stylegan.models.wrapped import accept_wrapped_names
from stylegan.words import shown
from stylegan_ops import downsample2d


class Discriminator(nn.Module):
    """D(img, c) -> logits, large for images that look real. Attributes: config, c_dim.

    Args: config: with channel_base set.
    Raises: UserError if its sizes do not fit each other.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config, self.c_dim = config, config.c_dim
        sizes = blocks_of(config)
        self.resolution = tuple(config.resolution)
        self.resolutions = list(sizes)[:0:-1]  # from the image down to nominal 8
        for i, nominal in enumerate(self.resolutions):
            low = i < config.low_precision_blocks
            block = DiscriminatorBlock(nominal, config, first=i == 0, low_precision=low)
            setattr(self, f"b{nominal}", block)
        self.cmap_dim = channels_of(4, config) if config.c_dim else 0
        if config.c_dim:
            self.mapping = Mapping(0, config.c_dim, self.cmap_dim, None, config.mapping_layers)
        self.b4 = Epilogue(sizes[4], config, self.cmap_dim or 1)
        accept_wrapped_names(self)

    def extra_repr(self) -> str:
        return network_facts(self.config, self.config.architecture, network=self)

    @own_precision
    def forward(self, img: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
        """Logits of images. They depend a little on the other images of the batch, by how much
        these vary (`MinibatchStd`).

        Args:
            img: [N, channels, H, W], any floating dtype, in about [-1, 1].
            c: [N, c_dim], one-hot; None for an unconditional network.
        Returns: [N, 1] float32; float64 if the weights are.
        Raises: ValueError if img or c does not fit the network.
        """
        expected = (self.config.channels, *self.resolution)
        if not isinstance(img, torch.Tensor):
            raise ValueError(f"img: expected a tensor [N, C, H, W], got {shown(img)}")
        if img.ndim != 4 or img.shape[1:] != expected:
            raise ValueError(f"img: expected [N, {str(expected)[1:-1]}], got {list(img.shape)}")
        if not img.is_floating_point():
            raise ValueError(f"img: expected numbers in about [-1, 1], got {img.dtype}")
        if not self.c_dim and c is not None and c.shape[-1]:
            raise ValueError(f"c: this network takes no label, got shape {list(c.shape)}")
        x, img = None, img.to(wide_dtype(self.b4.conv.weight))
        for nominal in self.resolutions:
            x, img = getattr(self, f"b{nominal}")(x, img)
        out = self.b4(x, img)
        if self.c_dim:
            cmap = self.mapping(None, c)
            out = (out * cmap).sum(dim=1, keepdim=True) / math.sqrt(self.cmap_dim)
        return out


class DiscriminatorBlock(nn.Module):
    """One resolution: convolution, downsampling convolution."""

    filter: torch.Tensor

    def __init__(
        self, nominal: int, config: DiscriminatorConfig, first: bool, low_precision: bool
    ) -> None:
        super().__init__()
        self.architecture, self.precision = config.architecture, config.precision
        self.low_precision = low_precision
        channels, after = channels_of(nominal, config), channels_of(nominal // 2, config)
        taps, clamp = config.resample_filter, config.conv_clamp
        register_filter(self, taps)
        if first or config.architecture == "skip":
            self.fromrgb = EqualConv2d(config.channels, channels, 1, act="lrelu", clamp=clamp)
        self.conv0 = EqualConv2d(channels, channels, 3, act="lrelu", clamp=clamp)
        self.conv1 = EqualConv2d(
            channels, after, 3, act="lrelu", down=2, resample_filter=taps, clamp=clamp
        )
        if config.architecture == "resnet":
            self.skip = EqualConv2d(channels, after, 1, down=2, resample_filter=taps, bias=False)

    def forward(
        self, x: torch.Tensor | None, img: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        dtype = block_dtype(img.device, self.low_precision, self.precision, self.conv0.weight)
        layout = block_format(img.device, dtype)
        if x is not None:
            x = x.to(dtype=dtype, memory_format=layout)
        if hasattr(self, "fromrgb"):
            y = self.fromrgb(img.to(dtype=dtype, memory_format=layout))
            x = y if x is None else x + y
        if self.architecture == "skip":
            img = downsample2d(img, self.filter)
        if self.architecture == "resnet":
            y = self.skip(x, gain=math.sqrt(0.5))
            x = y + self.conv1(self.conv0(x), gain=math.sqrt(0.5))
        else:
            x = self.conv1(self.conv0(x))
        return x, img


class Epilogue(nn.Module):
    """The smallest resolution, in float32: minibatch standard deviation, convolution, two dense
    layers."""

    def __init__(
        self, size: tuple[int, int], config: DiscriminatorConfig, out_features: int
    ) -> None:
        super().__init__()
        channels, appended = channels_of(4, config), config.mbstd_channels
        if appended < 0 or appended and channels % appended:
            raise UserError(
                "mbstd_channels",
                f"expected 0 or a divisor of {channels}, the channels of the last block of D; "
                f"got {appended}",
            )
        clamp = config.conv_clamp
        if config.architecture == "skip":
            self.fromrgb = EqualConv2d(config.channels, channels, 1, act="lrelu", clamp=clamp)
        self.mbstd = MinibatchStd(config.mbstd_group, appended)
        self.conv = EqualConv2d(channels + appended, channels, 3, act="lrelu", clamp=clamp)
        self.fc = EqualLinear(channels * size[0] * size[1], channels, act="lrelu")
        self.out = EqualLinear(channels, out_features)

    def forward(self, x: torch.Tensor, img: torch.Tensor) -> torch.Tensor:
        dtype = wide_dtype(self.conv.weight)
        x = x.to(dtype)
        if hasattr(self, "fromrgb"):
            x = x + self.fromrgb(img.to(dtype))
        if self.mbstd.channels:
            x = self.mbstd(x)
        return self.out(self.fc(self.conv(x).flatten(1)))
