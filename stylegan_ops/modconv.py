# SPDX-License-Identifier: Apache-2.0
"""The layer of StyleGAN2: modulated convolution, noise, bias, activation, clamp."""

from typing import NamedTuple

import torch

from stylegan_ops import _dispatch, _plan
from stylegan_ops._conv import conv2d
from stylegan_ops.bias_act import PIECEWISE, bias_act, check_arguments
from stylegan_ops.conv2d_resample import (
    check_factors,
    conv2d_resample,
    total_padding,
    up_convolution,
)
from stylegan_ops.fir_act import fir_act, fir_act_out
from stylegan_ops.scale_act import OP as SCALE_ACT
from stylegan_ops.scale_act import fits_out, scale_act, scale_act_out, scale_act_ref
from stylegan_ops.upfirdn2d import memory_format, out_size, upfirdn2d

OP = _dispatch.declare("modulated_conv2d")
EPS = 1e-8  # added to the sum of squares before the reciprocal root


def modulated_conv2d(
    x,
    weight,
    styles,
    noise=None,
    up=1,
    down=1,
    padding=0,
    resample_filter=None,
    demodulate=True,
    flip_weight=True,
    bias=None,
    act="linear",
    alpha=None,
    gain=None,
    clamp=None,
):
    """y[n] = bias_act(w[n] * x[n] + noise, bias), w[n,o,i] = weight[o,i] * styles[n,i], unit norm
    per (n, o).

    Args:
        x: [N, I, H, W], any floating dtype; contiguous or channels_last.
        weight: [O, I, kh, kw], shared by the samples; float32, or the dtype of x. Or what
            `fold_weight` made of one that does not change any more.
        styles: [N, I]; float32, or the dtype of x.
        noise: [N, 1, H', W'] or [1, 1, H', W'] (anything that broadcasts), added before the bias;
            or None.
        up, down, padding, resample_filter, flip_weight: as `conv2d_resample` (there called f).
        demodulate: scale w[n,o] by rsqrt(sum of squares + 1e-8).
        bias: [O] or None.
        act, alpha, gain, clamp: as `bias_act`.
    Returns: [N, O, H', W']; dtype and layout of x; twice differentiable in x, weight, styles,
        noise, bias. Scales are computed in float32 (float64 for float64); float16 does not overflow
        however large weight and styles are, as long as the result fits.
    Raises: ValueError if the shapes do not fit.
    Source: Karras et al. 2020 (arXiv:1912.04958), section 2.2, equations 1-3.
    """
    folded = weight if isinstance(weight, FoldedWeight) else None
    weight = weight if folded is None else folded.weight
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"modulated_conv2d: weight must be [O, I, kh, kw] for x [N, I, H, W]; got "
            f"{list(weight.shape)} and x {list(x.shape)}"
        )
    if styles.shape != x.shape[:2]:
        raise ValueError(
            f"modulated_conv2d: styles must be {list(x.shape[:2])}, got {list(styles.shape)}"
        )
    check_factors("modulated_conv2d", up, down)
    check_arguments(x, None, 1, act, clamp)
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"modulated_conv2d: bias must be {list(weight.shape[:1])}, got {list(bias.shape)}"
        )
    resampling = up, down, padding, resample_filter, flip_weight
    end = noise, bias, act, alpha, gain, clamp
    layer = _Layer(*resampling, *end, memory_format(x))
    given = x, weight, styles, noise, bias
    wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given)
    if _dispatch.kernel(OP, *given) is None:
        name = "weights" if x.shape[0] == 1 else "sandwich"
    else:
        names = candidates(x, weight, up, act, noise, differentiable=wanted)
        name = _plan.settled(names, ("weights", "sandwich"), x.device, wanted)
    if name is not None:
        return STRATEGIES[name](x, weight, folded, styles, demodulate, layer)
    shape = (
        ("x", tuple(x.shape)),
        ("weight", tuple(weight.shape)),
        ("up", up),
        ("down", down),
        ("dtype", str(x.dtype).removeprefix("torch.")),
        ("channels_last", layer.layout == torch.channels_last),
        ("folded", folded is not None),
    )

    def run(name):
        return STRATEGIES[name](x, weight, folded, styles, demodulate, layer)

    return _plan.run_fastest(OP, shape, names, x.device, run)


def modulated_conv2d_ref(
    x,
    weight,
    styles,
    noise=None,
    up=1,
    down=1,
    padding=0,
    resample_filter=None,
    demodulate=True,
    flip_weight=True,
    bias=None,
    act="linear",
    alpha=None,
    gain=None,
    clamp=None,
):
    """The definition of `modulated_conv2d`: weights of its own for every sample."""
    n, wide = x.shape[0], _accumulator(x)
    w = weight.to(wide)[None] * styles.to(wide)[:, None, :, None, None]
    if demodulate:
        w = w * (w.square().sum(dim=[2, 3, 4], keepdim=True) + EPS).rsqrt()
    w = w.to(x.dtype).reshape(-1, *weight.shape[1:])
    grouped = x.reshape(1, -1, *x.shape[2:])
    y = conv2d_resample(grouped, w, resample_filter, up, down, padding, n, flip_weight)
    return scale_act_ref(_split(y, n, memory_format(x)), None, noise, bias, act, alpha, gain, clamp)


class FoldedWeight(NamedTuple):
    """A weight with what depends on it alone, computed once; see `fold_weight`."""

    weight: torch.Tensor  # [O, I, kh, kw], in the order of memory that convolutions ask for
    squares: torch.Tensor  # [O, I], sums over kh, kw
    stored: torch.Tensor  # in the dtype of x, over `size`; the weight itself for float32
    size: torch.Tensor  # [O], or None for 1

    @property
    def shape(self):
        return self.weight.shape


def fold_weight(weight, dtype=torch.float32, up=1, memory_format=torch.channels_last):
    """What `modulated_conv2d` takes in place of a weight that does not change any more, without a
    gradient: the same results, for fewer passes over it.

    Args:
        weight: [O, I, kh, kw].
        dtype: of the images that it will meet.
        up: as `modulated_conv2d`: an up-sampling convolution takes its weight in another order.
        memory_format: of the images.
    Returns: `FoldedWeight`. On a CPU, two cores, [512, 512, 3, 3] then costs 0.6 to 1.6 ms less a
        call.
    """
    weight = weight.detach().to(torch.float64 if dtype == torch.float64 else torch.float32)
    weight = weight.transpose(0, 1) if up > 1 else weight
    weight = weight.contiguous(memory_format=memory_format)
    weight = weight.transpose(0, 1) if up > 1 else weight
    stored, size = _storable(weight, dtype)
    return FoldedWeight(weight, _squares(weight), stored, size)


def _storable(weight, dtype):
    """(weight / size in a dtype, size [O] or None). float16 ends at 65504: images times weights may
    pass that where the normalised result does not. A constant that cancels exactly, so no gradient
    flows through it."""
    if dtype != torch.float16:
        return weight.to(dtype), None
    fan_in = weight[0].numel()
    size = weight.detach().abs().amax(dim=[1, 2, 3]).clamp_min(EPS) * fan_in**0.5
    return (weight / size[:, None, None, None]).to(dtype), size


def candidates(x, weight, up=1, act="linear", noise=None, differentiable=False):
    """The strategies that serve a call, the rule's choice first.

    Every figure is of two CPU cores (Zen 5), float32; `benchmarks/bench_modconv.py` repeats it.
    """
    n, c, h, w = x.shape
    if n == 1:
        # Scaling the weights is three passes over them, scaling the image two over it.
        order = ("weights", "sandwich")
        return order if h * w >= WEIGHTS_FROM * weight.shape[0] else order[::-1]
    if x.device.type != "cpu":
        return "sandwich", "weights"
    fused = noise is None or (noise.ndim == 4 and noise.shape[1] == 1)
    if differentiable or act not in PIECEWISE or not fused or torch.compiler.is_compiling():
        return ("sandwich",)
    order = ("samples", "sandwich")
    return order if h * w * up**2 * weight.shape[0] >= SAMPLES_FROM else order[::-1]


WEIGHTS_FROM = 4  # pixels of the image for each output channel
SAMPLES_FROM = 1 << 19  # elements of y of a sample: 2 MiB of float32, beyond which caches end


class _Layer(NamedTuple):
    """Everything that does not depend on the strategy; as `modulated_conv2d`."""

    up: int
    down: int
    padding: object
    f: torch.Tensor
    flip_weight: bool
    noise: torch.Tensor
    bias: torch.Tensor
    act: str
    alpha: float
    gain: float
    clamp: float
    layout: torch.memory_format

    @property
    def end(self):
        """The last arguments of `bias_act`."""
        return self.bias, self.act, self.alpha, self.gain, self.clamp


# The strategies: (x, weight, its FoldedWeight or None, styles, demodulate, layer) -> y.


def _weights(x, weight, folded, styles, demodulate, layer):
    """Scale the weights and run one convolution, in groups if there are several samples."""
    n = x.shape[0]
    w = _modulated(x, weight, folded, styles, demodulate)
    w = w.to(x.dtype).reshape(-1, *weight.shape[1:])
    if n > 1:
        x = x.reshape(1, -1, *x.shape[2:])
    return _convolve(x, w, None, n, None, layer)


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
        w = _modulated(x, weight, folded, styles[i : i + 1], demodulate)[0].to(x.dtype)
        own = noise[i : i + 1] if noise is not None and noise.shape[0] > 1 else noise
        _convolve(x[i : i + 1], w, None, 1, None, layer._replace(noise=own), room)
    return y


def _sandwich(x, weight, folded, styles, demodulate, layer):
    """The same by linearity: styles scale the input channels of x and the norms scale the output
    channels of y, so all samples share one plain convolution."""
    styles = styles.to(_accumulator(x))
    if folded is not None and folded.stored.dtype == x.dtype:
        stored, size = folded.stored, folded.size
    else:
        stored, size = _storable(weight.to(styles.dtype), x.dtype)
    after = _demodulation(weight, folded, styles) if demodulate else None
    if x.dtype == torch.float16:  # as for the weight
        s_size = styles.detach().abs().amax(dim=1, keepdim=True).clamp_min(EPS)
        styles = styles / s_size
        after = size * s_size * (1 if after is None else after)
    return _convolve(x, stored, styles, 1, after, layer)


STRATEGIES = {"weights": _weights, "samples": _samples, "sandwich": _sandwich}


def _modulated(x, weight, folded, styles, demodulate):
    """[N, O, I, kh, kw] in the dtype of arithmetic."""
    wide = _accumulator(x)
    styles = styles.to(wide)
    factor = styles[:, None]
    if demodulate:
        factor = factor * _demodulation(weight, folded, styles)[:, :, None]
    return weight.to(wide) * factor[..., None, None]


def _demodulation(weight, folded, styles):
    """[N, O]: 1 over the norms of the modulated weights."""
    squares = _squares(weight.to(styles.dtype)) if folded is None else folded.squares
    squares = squares.to(styles.dtype)
    return (styles.square() @ squares.t() + EPS).rsqrt()


def _squares(weight):
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
        return _finish(_split(y, groups, layer.layout), after, layer, room)
    if before is not None:
        x = scale_act(x, before)
    if up > 1 and down == 1 and not pointwise:
        y, padding = up_convolution(x, w, f, up, padding, groups, flip)
        y = _split(y, groups, layer.layout)
        if room is None:
            return fir_act(y, f, padding, False, up**2, after, layer.noise, *layer.end)
        size = out_size(y, f, (1, 1), (1, 1), padding)
        noise = _plane(layer.noise, size)
        return fir_act_out(room(y, size), y, f, padding, up**2, after, noise, *layer.end)
    y = conv2d_resample(x, w, f, up, down, padding, groups, flip)
    return _finish(_split(y, groups, layer.layout), after, layer, room)


def _split(y, groups, layout):
    """The result of a convolution in groups, one for each sample; in the layout of the images,
    whatever that of the weight was."""
    if groups > 1:
        y = y.reshape(groups, -1, *y.shape[2:])
    return y.contiguous(memory_format=layout)


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
        return bias_act(y, layer.bias, 1, *end[1:])
    return scale_act(y, scale, noise, *end)


def _may_overwrite(y, scale, noise, b, act):
    if torch.compiler.is_compiling() or (scale is None and noise is None and act == "linear"):
        return False
    given = y, scale, noise, b
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given):
        return False
    return _dispatch.kernel(SCALE_ACT, *given) is not None and fits_out(y, noise, act)


def _accumulator(x):
    return torch.float64 if x.dtype == torch.float64 else torch.float32


for _device in ("cpu", "cuda"):
    _dispatch.register(OP, _device, modulated_conv2d, library=True)
