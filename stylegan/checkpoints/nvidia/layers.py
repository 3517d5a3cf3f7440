# SPDX-License-Identifier: Apache-2.0
"""Our settings as NVIDIA's constructor arguments, and our layers as objects of NVIDIA's classes:
attributes, tensors and arguments, as PyTorch keeps them in a module. The networks made of them are
in nvidia_writer.py."""

import numpy as np
import torch.nn as nn

from stylegan.checkpoints.pickle.writer import ORDERED_DICT, Global, Object
from stylegan.errors import UserError
from stylegan.models.sizes import block_resolutions, channels_of
from stylegan_ops import setup_filter
from stylegan_ops.bias_act import ACTIVATIONS

HALF = 4  # num_fp16_res where none is given
TAPS = (1, 3, 3, 1)  # of a layer's filter where no others are given
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
# Defaults of constructor arguments. As in their files, only others are recorded.
DEFAULTS = {
    "num_fp16_res": HALF,
    "conv_clamp": 256,
    "w_avg_beta": 0.998,
    "resample_filter": TAPS,
    "use_noise": True,
    "num_layers": 14,
    "num_critical": 2,
    "first_cutoff": 2,
    "first_stopband": 2**2.1,
    "last_stopband_rel": 2**0.3,
    "margin_size": 10,
    "output_scale": 0.25,
    "conv_kernel": 3,
    "filter_size": 6,
    "lrelu_upsampling": 2,
    "use_radial_filters": False,
}


def unusual(**arguments):
    """Those that differ from `DEFAULTS`."""
    values = {k: v for k, v in arguments.items() if v != DEFAULTS[k]}
    return {k: list(v) if type(v) is tuple else v for k, v in values.items()}


def block_sizes(name, c):
    """Resolutions of the blocks, 4, 8, ... px."""
    height, width = c.resolution
    if height != width or height < 8 or height & (height - 1):
        raise UserError(
            f"{name}.resolution",
            f"NVIDIA's programs know squares of 8, 16, 32, ... px, not {width}x{height}",
        )
    return list(block_resolutions(c.resolution))


def channel_rule(name, c, sizes):
    """channel_base and channel_max that give the channels of all blocks."""
    widths = [channels_of(size, c) for size in sizes]
    for base, most in ((c.channel_base, c.channel_max), (widths[-1] * sizes[-1], max(widths))):
        if widths == [min(base // size, most) for size in sizes]:
            return {"channel_base": base, "channel_max": most}
    raise UserError(
        f"{name}.widths",
        "NVIDIA's programs have min(channel_base // resolution, channel_max) "
        f"channels in every block, not {', '.join(map(str, widths))}",
    )


def is_half(c):
    """Whether low-precision blocks of these settings run in float16, the only kind of theirs."""
    return c.precision in ("auto", "float16")


def half_blocks(c, sizes):
    """num_fp16_res; their default where it means the same."""
    most = len(sizes) - 1
    low = min(c.low_precision_blocks, most) if is_half(c) else 0
    return HALF if low == min(HALF, most) else low


def module(line, name, attributes, tensors=None, children=None, args=(), kwargs=None):
    """`Object` of a class.

    Args:
        line: "stylegan2" or "stylegan3", which has it.
        name: of the class.
        attributes: dict, plain.
        tensors: {name: Parameter, Tensor (a buffer) or None (a buffer that is not there)}.
        children: {name: `Object`}.
        args, kwargs: recorded constructor arguments.
    """
    parameters, buffers = {}, {}
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


def dense(line, layer, **given):
    """FullyConnectedLayer of an `EqualLinear`."""
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


def conv(layer, taps, **given):
    """Conv2dLayer of an `EqualConv2d`; `taps` of the filters that resample."""
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


def mapping(line, layer, w_dim, **given):
    """MappingNetwork of a `Mapping`."""
    shared = {"z_dim": layer.z_dim, "c_dim": layer.c_dim, "w_dim": w_dim, "num_ws": layer.num_ws}
    beta = {"w_avg_beta": None if layer.num_ws is None else layer.w_avg_beta}
    attributes = {**shared, "num_layers": layer.num_layers, **beta}
    if line == "stylegan3" and not layer.c_dim:
        attributes["embed"] = None
    tensors = {} if layer.num_ws is None else {"w_avg": layer.w_avg}
    children = {name: dense(line, child) for name, child in layer.named_children()}
    kwargs = {**shared, **given}
    return module(line, "MappingNetwork", attributes, tensors, children, (), kwargs)


def layer2(layer, config, size, taps):
    """SynthesisLayer of StyleGAN2; `size` in px."""
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
    kwargs = {**shared, **_resampling(layer, taps), "conv_clamp": layer.clamp}
    kwargs |= {"channels_last": False, **unusual(use_noise=layer.use_noise)}
    tensors = {**_weights(layer), "resample_filter": _filter(kwargs)}
    if layer.use_noise:
        tensors["noise_strength"] = _scalar(layer.noise_strength)
        tensors["noise_const"] = layer.noise_const
    affine = {"affine": dense("stylegan2", layer.affine, bias_init=1)}
    args = size_in, size_out
    return module("stylegan2", "SynthesisLayer", attributes, tensors, affine, args, kwargs)


def torgb2(layer, config):
    """ToRGBLayer of StyleGAN2."""
    size_out, size_in = layer.weight.shape[:2]
    shared = {"w_dim": config.w_dim, "conv_clamp": layer.clamp}
    attributes = {"in_channels": size_in, "out_channels": size_out, **shared}
    attributes["weight_gain"] = layer.styles_gain
    affine = {"affine": dense("stylegan2", layer.affine, bias_init=1)}
    kwargs = {**shared, "channels_last": False}
    args = size_in, size_out
    return module("stylegan2", "ToRGBLayer", attributes, _weights(layer), affine, args, kwargs)


def input3(layer, config):
    """SynthesisInput of StyleGAN3."""
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


def layer3(layer, config, critical, half, beta, given):
    """SynthesisLayer of StyleGAN3.

    Args:
        critical: whether its filters reach up to the cutoff.
        half: num_fp16_res.
        beta: decay of the running mean of magnitudes, per batch.
        given: other arguments that differ from the defaults.
    """
    g = layer.geometry
    a, b = g.before, g.after
    shared = {
        "w_dim": config.w_dim,
        "is_torgb": g.torgb,
        "is_critically_sampled": critical,
        "use_fp16": b.rate << half > config.resolution[0],
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
        "magnitude_ema_beta": beta,
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
    kwargs = {**shared, **given}
    return module("stylegan3", "SynthesisLayer", attributes, tensors, affine, (), kwargs)


def _weights(layer):
    return {k: v for k in ("weight", "bias") if (v := getattr(layer, k)) is not None}


def _resampling(layer, taps):
    """Arguments of a layer that changes the resolution."""
    factors = {k: v for k in ("up", "down") if (v := getattr(layer, k, 1)) > 1}
    return {**factors, "resample_filter": list(taps)} if factors else {}


def _filter(kwargs):
    """The buffer of a layer with these arguments; every layer has one."""
    return setup_filter(kwargs.get("resample_filter", TAPS))


def _scalar(value):
    """[1] as []."""
    scalar = value.detach().reshape(())
    return nn.Parameter(scalar) if isinstance(value, nn.Parameter) else scalar


def _pair(size):
    """Width and height, as an array of NumPy."""
    return np.array([size, size], dtype=np.int64)
