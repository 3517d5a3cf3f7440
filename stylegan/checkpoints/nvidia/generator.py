# SPDX-License-Identifier: Apache-2.0
"""Our generators as objects of NVIDIA's classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from stylegan.checkpoints.nvidia.arguments import (
    block_sizes,
    channel_rule,
    fields,
    half_blocks,
    image_arguments,
    is_half,
    non_default,
)
from stylegan.checkpoints.nvidia.layers import (
    LayerArguments,
    conv,
    mapping,
    module,
    stylegan2_layer,
    stylegan2_torgb,
    stylegan3_input,
    stylegan3_layer,
)
from stylegan.checkpoints.pickle.writer import Object
from stylegan.config import GeneratorConfig, Stylegan3Config
from stylegan.errors import UserError
from stylegan.models.sizes import channels_of
from stylegan_ops import setup_filter

FUSED = "inference_only"  # when their modulated convolutions fuse, as their training sets it


@dataclass(frozen=True)
class Synthesis:
    """A synthesis network.

    Attributes:
        line: "stylegan2" or "stylegan3", whose file of networks has its class.
        object: the network.
        arguments: its constructor arguments that the generator passes on.
    """

    line: str
    object: Object
    arguments: dict[str, Any]


def generator_object(G: Any, batch: int) -> Object:
    """A generator as an object of NVIDIA's class.

    Args: batch: images per step of training.
    Raises: UserError for what the class cannot express.
    """
    c = G.config
    if type(c) is GeneratorConfig:
        synthesis = _stylegan2(G, c)
    elif type(c) is Stylegan3Config:
        synthesis = _stylegan3(G, c, batch)
    else:
        kind = getattr(c, "model", type(G).__name__)
        raise UserError("G", f"expected a generator of StyleGAN2 or StyleGAN3, got {kind}")
    attributes = {"z_dim": c.z_dim, "c_dim": c.c_dim, "w_dim": c.w_dim, **image_arguments(c)}
    of_mapping = {"num_layers": c.mapping_layers, **non_default(w_avg_beta=c.w_avg_beta)}
    children = {
        "synthesis": synthesis.object,
        "mapping": mapping(synthesis.line, G.mapping, c.w_dim, **of_mapping),
    }
    kwargs = {**attributes, "mapping_kwargs": of_mapping, **synthesis.arguments}
    attributes["num_ws"] = G.num_ws
    return module(synthesis.line, "Generator", attributes, None, children, (), kwargs)


def _stylegan2(G: Any, c: GeneratorConfig) -> Synthesis:
    sizes = block_sizes("G", c)
    half = half_blocks(c, sizes)
    of_blocks = {
        **non_default(**fields(c, "conv_clamp", "resample_filter", "use_noise")),
        **({} if c.architecture == "skip" else {"architecture": c.architecture}),
        "fused_modconv_default": FUSED,
    }
    given = {**channel_rule("G", c, sizes), **non_default(num_fp16_res=half), **of_blocks}
    shared = {"w_dim": c.w_dim, **image_arguments(c)}
    attributes = {
        **shared,
        "img_resolution_log2": sizes[-1].bit_length() - 1,
        "num_fp16_res": half,
        "block_resolutions": sizes,
        "num_ws": G.num_ws,
    }
    blocks = {}
    for size in sizes:
        block = getattr(G.synthesis, f"b{size}")
        blocks[f"b{size}"] = _block(block, c, size, size << half > sizes[-1], of_blocks)
    kwargs = {**shared, **given}
    synthesis = module("stylegan2", "SynthesisNetwork", attributes, None, blocks, (), kwargs)
    return Synthesis("stylegan2", synthesis, given)


def _block(block: Any, c: GeneratorConfig, size: int, half: bool, given: dict[str, Any]) -> Object:
    first = size == 4
    shared = {
        "w_dim": c.w_dim,
        "resolution": size,
        "img_channels": c.channels,
        "is_last": size == c.resolution[0],
        "use_fp16": half and not first,
    }
    in_channels, out_channels = 0 if first else channels_of(size // 2, c), channels_of(size, c)
    attributes = {
        "in_channels": in_channels,
        **shared,
        "architecture": c.architecture,
        "channels_last": False,
        "fused_modconv_default": FUSED,
        "num_conv": block.num_conv,
        "num_torgb": int(hasattr(block, "torgb")),
    }
    tensors: dict[str, torch.Tensor | None] = {"const": block.const} if first else {}
    tensors["resample_filter"] = setup_filter(c.resample_filter)
    children = {}
    for name in ("conv1",) if first else ("conv0", "conv1"):
        children[name] = stylegan2_layer(getattr(block, name), c, size)
    if hasattr(block, "torgb"):
        children["torgb"] = stylegan2_torgb(block.torgb, c)
    if hasattr(block, "skip"):
        children["skip"] = conv(block.skip, c.resample_filter, channels_last=False)
    args, kwargs = (in_channels, out_channels), {**shared, **given}
    return module("stylegan2", "SynthesisBlock", attributes, tensors, children, args, kwargs)


def _stylegan3(G: Any, c: Stylegan3Config, batch: int) -> Synthesis:
    half = c.low_precision_blocks if is_half(c) else 0
    beta = 0.5 ** (batch / (c.magnitude_ema_kimg * 1000))
    of_layers = {
        "magnitude_ema_beta": beta,
        **non_default(
            **fields(c, "conv_kernel", "filter_size", "lrelu_upsampling", "conv_clamp"),
            use_radial_filters=c.radial_filters,
        ),
    }
    assert c.channel_base is not None, "a resolved config"
    given = {
        "channel_base": c.channel_base * c.channel_factor,
        "channel_max": c.channel_max * c.channel_factor,
        **non_default(
            **fields(c, "num_layers", "num_critical", "output_scale"),
            **fields(c, "first_cutoff", "first_stopband", "last_stopband_rel"),
            margin_size=c.margin,
            num_fp16_res=half,
        ),
        **of_layers,
    }
    shared = {"w_dim": c.w_dim, **image_arguments(c)}
    names = list(G.synthesis.layer_names)
    attributes = {
        **shared,
        "num_ws": G.num_ws,
        **fields(c, "num_layers", "num_critical", "output_scale"),
        "margin_size": c.margin,
        "num_fp16_res": half,
        "layer_names": names,
    }
    children: dict[str, Object] = {"input": stylegan3_input(G.synthesis.input, c)}
    arguments = LayerArguments(half, beta, of_layers)
    for i, name in enumerate(names):
        critical = i >= c.num_layers - c.num_critical
        children[name] = stylegan3_layer(getattr(G.synthesis, name), c, critical, arguments)
    kwargs = {**shared, **given}
    synthesis = module("stylegan3", "SynthesisNetwork", attributes, None, children, (), kwargs)
    return Synthesis("stylegan3", synthesis, given)
