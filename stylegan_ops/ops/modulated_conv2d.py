# SPDX-License-Identifier: Apache-2.0
"""The layer of StyleGAN2: modulated convolution, noise, bias, activation, clamp."""

import torch

from stylegan_ops.layer import tensor_core_layer, winograd
from stylegan_ops.layer.scale_act import accumulator, scale_act_ref
from stylegan_ops.layer.strategies import (
    EPS,
    SAMPLES_FROM,
    STRATEGIES,
    WINOGRAD_FORMS,
    FoldedWeight,
    Layer,
    convolved_size,
    fits_winograd,
    split,
    squares_of,
    storable,
    winograd_form,
)
from stylegan_ops.ops.bias_act import PIECEWISE, check_arguments
from stylegan_ops.ops.conv2d_resample import check_factors, conv2d_resample
from stylegan_ops.ops.upfirdn2d import memory_format
from stylegan_ops.runtime import dispatch, plan
from stylegan_ops.runtime.registration import wants_gradient

OP = dispatch.declare("modulated_conv2d")


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
    input_gain=None,
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
        input_gain: [] or [1], factor on x that demodulation does not cancel; float32, or the dtype
            of x; or None.
    Returns: [N, O, H', W']; dtype and layout of x; twice differentiable in x, weight, styles,
        noise, bias. Scales are computed in float32 (float64 for float64); float16 does not overflow
        however large weight and styles are, as long as the result fits.
    Raises: ValueError if the shapes do not fit.
    Source: Karras et al. 2020 (arXiv:1912.04958), section 2.2, equations 1-3.
    """
    folded = weight if isinstance(weight, FoldedWeight) else None
    weight = weight if folded is None else folded.weight
    _check_shapes(x, weight, styles, bias, input_gain)
    check_factors("modulated_conv2d", up, down)
    check_arguments(x, None, 1, act, clamp)
    resampling = up, down, padding, resample_filter, flip_weight
    end = bias, act, alpha, gain, clamp
    if input_gain is not None:
        input_gain = input_gain.reshape(())
        if not demodulate:
            styles, input_gain = styles * input_gain, None
    given = x, weight, styles, noise, bias, input_gain
    layout = None if dispatch.transformed(*given) else memory_format(x)
    layer = Layer(*resampling, noise, end, layout, input_gain)
    wanted = wants_gradient(*given)
    if dispatch.kernel(OP, *given) is None:
        name = "weights" if x.shape[0] == 1 else "sandwich"
    else:
        resampled = up, act, noise, down, padding, resample_filter
        names, others = candidates(x, folded or weight, *resampled, differentiable=wanted)
        name = plan.settled(names, others, x.device, wanted)
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

    return plan.run_fastest(OP, shape, names, x.device, run)


def _check_shapes(x, weight, styles, bias, input_gain):
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"modulated_conv2d: weight must be [O, I, kh, kw] for x [N, I, H, W]; got "
            f"{list(weight.shape)} and x {list(x.shape)}"
        )
    if styles.shape != x.shape[:2]:
        raise ValueError(
            f"modulated_conv2d: styles must be {list(x.shape[:2])}, got {list(styles.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"modulated_conv2d: bias must be {list(weight.shape[:1])}, got {list(bias.shape)}"
        )
    if input_gain is not None and input_gain.numel() != 1:
        raise ValueError(
            f"modulated_conv2d: input_gain must be one number, got {list(input_gain.shape)}"
        )


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
    input_gain=None,
):
    """The definition of `modulated_conv2d`: weights of its own for every sample."""
    n, wide = x.shape[0], accumulator(x)
    w = weight.to(wide)[None] * styles.to(wide)[:, None, :, None, None]
    if demodulate:
        w = w * (w.square().sum(dim=[2, 3, 4], keepdim=True) + EPS).rsqrt()
    if input_gain is not None:
        w = w * input_gain.reshape(())
    w = w.to(x.dtype).reshape(-1, *weight.shape[1:])
    grouped = x.reshape(1, -1, *x.shape[2:])
    y = conv2d_resample(grouped, w, resample_filter, up, down, padding, n, flip_weight)
    return scale_act_ref(split(y, n, None), None, noise, bias, act, alpha, gain, clamp)


FOLDED_BELOW = 0.92  # of the library's time, for memory of two to four times the weights
WEIGHTS_FROM = 4  # pixels of the image for each output channel


def candidates(
    x, weight, up=1, act="linear", noise=None, down=1, padding=0, f=None, differentiable=False
):
    """(the strategies that may be fastest for a call, the rule's choice first; those that serve it
    besides).

    Two CPU cores (Zen 5), float32, ms of "weights", "sandwich" at batch 1: 3.4, 2.8 at 4 px, 25.2,
    29.4 at 512 px; "samples", "sandwich" at batch 8: 143, 111 at 64 px, 205, 221 at 512 px, with
    temporaries of one sample. `benchmarks/bench_modconv.py` repeats it.
    """
    folded = weight if isinstance(weight, FoldedWeight) else None
    weight = weight if folded is None else folded.weight
    n, c, h, w = x.shape
    names, others = ("sandwich", "weights"), ("weights", "sandwich")
    alone = noise is None or (noise.ndim == 4 and noise.shape[0] in (1, n) and noise.shape[1] == 1)
    fused = not differentiable and n > 0 and act in PIECEWISE and alone
    if n == 1:
        # Scaling the weights is three passes over them, scaling the image two over it.
        names = names[::-1] if h * w >= WEIGHTS_FROM * weight.shape[0] else names
    elif x.device.type == "cpu":
        names = ("sandwich",)
        if fused and not torch.compiler.is_compiling():
            names = ("sandwich", "samples")
            names = names[::-1] if h * w * up**2 * weight.shape[0] >= SAMPLES_FROM else names
    forced = plan.is_forced("tensor_core_layer")
    if fused and x.device.type == "cuda" and (forced or tensor_core_layer.wins(x.device)):
        if tensor_core_layer.serves(x, weight, up, down, padding, f, act, noise):
            names = names if forced else ("tensor_core_layer", *names)
            others += ("tensor_core_layer",)
    if fused and fits_winograd(x, weight, up, down, padding):
        others += ("winograd",)
        tiles = folded and folded.tiles
        if tiles is None and torch.compiler.is_compiling():
            return names, others  # it would transform the weight in each call
        forms = WINOGRAD_FORMS[up] if tiles is None else (tiles.form,)
        if winograd_form(x, weight, up, padding, forms, tiles is not None) is not None:
            names = ("winograd", *names)
    return names, others


def fold_weight(
    weight,
    dtype=torch.float32,
    up=1,
    memory_format=torch.channels_last,
    size=None,
    flip_weight=True,
    padding=1,
):
    """What `modulated_conv2d` takes in place of a weight that does not change any more, without a
    gradient: the same results, for fewer passes over it.

    Args:
        weight: [O, I, kh, kw].
        dtype: of the images that it will meet.
        up, flip_weight, padding: as `modulated_conv2d`: an up-sampling convolution takes its weight
            in another order; padding matters to what is transformed.
        memory_format: of the images.
        size: (H, W) of the images, or None if unknown. Known, a 3x3 weight for float32 on a CPU is
            transformed too where that saves much (small images), in 2 to 4 times its memory.
    Returns: `FoldedWeight`. On a CPU, two cores, [512, 512, 3, 3] then costs 0.6 to 1.6 ms less a
        call, 2 ms less again if transformed.
    """
    wide = torch.float64 if torch.float64 in (dtype, weight.dtype) else torch.float32
    weight = weight.detach().to(wide)
    weight = weight.transpose(0, 1) if up > 1 else weight
    weight = weight.contiguous(memory_format=memory_format)
    weight = weight.transpose(0, 1) if up > 1 else weight
    stored, size_of = storable(weight, dtype)
    tiles = None
    if size is not None and up in WINOGRAD_FORMS:
        x = weight.new_empty(1, dtype=dtype).expand(1, weight.shape[1], *size)
        if fits_winograd(x, weight, up, 1, padding):
            shape = weight.shape[1::-1], convolved_size(x, up, padding)
            forms = WINOGRAD_FORMS[up]
            form = winograd.best_form(forms, 1, *shape, folded=True, below=FOLDED_BELOW)
            if form is not None and winograd.worth_folding(form, *shape):
                tiles = winograd.tiles(weight, form, flip_weight == (up > 1))
    return FoldedWeight(weight, squares_of(weight), stored, size_of, tiles)


for _device in ("cpu", "cuda"):
    dispatch.register(OP, _device, modulated_conv2d, library=True)
