# SPDX-License-Identifier: Apache-2.0
"""Our discriminators as objects of NVIDIA's classes."""

from __future__ import annotations

from typing import Any

from stylegan.checkpoints.nvidia.arguments import (
    block_sizes,
    channel_rule,
    half_blocks,
    image_arguments,
    non_default,
)
from stylegan.checkpoints.nvidia.layers import conv, dense, mapping, module
from stylegan.checkpoints.pickle.writer import Object
from stylegan.config import DiscriminatorConfig
from stylegan.errors import UserError
from stylegan.models.sizes import channels_of
from stylegan_ops import setup_filter

MAPPING_LAYERS = 8  # default


def discriminator_object(D: Any) -> Object:
    """A discriminator as an object of NVIDIA's class.

    Raises: UserError for what the class cannot express.
    """
    c = D.config
    if type(c) is not DiscriminatorConfig:
        raise UserError("D", f"expected a discriminator of StyleGAN2, got {type(D).__name__}")
    sizes = block_sizes("D", c)
    half = half_blocks(c, sizes)
    attributes: dict[str, Any] = {"c_dim": c.c_dim, **image_arguments(c)}
    filters = non_default(resample_filter=c.resample_filter)
    of_mapping: dict[str, Any] = {}
    if c.mapping_layers != MAPPING_LAYERS:
        of_mapping["num_layers"] = c.mapping_layers
    std = {"mbstd_group_size": c.mbstd_group}
    if c.mbstd_channels != 1:
        std["mbstd_num_channels"] = c.mbstd_channels
    kwargs = {
        **attributes,
        **({} if c.architecture == "resnet" else {"architecture": c.architecture}),
        **channel_rule("D", c, sizes),
        "num_fp16_res": half,
        "conv_clamp": c.conv_clamp,
        "block_kwargs": {"freeze_layers": 0, **filters},
        "mapping_kwargs": of_mapping,
        "epilogue_kwargs": std,
    }
    children, first_layer = {}, 0
    for size in sizes[:0:-1]:
        block = getattr(D, f"b{size}")
        shared = _block_arguments(c, size, first_layer, size << half > sizes[-1])
        children[f"b{size}"] = _block(block, c, shared, filters)
        first_layer += len(list(block.children()))
    if c.c_dim:
        of_mapping = {"w_avg_beta": None, **of_mapping}
        children["mapping"] = mapping("stylegan2", D.mapping, D.cmap_dim, **of_mapping)
    children["b4"] = _epilogue(D.b4, c, D.cmap_dim, std)
    attributes["img_resolution_log2"] = sizes[-1].bit_length() - 1
    attributes["block_resolutions"] = sizes[:0:-1]
    return module("stylegan2", "Discriminator", attributes, None, children, (), kwargs)


def _block_arguments(
    c: DiscriminatorConfig, size: int, first_layer: int, half: bool
) -> dict[str, Any]:
    return {
        "resolution": size,
        "img_channels": c.channels,
        "first_layer_idx": first_layer,
        "architecture": c.architecture,
        "use_fp16": half,
    }


def _block(
    block: Any, c: DiscriminatorConfig, shared: dict[str, Any], filters: dict[str, Any]
) -> Object:
    children = {}
    for name in ("fromrgb", "conv0", "conv1", "skip"):
        if hasattr(block, name):
            layer = getattr(block, name)
            children[name] = conv(layer, c.resample_filter, trainable=True, channels_last=False)
    size = shared["resolution"]
    channels = channels_of(size, c)
    in_channels = 0 if size == c.resolution[0] else channels
    attributes = {"in_channels": in_channels, **shared}
    attributes |= {"channels_last": False, "num_layers": len(children)}
    args = in_channels, channels, channels_of(size // 2, c)
    kwargs = {**shared, "freeze_layers": 0, "conv_clamp": c.conv_clamp, **filters}
    tensors = {"resample_filter": setup_filter(c.resample_filter)}
    return module("stylegan2", "DiscriminatorBlock", attributes, tensors, children, args, kwargs)


def _epilogue(b4: Any, c: DiscriminatorConfig, cmap_dim: int, std: dict[str, Any]) -> Object:
    channels = channels_of(4, c)
    shared = {
        "cmap_dim": cmap_dim,
        "resolution": 4,
        "img_channels": c.channels,
        "architecture": c.architecture,
    }
    attributes: dict[str, Any] = {"in_channels": channels, **shared}
    children = {}
    if hasattr(b4, "fromrgb"):
        children["fromrgb"] = conv(b4.fromrgb, c.resample_filter)
    if c.mbstd_channels:
        sizes = {"group_size": c.mbstd_group, "num_channels": c.mbstd_channels}
        children["mbstd"] = module("stylegan2", "MinibatchStdLayer", sizes, kwargs=sizes)
    else:
        attributes["mbstd"] = None
    children["conv"] = conv(b4.conv, c.resample_filter)
    children |= {k: dense("stylegan2", getattr(b4, k)) for k in ("fc", "out")}
    args, kwargs = (channels,), {**shared, **std, "conv_clamp": c.conv_clamp}
    name = "DiscriminatorEpilogue"
    return module("stylegan2", name, attributes, None, children, args, kwargs)
