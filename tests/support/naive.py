# SPDX-License-Identifier: Apache-2.0
"""The ops once more, straight from their formulas with PyTorch's own functions, step by step and in
the dtype of the input. What "PyTorch's own ops in the same dtype" means in the tolerance rule."""

import torch
import torch.nn.functional as F

import stylegan_ops
from stylegan_ops.runtime.activation import ACTIVATIONS


def upfirdn2d(x, f, up=1, down=1, padding=0, flip_filter=False, gain=1.0):
    (ux, uy), (dx, dy) = _pair(up), _pair(down)
    x0, x1, y0, y1 = (padding,) * 4 if isinstance(padding, int) else padding
    n, c, h, w = x.shape
    f = torch.ones(1, 1) if f is None else torch.outer(f, f) if f.ndim == 1 else f
    grid = x.new_zeros(n, c, h, uy, w, ux)
    grid[:, :, :, 0, :, 0] = x
    grid = F.pad(grid.reshape(n, c, h * uy, w * ux), [x0, x1, y0, y1])
    f = (f if flip_filter else f.flip([0, 1])).to(x.dtype)
    y = F.conv2d(grid.reshape(n * c, 1, *grid.shape[2:]), f[None, None]) * gain
    return y.reshape(n, c, *y.shape[2:])[:, :, ::dy, ::dx]


def fir_act(x, f, padding=0, flip_filter=False, fir_gain=1.0, **given):
    y = upfirdn2d(x, f, padding=padding, flip_filter=flip_filter, gain=fir_gain)
    return scale_act(y, **given)


def scale_act(x, scale=None, noise=None, b=None, act="linear", alpha=None, gain=None, clamp=None):
    y = x if scale is None else x * scale.to(x.dtype)[:, :, None, None]
    y = y if noise is None else y + noise.to(y.dtype)
    y = y if b is None else y + b.to(y.dtype)[:, None, None]
    spec = ACTIVATIONS[act]
    y = spec.function(y, spec.alpha if alpha is None else alpha)
    y = y * (spec.gain if gain is None else gain)
    return y if clamp is None else y.clamp(-clamp, clamp)


def conv2d_resample(x, weight, f=None, up=1, down=1, padding=0, groups=1, flip_weight=True):
    kw, kh = (1, 1) if f is None else (f.shape[-1], f.shape[0])
    x0, x1, y0, y1 = (padding,) * 4 if isinstance(padding, int) else padding
    if up > 1:
        x0, x1 = x0 + (kw + up - 1) // 2, x1 + (kw - up) // 2
        y0, y1 = y0 + (kh + up - 1) // 2, y1 + (kh - up) // 2
    if down > 1:
        x0, x1 = x0 + (kw - down + 1) // 2, x1 + (kw - down) // 2
        y0, y1 = y0 + (kh - down + 1) // 2, y1 + (kh - down) // 2
    x = upfirdn2d(x, f if up > 1 else None, up, 1, [x0, x1, y0, y1], gain=up**2)
    x = F.conv2d(x, weight if flip_weight else weight.flip([2, 3]), groups=groups)
    return upfirdn2d(x, f if down > 1 else None, 1, down)


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
    samples = []
    for xn, sn in zip(x, styles):
        w = (weight * sn[None, :, None, None]).to(x.dtype)
        if demodulate:
            w = w * (w.square().sum(dim=[1, 2, 3], keepdim=True) + 1e-8).rsqrt()
        samples.append(
            conv2d_resample(xn[None], w, resample_filter, up, down, padding, 1, flip_weight)
        )
    y = torch.cat(samples)
    y = y if noise is None else y + noise.to(y.dtype)
    return stylegan_ops.bias_act(y, bias, act=act, alpha=alpha, gain=gain, clamp=clamp)


def _pair(v):
    return (v, v) if isinstance(v, int) else v
