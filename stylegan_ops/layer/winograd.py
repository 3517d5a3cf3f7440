# SPDX-License-Identifier: Apache-2.0
"""3x3 convolutions by minimal filtering (Winograd 1980; Lavin and Gray 2015, arXiv:1509.09308), for
float32 on a CPU: a quarter of the multiplications of a direct one at stride 1, 9/16 at stride 2."""

import os
from typing import NamedTuple

import torch

from stylegan_ops.layer.scale_act import numbers
from stylegan_ops.ops.bias_act import slopes_of
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.registration import define

OP = dispatch.declare("winograd")
# The instructions that PyTorch takes, which ATEN_CPU_CAPABILITY limits: 2 AVX-512, 0 portable.
ISA = {"AVX2": 1, "AVX512": 2}.get(torch.backends.cpu.get_cpu_capability(), 0)
FORMS = {"tile2": 0, "tile4": 1, "up": 2, "down": 3}  # WinogradForm in csrc/cpu/winograd_form.h
PANEL = 32  # channels of y that a multiplication makes; kPanel in csrc

# What a convolution costs, in the time of a multiplication by a direct one, for each pair of
# channels (two Zen 5 cores, AVX-512; benchmarks/bench_winograd.py shows where that is wrong):
# (outputs of a tile on either side, its multiplications, what its transforms add for each channel
# of x and of y, transforming the weights, reading them).
COSTS = {
    "tile2": (2, 16 * 1.25, 420, 1600, 400),
    "tile4": (4, 36 * 1.25, 1200, 2800, 800),
    "up": (8, 81 * 1.25, 1900, 2700, 700),
    "down": (4, 81 * 1.25, 1700, 2700, 700),
}
# The library's: for each pixel of y; once, with weights as they are, and in its order.
DIRECT = {
    "tile2": (9.0, 1150, 700),
    "tile4": (9.0, 1150, 700),
    "up": (9.9 / 4, 1500, 1000),
    "down": (9.5, 1450, 1000),
}
# By ISA: the portable loops leave more of what registers can do to the compiler than a library's.
SLOWER = (1.6, 1.0, 1.0)
CONTIGUOUS_FROM = 256  # channels; with fewer the copies to channels_last and back take the gain
WORTH_FOLDING = 0.18  # of a call's time that transforming the weights takes
# The same of gradients by the weight.
GRAD_COSTS = {
    "tile2": (2, 17.2, 200, 520),
    "tile4": (4, 43.5, 650, 1200),
    "down": (4, 130.0, 1000, 1250),
}
GRAD_DIRECT = {"tile2": (9.0, 300), "tile4": (9.0, 300), "down": (12.0, 300)}


def best_form(
    forms, samples, channels, size, folded=False, channels_last=True, isa=None, below=1.0
):
    """The fastest of some forms, or None where the library's direct convolution is.

    Args:
        forms: names.
        samples, channels, size: N, (I, O), (H', W') of y.
        folded: whether the weights are transformed already.
        channels_last: whether x is; else it and y are copied.
        isa: as `tiles`.
        below: share of the library's time that it must stay under.
    """
    if not channels_last and min(channels) < CONTIGUOUS_FROM:
        return None
    last = 4 if folded else 3
    costs = {form: (*COSTS[form][:3], COSTS[form][last]) for form in forms}
    direct = {form: (DIRECT[form][0], DIRECT[form][last - 2]) for form in forms}
    return _fastest(costs, direct, samples, channels, size, isa, below)


def best_grad_form(forms, samples, channels, size, isa=None):
    """The same of `weight_grad`."""
    costs = {form: GRAD_COSTS[form] for form in forms}
    return _fastest(costs, GRAD_DIRECT, samples, channels, size, isa, 1.0)


def _fastest(costs, direct, samples, channels, size, isa, least):
    isa, best = ISA if isa is None else isa, None
    for form, (m, products, around, once) in costs.items():
        pixel, fixed = direct[form]
        cost = _tiles_cost(m, products, around, samples, channels, size) * SLOWER[isa] + once
        share = cost / (pixel * samples * size[0] * size[1] + fixed)
        if share < least:
            best, least = form, share
    return best


def _tiles_cost(m, products, around, samples, channels, size):
    (height, width), (i, o) = size, channels
    tiles = samples * -(-height // m) * -(-width // m)
    products *= -(-o // PANEL) * PANEL / o  # of channels that do not exist too
    return tiles * (products + around * (1 / i + 1 / o))


def worth_folding(form, channels, size):
    """Whether transforming the weights in each call would take a share of it that is worth the
    memory; arguments as `best_form`, of one sample."""
    m, products, around, transform, read = COSTS[form]
    cost = _tiles_cost(m, products, around, 1, channels, size)
    return transform - read > WORTH_FOLDING * cost


class Tiles(NamedTuple):
    """Weights of one convolution, transformed."""

    u: torch.Tensor
    out_channels: int
    form: str
    flip: bool


def fits(x, weight):
    """Whether the kernels take these tensors, [N, I, H, W] and [O, I, 3, 3]."""
    return (
        x.device.type == "cpu"
        and os.name != "nt"  # its compiler makes no vectors of these loops
        and x.dtype == weight.dtype == torch.float32
        and tuple(weight.shape[2:]) == (3, 3)
        and x.shape[1] == weight.shape[1]
        and x.numel() > 0
        and weight.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and dispatch.kernel(OP, x, weight) is not None
    )


def tiles(weight, form, flip=False, isa=None):
    """Transform a weight.

    Args:
        weight: [O, I, 3, 3] float32, any strides.
        form: "tile2", "tile4": for stride 1, by tiles of 2x2 or 4x4 outputs; "up": for the
            transposed convolution at stride 2, y[2p + k] += w[k] x[p]; "down": for stride 2.
        flip: turn the weight by half, as weight.flip([2, 3]).
        isa: 0 portable, 1 AVX2, 2 AVX-512; those that PyTorch takes, if None.
    """
    isa = ISA if isa is None else isa
    return Tiles(_weights(weight, FORMS[form], flip, isa), weight.shape[0], form, flip)


def convolve(x, t, padding=(0, 0), styles=None, scale=None, noise=None, end=None, isa=None):
    """bias_act(convolution of x * styles, times scale, + noise): the whole layer in one pass.

    Args:
        x: [N, I, H, W] float32; read as channels_last.
        t: `Tiles`.
        padding: (y, x), zeros around x; (0, 0) for "up".
        styles: [N, I] or None.
        scale, noise: as `scale_act` has them fused.
        end: bias, act (piecewise linear), alpha, gain, clamp, or None.
        isa: as `tiles`.
    Returns: [N, O, H', W'], channels_last. Errors stay below 1e-5 of the largest value. What is not
        finite makes NaN of all outputs of its tiles.
    """
    b, slopes, clamp = None, (1.0, 1.0), -1
    if end is not None:
        b, act, alpha, gain, clamp = end
        alpha, gain, clamp = numbers(act, alpha, gain, clamp)
        slopes = slopes_of(act, alpha, gain)
    isa = ISA if isa is None else isa
    u, out_channels, form, _ = t
    kind = FORMS[form]
    return _op(x, u, out_channels, styles, scale, noise, b, kind, padding, *slopes, clamp, isa)


def out_size(size, form, padding=(0, 0)):
    """[H', W'] of y, for x of a size (H, W); padding: (y, x)."""
    if form == "up":
        return [2 * n + 1 for n in size]
    stride = 2 if form == "down" else 1
    return [(n + 2 * p - 3) // stride + 1 for n, p in zip(size, padding)]


def _fake(x, u, out_channels, styles, scale, noise, b, form, padding, neg, pos, clamp, isa):
    shape = x.shape[0], out_channels, *out_size(x.shape[2:], list(FORMS)[form], padding)
    return x.new_empty(shape).contiguous(memory_format=torch.channels_last)


def _fake_weights(w, form, flip, isa):
    side = 4 if form == FORMS["tile2"] else 6
    return w.new_empty((w.shape[0] + 31) // 32 * 32 * side**2 * w.shape[1])


def weight_grad(x, dy, form, padding=(0, 0), isa=None):
    """The gradient of a convolution by its weight.

    Args:
        x: [N, I, H, W] float32.
        dy: [N, O, H', W'].
        form: "tile2", "tile4" or "down"; that of "up" is that of "down" with x and dy exchanged.
        padding, isa: as `convolve`.
    Returns: [O, I, 3, 3], contiguous. The same bits for any number of threads.
    """
    return _grad(x, dy, FORMS[form], padding, ISA if isa is None else isa)


_weights = define(
    "winograd_weights", "(Tensor w, int form, bool flip, int isa) -> Tensor", _fake_weights
)
_op = define(
    OP,
    "(Tensor x, Tensor u, int out_channels, Tensor? styles, Tensor? scale, Tensor? noise, "
    "Tensor? b, int form, SymInt[] padding, float negative, float positive, float clamp, int isa) "
    "-> Tensor",
    _fake,
)
_grad = define(
    "winograd_grad",
    "(Tensor x, Tensor dy, int form, SymInt[] padding, int isa) -> Tensor",
    lambda x, dy, form, padding, isa: x.new_empty(dy.shape[1], x.shape[1], 3, 3),
)
dispatch.register(OP, "cpu", convolve, library=True)
