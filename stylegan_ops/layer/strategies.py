# SPDX-License-Identifier: Apache-2.0
"""The ways to compute a modulated convolution and what surrounds it; `modulated_conv2d` chooses."""

from typing import NamedTuple

import torch

from stylegan_ops.layer import tensor_core_layer, winograd
from stylegan_ops.layer.convolution import conv2d
from stylegan_ops.layer.fir_act import fir_act, fir_act_out
from stylegan_ops.layer.scale_act import OP as SCALE_ACT
from stylegan_ops.layer.scale_act import accumulator, fits_out, scale_act, scale_act_out
from stylegan_ops.ops.bias_act import bias_act
from stylegan_ops.ops.conv2d_resample import (
    conv2d_resample,
    total_padding,
    up_convolution,
    up_filter_padding,
)
from stylegan_ops.ops.upfirdn2d import memory_format, out_size, pad4, upfirdn2d
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.registration import wants_gradient

SAMPLES_FROM = 1 << 19  # elements of y of a sample: 2 MiB of float32, beyond which caches end
EPS = 1e-8  # added to the sum of squares before the reciprocal root


class FoldedWeight(NamedTuple):
    """A weight with what depends on it alone, computed once; see `fold_weight`."""

    weight: torch.Tensor  # [O, I, kh, kw], in the order of memory that convolutions ask for
    squares: torch.Tensor  # [O, I], sums over kh, kw
    stored: torch.Tensor  # in the dtype of x, over `size`; the weight itself for float32
    size: torch.Tensor  # [O], or None for 1
    tiles: winograd.Tiles  # transformed, or None


class Layer(NamedTuple):
    """Everything that does not depend on the strategy; as `modulated_conv2d`."""

    up: int
    down: int
    padding: object
    f: torch.Tensor
    flip_weight: bool
    noise: torch.Tensor
    end: tuple  # bias, act, alpha, gain, clamp
    layout: torch.memory_format
    input_gain: torch.Tensor = None


def storable(weight, dtype):
    """(weight / size in a dtype, size [O] or None). float16 ends at 65504: images times weights may
    pass that where the normalised result does not. A constant that cancels exactly, so no gradient
    flows through it."""
    if dtype != torch.float16:
        return weight.to(dtype), None
    fan_in = weight[0].numel()
    size = weight.detach().abs().amax(dim=[1, 2, 3]).clamp_min(EPS) * fan_in**0.5
    return (weight / size[:, None, None, None]).to(dtype), size


# The strategies: (x, weight, its FoldedWeight or None, styles, demodulate, layer) -> y.


def _weights(x, weight, folded, styles, demodulate, layer):
    """Scale the weights and run one convolution, in groups if there are several samples."""
    n = x.shape[0]
    w, after = _modulated(x, weight, folded, styles, demodulate, layer)
    w = w.reshape(-1, *weight.shape[1:])
    if n > 1:
        x = x.reshape(1, -1, *x.shape[2:])
    return _convolve(x, w, None, n, after, layer)


def _samples(x, weight, folded, styles, demodulate, layer):
    """Scale the weights and convolve, sample by sample: what is between two passes is still in the
    cache, and nothing but y is as large as the batch. Without gradient."""
    y, noise = None, layer.noise

    def room(one, size):
        """y of sample i, of H', W' = size; else like `one`."""
        nonlocal y
        if y is None:
            kind = {"dtype": one.dtype, "device": one.device, "memory_format": memory_format(one)}
            y = torch.empty(x.shape[0], one.shape[1], *size, **kind)
        return y[i : i + 1]

    for i in range(x.shape[0]):
        w, after = _modulated(x, weight, folded, styles[i : i + 1], demodulate, layer)
        own = noise[i : i + 1] if noise is not None and noise.shape[0] > 1 else noise
        _convolve(x[i : i + 1], w[0], None, 1, after, layer._replace(noise=own), room)
    return y


def _sandwich(x, weight, folded, styles, demodulate, layer):
    """The same by linearity: styles scale the input channels of x and the norms scale the output
    channels of y, so all samples share one plain convolution."""
    stored, size = _stored(x, weight, folded)
    before, after = _factors(x, weight, folded, size, styles, demodulate, layer)
    return _convolve(x, stored, before, 1, after, layer)


def _stored(x, weight, folded):
    """(the weight in the dtype of x, over a size [O] or None)"""
    if folded is not None and folded.stored.dtype == x.dtype:
        return folded.stored, folded.size
    return storable(weight.to(accumulator(x)), x.dtype)


def _factors(x, weight, folded, size, styles, demodulate, layer):
    """The factors of x, [N, I], and of y, [N, O] or None."""
    styles = styles.to(accumulator(x))
    after = _demodulation(weight, folded, styles, layer) if demodulate else None
    if x.dtype == torch.float16:  # as for the weight
        s_size = styles.detach().abs().amax(dim=1, keepdim=True).clamp_min(EPS)
        styles = styles / s_size
        after = size * s_size * (1 if after is None else after)
    return styles, after


def _gemm(x, weight, folded, styles, demodulate, layer):
    """As `_sandwich`, in one kernel on tensor cores; an up-sampling layer as the four phases of its
    convolution and filter together. Without gradient."""
    up, _, padding, f, flip = layer[:5]
    if up > 1:
        w = tensor_core_layer.composite(weight.to(accumulator(x)), f, padding, flip)
        w, size = storable(w, x.dtype)
    else:
        w, size = _stored(x, weight, folded)
        w = w if flip else w.flip([2, 3])
    before, after = _factors(x, weight, folded, size, styles, demodulate, layer)
    w = tensor_core_layer.arranged(w, up)
    noise, end = layer.noise, layer.end
    y = tensor_core_layer.tensor_core_layer(x, w, before, after, noise, *end, up, padding, f)
    return split(y, 1, layer.layout)


def _winograd_(x, weight, folded, styles, demodulate, layer):
    """As `_sandwich`, by minimal filtering, in one pass over x and y; of an up-sampling layer that
    is the transposed convolution, and the filter follows. Without gradient."""
    styles = styles.to(torch.float32)
    after = _demodulation(weight, folded, styles, layer) if demodulate else None
    flip = layer.flip_weight == (layer.up > 1)  # a transposed convolution turns the weight
    tiles = folded and folded.tiles
    if tiles is None or tiles.flip != flip or (tiles.form == "up") != (layer.up > 1):
        forms = WINOGRAD_FORMS[layer.up]
        form = winograd_form(x, weight, layer.up, layer.padding, forms) or forms[-1]
        tiles = winograd.tiles(weight.detach(), form, flip)
    if layer.up > 1:
        y = _winograd_up(x, tiles, styles, after, layer)
    else:
        x0, _, y0, _ = pad4(layer.padding)
        noise = _plane(layer.noise, convolved_size(x, 1, layer.padding))
        y = winograd.convolve(x, tiles, (y0, x0), styles, after, noise, layer.end)
    return split(y, 1, layer.layout)


def _winograd_up(x, tiles, styles, after, layer):
    """Sample by sample where these are large, for the same reasons as `_samples`."""
    f, noise, gain = layer.f, layer.noise, layer.up**2
    padding = up_filter_padding(layer.padding, f, layer.up, (3, 3))
    (h, w), n, o = convolved_size(x, layer.up, layer.padding), x.shape[0], tiles.out_channels
    if n == 1 or h * w * o < SAMPLES_FROM or torch.compiler.is_compiling():
        y = winograd.convolve(x, tiles, styles=styles)
        return fir_act(y, f, padding, False, gain, after, noise, *layer.end)
    y = None
    for i in range(n):
        u = winograd.convolve(x[i : i + 1], tiles, styles=styles[i : i + 1])
        if y is None:
            size = out_size(u, f, (1, 1), (1, 1), padding)
            noise = _plane(noise, size)
            y = u.new_empty(n, *size, o).permute(0, 3, 1, 2)
        own = noise[i : i + 1] if noise is not None and noise.shape[0] > 1 else noise
        scale = None if after is None else after[i : i + 1]
        fir_act_out(y[i : i + 1], u, f, padding, gain, scale, own, *layer.end)
    return y


WINOGRAD_FORMS = {1: ("tile2", "tile4"), 2: ("up",)}  # by up


def fits_winograd(x, weight, up, down, padding):
    """Whether `_winograd_` serves."""
    x0, x1, y0, y1 = pad4(padding)
    return (
        up in WINOGRAD_FORMS
        and down == 1
        and (up > 1 or (x0 == x1 >= 0 and y0 == y1 >= 0))
        and winograd.fits(x, weight)
        and min(convolved_size(x, up, padding)) > 0
    )


def winograd_form(x, weight, up, padding, forms, folded=False):
    """The one of some forms that is fastest, or None if a direct convolution is; folded: whether
    the weights are transformed already."""
    size, channels = convolved_size(x, up, padding), weight.shape[1::-1]
    last = x.is_contiguous(memory_format=torch.channels_last)
    return winograd.best_form(forms, x.shape[0], channels, size, folded, last)


def convolved_size(x, up, padding):
    """(H, W) of what a 3x3 convolution makes of x, before a filter; the same padding all around."""
    x0, _, y0, _ = pad4(padding)
    return tuple(winograd.out_size(x.shape[2:], WINOGRAD_FORMS[up][0], (y0, x0)))


STRATEGIES = {
    "weights": _weights,
    "samples": _samples,
    "sandwich": _sandwich,
    "winograd": _winograd_,
    "tensor_core_layer": _gemm,
}


def _modulated(x, weight, folded, styles, demodulate, layer):
    """([N, O, I, kh, kw] in the dtype of x, what y is to be multiplied by, [N, O] or None)"""
    wide = accumulator(x)
    styles = styles.to(wide)
    factor = styles[:, None]
    if demodulate:
        factor = factor * _demodulation(weight, folded, styles, layer)[:, :, None]
    w = weight.to(wide) * factor[..., None, None]
    if x.dtype != torch.float16 or demodulate:
        return w.to(x.dtype), None
    stored, size = storable(w.flatten(0, 1), x.dtype)
    return stored.reshape(w.shape), size.reshape(w.shape[:2])


def _demodulation(weight, folded, styles, layer):
    """[N, O]: 1 over the norms of the modulated weights, times the gain of the input."""
    squares = squares_of(weight.to(styles.dtype)) if folded is None else folded.squares
    squares = squares.to(styles.dtype)
    norms = (styles.square() @ squares.t() + EPS).rsqrt()
    return norms if layer.input_gain is None else norms * layer.input_gain


def squares_of(weight):
    """[O, I, kh, kw] -> [O, I]: sums of squares over kh, kw."""
    return weight.square().sum(dim=[2, 3])


def _convolve(x, w, before, groups, after, layer, room=None):
    """bias_act(conv(x * before, w) * after + noise, bias), resampled; where something follows or
    precedes a filter, in its pass.

    Args:
        x: [N, I, H, W], or [1, groups * I, H, W].
        w: [groups * O, I, kh, kw].
        before, after: [N, I], [N, O] or None.
        room: says where to write y, given images like it and H', W'; or None.
    """
    up, down, padding, f, flip = layer[:5]
    pointwise = tuple(w.shape[2:]) == (1, 1)
    if before is not None and down > 1 and up == 1:
        padding = total_padding(padding, f, 1, down)
        if pointwise:
            x, down = scale_act(upfirdn2d(x, f, 1, down, padding), before), 1
        else:
            x = fir_act(x, f, padding, scale=before)
        y = conv2d(x, w if flip else w.flip([2, 3]), stride=down, groups=groups)
        return _finish(split(y, groups, layer.layout), after, layer, room)
    if before is not None:
        x = scale_act(x, before)
    if up > 1 and down == 1 and not pointwise:
        y, padding = up_convolution(x, w, f, up, padding, groups, flip)
        y = split(y, groups, layer.layout)
        if room is None:
            return fir_act(y, f, padding, False, up**2, after, layer.noise, *layer.end)
        size = out_size(y, f, (1, 1), (1, 1), padding)
        noise = _plane(layer.noise, size)
        return fir_act_out(room(y, size), y, f, padding, up**2, after, noise, *layer.end)
    y = conv2d_resample(x, w, f, up, down, padding, groups, flip)
    return _finish(split(y, groups, layer.layout), after, layer, room)


def split(y, groups, layout):
    """The result of a convolution in groups, one for each sample; in the layout of the images,
    whatever that of the weight was; None: as it comes."""
    if groups > 1:
        y = y.reshape(groups, -1, *y.shape[2:])
    return y if layout is None else y.contiguous(memory_format=layout)


def _plane(noise, size):
    return noise if noise is None else noise.expand(-1, -1, *size)


def _finish(y, scale, layer, room):
    """bias_act(y * scale + noise, bias), in place of y where it can be: nobody else has y."""
    noise, end = layer.noise, layer.end
    if room is not None:
        size = y.shape[2:]
        return scale_act_out(room(y, size), y, scale, _plane(noise, size), *end)
    if _may_overwrite(y, scale, noise, *end[:2]):
        return scale_act_out(y, y, scale, noise, *end)
    if scale is None and noise is None:
        return bias_act(y, end[0], 1, *end[1:])
    return scale_act(y, scale, noise, *end)


def _may_overwrite(y, scale, noise, b, act):
    if torch.compiler.is_compiling() or (scale is None and noise is None and act == "linear"):
        return False
    given = y, scale, noise, b
    if wants_gradient(*given):
        return False
    return dispatch.kernel(SCALE_ACT, *given) is not None and fits_out(y, noise, act)
