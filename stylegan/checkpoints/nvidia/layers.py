# SPDX-License-Identifier: Apache-2.0
"""Our layers as objects of NVIDIA's classes: attributes, tensors and arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn as nn

from stylegan.checkpoints.nvidia.arguments import TAPS, non_default
from stylegan.checkpoints.pickle.writer import ORDERED_DICT, Global, Object
from stylegan.config import GeneratorConfig, Stylegan3Config
from stylegan_ops import ACTIVATIONS, setup_filter

HOOKS = (
    "_backward_pre_hooks",
    "_backward_hooks",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


@dataclass(frozen=True)
class LayerArguments:
    """What all layers of a StyleGAN3 network share.

    Attributes:
        num_fp16_res: how many resolutions run in float16.
        magnitude_ema_beta: decay of the running mean of magnitudes, per batch.
        others: constructor arguments that differ from the defaults.
    """

    num_fp16_res: int
    magnitude_ema_beta: float
    others: dict[str, Any]


def module(
    line: str,
    name: str,
    attributes: dict[str, Any],
    tensors: Mapping[str, torch.Tensor | None] | None = None,
    children: dict[str, Object] | None = None,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
) -> Object:
    """An object of a class of modules.

    Args:
        line: "stylegan2" or "stylegan3", whose file of networks has the class.
        name: of the class.
        attributes: plain data.
        tensors: parameters by name; other tensors, and None, are buffers.
        children: modules by name.
        args, kwargs: recorded constructor arguments.
    """
    parameters: dict[str, nn.Parameter] = {}
    buffers: dict[str, torch.Tensor | None] = {}
    for key, value in (tensors or {}).items():
        if isinstance(value, nn.Parameter):
            parameters[key] = nn.Parameter(value.detach(), requires_grad=False)
        else:
            buffers[key] = value
    state = {
        "training": False,
        "_parameters": parameters,
        "_buffers": buffers,
        "_non_persistent_buffers_set": set(),
        **dict.fromkeys(HOOKS, ORDERED_DICT),
        "_is_full_backward_hook": None,
        "_modules": children or {},
        **attributes,
        "_init_args": tuple(args),
        "_init_kwargs": kwargs or {},
    }
    return Object(Global(f"training.networks_{line}", name), state)


def dense(line: str, layer: Any, **given: Any) -> Object:
    """FullyConnectedLayer of an `EqualLinear`. Args: given: further recorded arguments."""
    size_out, size_in = layer.weight.shape
    attributes = {
        "in_features": size_in,
        "out_features": size_out,
        "activation": layer.act,
        "weight_gain": layer.weight_gain,
        "bias_gain": layer.lr_mult,
    }
    kwargs = {} if layer.act == "linear" else {"activation": layer.act}
    if layer.lr_mult != 1:
        kwargs["lr_multiplier"] = layer.lr_mult
    tensors, args = _weights(layer), (size_in, size_out)
    return module(line, "FullyConnectedLayer", attributes, tensors, None, args, {**kwargs, **given})


def conv(layer: Any, taps: tuple[float, ...], **given: Any) -> Object:
    """Conv2dLayer of an `EqualConv2d`.

    Args:
        taps: of the filter of layers that resample.
        given: further recorded arguments.
    """
    size_out, size_in, kernel, _ = layer.weight.shape
    shared = {"activation": layer.act} if layer.bias is not None else {}
    if layer.bias is not None:
        shared["conv_clamp"] = layer.clamp
    attributes = {
        "in_channels": size_in,
        "out_channels": size_out,
        "activation": layer.act,
        "up": layer.up,
        "down": layer.down,
        "conv_clamp": layer.clamp,
        "padding": layer.padding,
        "weight_gain": layer.weight_gain,
        "act_gain": ACTIVATIONS[layer.act].gain,
        **({} if layer.bias is not None else {"bias": None}),
    }
    kwargs = {"kernel_size": kernel, **(shared or {"bias": False}), **_resampling(layer, taps)}
    tensors = {**_weights(layer), "resample_filter": _filter(kwargs)}
    args = size_in, size_out
    return module("stylegan2", "Conv2dLayer", attributes, tensors, None, args, {**kwargs, **given})


def mapping(line: str, layer: Any, w_dim: int, **given: Any) -> Object:
    """MappingNetwork of a `Mapping`. Args: given: further recorded arguments."""
    shared = {"z_dim": layer.z_dim, "c_dim": layer.c_dim, "w_dim": w_dim, "num_ws": layer.num_ws}
    beta = {"w_avg_beta": None if layer.num_ws is None else layer.w_avg_beta}
    attributes = {**shared, "num_layers": layer.num_layers, **beta}
    if line == "stylegan3" and not layer.c_dim:
        attributes["embed"] = None
    tensors = {} if layer.num_ws is None else {"w_avg": layer.w_avg}
    children = {name: dense(line, child) for name, child in layer.named_children()}
    kwargs = {**shared, **given}
    return module(line, "MappingNetwork", attributes, tensors, children, (), kwargs)


def stylegan2_layer(layer: Any, config: GeneratorConfig, size: int) -> Object:
    """SynthesisLayer of a `stylegan2.SynthesisLayer`. Args: size: resolution in px."""
    size_out, size_in = layer.weight.shape[:2]
    shared = {"w_dim": config.w_dim, "resolution": size}
    attributes = {
        "in_channels": size_in,
        "out_channels": size_out,
        **shared,
        "up": layer.up,
        "use_noise": layer.use_noise,
        "activation": "lrelu",
        "conv_clamp": layer.clamp,
        "padding": 1,
        "act_gain": ACTIVATIONS["lrelu"].gain,
    }
    kwargs = {**shared, **_resampling(layer, config.resample_filter), "conv_clamp": layer.clamp}
    kwargs |= {"channels_last": False, **non_default(use_noise=layer.use_noise)}
    tensors = {**_weights(layer), "resample_filter": _filter(kwargs)}
    if layer.use_noise:
        tensors["noise_strength"] = _scalar(layer.noise_strength)
        tensors["noise_const"] = layer.noise_const
    affine = {"affine": dense("stylegan2", layer.affine, bias_init=1)}
    args = size_in, size_out
    return module("stylegan2", "SynthesisLayer", attributes, tensors, affine, args, kwargs)


def stylegan2_torgb(layer: Any, config: GeneratorConfig) -> Object:
    """ToRGBLayer of a `stylegan2.ToRGB`."""
    size_out, size_in = layer.weight.shape[:2]
    shared = {"w_dim": config.w_dim, "conv_clamp": layer.clamp}
    attributes = {"in_channels": size_in, "out_channels": size_out, **shared}
    attributes["weight_gain"] = layer.styles_gain
    affine = {"affine": dense("stylegan2", layer.affine, bias_init=1)}
    kwargs = {**shared, "channels_last": False}
    args = size_in, size_out
    return module("stylegan2", "ToRGBLayer", attributes, _weights(layer), affine, args, kwargs)


def stylegan3_input(layer: Any, config: Stylegan3Config) -> Object:
    """SynthesisInput of a `stylegan3.FourierInput`."""
    kwargs = {
        "w_dim": config.w_dim,
        "channels": len(layer.weight),
        "size": layer.size,
        "sampling_rate": float(layer.rate),
        "bandwidth": layer.cutoff,
    }
    tensors = {k: getattr(layer, k) for k in ("weight", "transform", "freqs", "phases")}
    affine = {"affine": dense("stylegan3", layer.affine, weight_init=0, bias_init=[1, 0, 0, 0])}
    attributes = {**kwargs, "size": _pair(layer.size)}
    return module("stylegan3", "SynthesisInput", attributes, tensors, affine, (), kwargs)


def stylegan3_layer(
    layer: Any,
    config: Stylegan3Config,
    critical: bool,
    arguments: LayerArguments,
) -> Object:
    """SynthesisLayer of a `stylegan3.SynthesisLayer`.

    Args: critical: whether its filters reach up to the cutoff.
    """
    g = layer.geometry
    a, b = g.before, g.after
    shared = {
        "w_dim": config.w_dim,
        "is_torgb": g.torgb,
        "is_critically_sampled": critical,
        "use_fp16": b.rate << arguments.num_fp16_res > config.resolution[0],
        "in_channels": a.channels,
        "out_channels": b.channels,
        "in_size": a.size,
        "out_size": b.size,
        "in_sampling_rate": a.rate,
        "out_sampling_rate": b.rate,
        "in_cutoff": a.cutoff,
        "out_cutoff": b.cutoff,
        "in_half_width": a.half_width,
        "out_half_width": b.half_width,
    }
    attributes = {
        **shared,
        "in_size": _pair(a.size),
        "out_size": _pair(b.size),
        "tmp_sampling_rate": a.rate * g.up,
        "conv_kernel": g.kernel,
        "conv_clamp": layer.clamp,
        "magnitude_ema_beta": arguments.magnitude_ema_beta,
        "up_factor": g.up,
        "up_taps": g.up_taps,
        "down_factor": g.down,
        "down_taps": g.down_taps,
        "down_radial": g.radial,
        "padding": list(layer.padding),
    }
    tensors = {**_weights(layer), "magnitude_ema": _scalar(layer.magnitude_ema)}
    tensors |= {k: getattr(layer, k, None) for k in ("up_filter", "down_filter")}
    affine = {"affine": dense("stylegan3", layer.affine, bias_init=1)}
    kwargs = {**shared, **arguments.others}
    return module("stylegan3", "SynthesisLayer", attributes, tensors, affine, (), kwargs)


def _weights(layer: Any) -> dict[str, torch.Tensor | None]:
    return {k: v for k in ("weight", "bias") if (v := getattr(layer, k)) is not None}


def _resampling(layer: Any, taps: tuple[float, ...]) -> dict[str, Any]:
    """Arguments of a layer that changes the resolution; none for other layers."""
    factors = {k: v for k in ("up", "down") if (v := getattr(layer, k, 1)) > 1}
    return {**factors, "resample_filter": list(taps)} if factors else {}


def _filter(kwargs: dict[str, Any]) -> torch.Tensor:
    """The filter of a layer with these arguments. Every layer has one, used or not."""
    return setup_filter(kwargs.get("resample_filter", TAPS))


def _scalar(value: torch.Tensor) -> torch.Tensor:
    """A tensor of shape [1] with shape []."""
    scalar = value.detach().reshape(())
    return nn.Parameter(scalar) if isinstance(value, nn.Parameter) else scalar


def _pair(size: int) -> np.ndarray:
    """Width and height of a square."""
    return np.array([size, size], dtype=np.int64)
