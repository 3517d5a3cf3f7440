# SPDX-License-Identifier: Apache-2.0
"""The layer of StyleGAN2: modulated convolution, noise, bias, activation, clamp."""

import torch

from stylegan_ops import _dispatch
from stylegan_ops._plan import modconv_strategy
from stylegan_ops.bias_act import bias_act, check_arguments
from stylegan_ops.conv2d_resample import check_factors, conv2d_resample, up_convolution
from stylegan_ops.fir_act import fir_act, scaled

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
        weight: [O, I, kh, kw], shared by the samples; float32, or the dtype of x.
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
    kernel = _dispatch.kernel(OP, x)
    if kernel is not None:
        convolution = (up, down, padding, resample_filter, demodulate, flip_weight)
        return kernel(x, weight, styles, noise, *convolution, bias, act, alpha, gain, clamp)
    n, strategy = x.shape[0], STRATEGIES[modconv_strategy(x, weight)]
    x, w, scale, groups = strategy(x, weight, styles, demodulate)
    if up > 1 and down == 1 and weight.shape[2:] != (1, 1):
        y, padding = up_convolution(x, w, resample_filter, up, padding, groups, flip_weight)
        y = _samples(y, n, groups)
        rest = scale, noise, bias, act, alpha, gain, clamp
        return fir_act(y, resample_filter, padding, False, up**2, *rest)
    y = conv2d_resample(x, w, resample_filter, up, down, padding, groups, flip_weight)
    y = _samples(y, n, groups)
    if scale is not None:
        y = scaled(y, scale)
    return _epilogue(y, noise, bias, act, alpha, gain, clamp)


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
    n = x.shape[0]
    x, w, _, groups = _weights(x, weight, styles, demodulate)
    y = conv2d_resample(x, w, resample_filter, up, down, padding, groups, flip_weight)
    return _epilogue(_samples(y, n, groups), noise, bias, act, alpha, gain, clamp)


# A strategy makes a convolution of a modulated one: (x, weight, scale of y [N, O] or None, groups).


def _weights(x, weight, styles, demodulate):
    """Scale the weights and run one grouped convolution."""
    n, wide = x.shape[0], _accumulator(x)
    w = weight.to(wide)[None] * styles.to(wide)[:, None, :, None, None]
    if demodulate:
        w = w * (w.square().sum(dim=[2, 3, 4], keepdim=True) + EPS).rsqrt()
    w = w.to(x.dtype).reshape(-1, *weight.shape[1:])
    return x.reshape(1, -1, *x.shape[2:]) if n > 1 else x, w, None, n


def _samples(y, n, groups):
    """The result of a convolution in groups, one for each sample."""
    return y.reshape(n, -1, *y.shape[2:]) if groups > 1 else y


def _sandwich(x, weight, styles, demodulate):
    """The same by linearity: styles scale the input channels of x and the norms scale the output
    channels of y, so all samples share one plain convolution."""
    wide = _accumulator(x)
    weight, styles = weight.to(wide), styles.to(wide)
    after = None
    if demodulate:
        norms = styles.square() @ weight.square().sum(dim=[2, 3]).t()
        after = (norms + EPS).rsqrt()
    if x.dtype == torch.float16:
        # float16 ends at 65504: x times styles, or the plain convolution, may pass that where the
        # result does not. Constants that cancel exactly, so no gradient flows through them.
        fan_in = weight[0].numel()
        w_size = weight.detach().abs().amax(dim=[1, 2, 3]).clamp_min(EPS) * fan_in**0.5
        s_size = styles.detach().abs().amax(dim=1, keepdim=True).clamp_min(EPS)
        weight, styles = weight / w_size[:, None, None, None], styles / s_size
        after = w_size * s_size * (1 if after is None else after)
    return x * styles.to(x.dtype)[:, :, None, None], weight.to(x.dtype), after, 1


STRATEGIES = {"weights": _weights, "sandwich": _sandwich}  # by the names of _plan.modconv_strategy


def _epilogue(y, noise, bias, act, alpha, gain, clamp):
    if noise is not None:
        y = y + noise.to(y.dtype)
    return bias_act(y, bias, act=act, alpha=alpha, gain=gain, clamp=clamp)


def _accumulator(x):
    return torch.float64 if x.dtype == torch.float64 else torch.float32
