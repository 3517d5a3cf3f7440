# SPDX-License-Identifier: Apache-2.0
"""The settings of rosinality's networks, from shapes of tensors and settings that we wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from stylegan.checkpoints.arguments import MAX_WIDTH, Arguments
from stylegan.checkpoints.formats import channel_fields, shape_of
from stylegan.checkpoints.pickle.arrays import Array
from stylegan.config import DiscriminatorConfig, GeneratorConfig, Stylegan3Config
from stylegan.models.sizes import blocks_of

MAX_BLOCKS = 10  # 4 px to 2048 px
MAX_KERNEL = 256  # elements of a filter
TAPS = (1, 3, 3, 1)
Arrays = Mapping[str, Array]


def generator_config(tensors: Arrays, kept: dict[str, Any]) -> GeneratorConfig:
    """Settings of a generator.

    Args: tensors: by their names; kept: settings that this package wrote, {"G": {...}, "D": ...}.
    Raises: ValueError that names a tensor or setting that does not fit.
    """
    blocks = 1 + sum(bool(re.fullmatch(r"to_rgbs\.\d+\.bias", key)) for key in tensors)
    if blocks > MAX_BLOCKS:
        raise ValueError(f"G: {blocks} resolutions, more than {MAX_BLOCKS}")
    layers = ["conv1", *(f"convs.{2 * i + 1}" for i in range(blocks - 1))]
    widths = [_size(tensors, f"{layer}.activate.bias", 0) for layer in layers]
    given = Arguments(kept.get("G", {}), "G")
    const = tensors["input.input"].shape
    return GeneratorConfig(
        **shape_of(const[2:], blocks, 4 << blocks - 1),
        channels=_size(tensors, "to_rgb1.bias", 1),
        z_dim=min(_size(tensors, "style.1.weight", 1), MAX_WIDTH),
        w_dim=_size(tensors, "conv1.conv.modulation.weight", 1),
        mapping_layers=sum(key.startswith("style.") and key.endswith(".weight") for key in tensors),
        **channel_fields(widths),
        resample_filter=taps_of(tensors, "convs.0.conv.blur.kernel"),
        conv_clamp=given.optional("conv_clamp", None),
        use_noise=given.flag("use_noise", True),
        low_precision_blocks=given.integer("low_precision_blocks", 0, 0, 64),
        w_avg_beta=given.number("w_avg_beta", 0.995, 0, 1),
    )


def discriminator_config(
    tensors: Arrays, G: GeneratorConfig | Stylegan3Config, kept: dict[str, Any]
) -> DiscriminatorConfig:
    """Settings of a discriminator, which is always a residual one.

    Args: G: settings of the generator; others and Raises: as for a generator.
    """
    assert isinstance(G, GeneratorConfig)  # this program has StyleGAN2 alone
    blocks = len(blocks_of(G))
    widths = [_size(tensors, "final_linear.1.weight", 1)]
    widths += [_size(tensors, f"convs.{n}.conv1.0.weight", 0) for n in range(blocks - 1, 0, -1)]
    given = Arguments(kept.get("D", {}), "D")
    group = given.any("mbstd_group", 4)
    return DiscriminatorConfig(
        resolution=G.resolution,
        min_block_side=G.min_block_side,
        channels=_size(tensors, "convs.0.0.weight", 1),
        **channel_fields(widths),
        resample_filter=taps_of(tensors, "convs.1.conv2.0.kernel"),
        conv_clamp=given.optional("conv_clamp", None),
        low_precision_blocks=given.integer("low_precision_blocks", 0, 0, 64),
        mbstd_group=None if group is None else given.integer("mbstd_group", 4, 1),
    )


def _size(tensors: Arrays, key: str, axis: int) -> int:
    shape = tensors[key].shape if key in tensors else ()
    if len(shape) <= axis:
        raise ValueError(f"{key} is missing or has an unexpected shape")
    return shape[axis]


def taps_of(tensors: Arrays, key: str) -> tuple[float, ...]:
    """Taps of the filter whose outer product a kernel is."""
    array = tensors.get(key)
    if array is None or len(array.shape) != 2 or not 0 < array.numel <= MAX_KERNEL:
        raise ValueError(f"the filter {key} is missing or has an unexpected shape")
    kernel = array.read().double()
    taps = kernel.sum(dim=0) / kernel.sum()
    if not torch.allclose(torch.outer(taps, taps) * kernel.sum(), kernel, atol=1e-5):
        raise ValueError(f"{key} is not the outer product of taps")
    usual = torch.tensor(TAPS, dtype=torch.float64) / sum(TAPS)
    same = taps.shape == usual.shape and torch.allclose(taps, usual, atol=1e-5)
    return TAPS if same else tuple(taps.tolist())
