# SPDX-License-Identifier: Apache-2.0
"""3x3 convolutions by minimal filtering (Winograd 1980; Lavin and Gray 2015, arXiv:1509.09308), for
float32 on a CPU: a quarter of the multiplications of a direct one at stride 1, 9/16 at stride 2."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from stylegan_ops.layer.records import Epilogue, Tiles
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.activation import LINEAR, slopes_of
from stylegan_ops.runtime.registration import define

OP = dispatch.declare("winograd")
# The instructions that PyTorch uses, which ATEN_CPU_CAPABILITY limits: 2 AVX-512, 0 portable.
ISA = {"AVX2": 1, "AVX512": 2}.get(torch.backends.cpu.get_cpu_capability(), 0)
FORMS = {"tile2": 0, "tile4": 1, "up": 2, "down": 3}  # Form in csrc/winograd/params.h
PANEL = 32  # channels of y that a multiplication makes; kPanel in csrc


@dataclass(frozen=True, slots=True)
class Cost:
    """What a convolution by tiles costs, for each pair of channels, in multiplications of a direct
    one."""

    side: int  # outputs of a tile along an axis
    products: float  # multiplications of a tile
    transforms: float  # what transforming a tile adds, for each channel of x and of y
    weights: float  # transforming the weights
    folded: float = 0.0  # reading weights that are transformed already


@dataclass(frozen=True, slots=True)
class DirectCost:
    """What a direct convolution costs, in the same unit."""

    pixel: float  # for each pixel of y
    weights: float  # once, with weights as given
    folded: float = 0.0  # once, with weights in its own order


# Two Zen 5 cores, AVX-512; benchmarks/bench_winograd.py shows where it is wrong.
COSTS = {
    "tile2": Cost(2, 16 * 1.25, 420, 1600, 400),
    "tile4": Cost(4, 36 * 1.25, 1200, 2800, 800),
    "up": Cost(8, 81 * 1.25, 1900, 2700, 700),
    "down": Cost(4, 81 * 1.25, 1700, 2700, 700),
}
DIRECT_COSTS = {  # of oneDNN
    "tile2": DirectCost(9.0, 1150, 700),
    "tile4": DirectCost(9.0, 1150, 700),
    "up": DirectCost(9.9 / 4, 1500, 1000),
    "down": DirectCost(9.5, 1450, 1000),
}
# By ISA: the portable loops leave more of what registers can do to the compiler than oneDNN does.
ISA_FACTORS = (1.6, 1.0, 1.0)
MIN_CONTIGUOUS = (
    256  # channels; with fewer, copies to channels_last and back cost more than the gain
)
MIN_FOLDED_SHARE = 0.18  # of a call's time that transforming the weights takes
# The same for gradients w.r.t. the weight.
GRAD_COSTS = {
    "tile2": Cost(2, 17.2, 200, 520),
    "tile4": Cost(4, 43.5, 650, 1200),
    "down": Cost(4, 130.0, 1000, 1250),
}
DIRECT_GRAD_COSTS = {
    "tile2": DirectCost(9.0, 300),
    "tile4": DirectCost(9.0, 300),
    "down": DirectCost(12.0, 300),
}


def best_form(
    forms: Iterable[str],
    samples: int,
    channels: tuple[int, int],
    size: Sequence[int],
    folded: bool = False,
    channels_last: bool = True,
    isa: int | None = None,
    below: float = 1.0,
) -> str | None:
    """The fastest of some forms, or None if oneDNN's direct convolution is faster.

    Args:
        forms: names.
        samples, channels, size: N, (I, O), (H', W') of y.
        folded: whether the weights are transformed already.
        channels_last: whether x is; else it and y are copied.
        isa: as `tiles`.
        below: share of oneDNN's time that it must stay under.
    """
    if not channels_last and min(channels) < MIN_CONTIGUOUS:
        return None
    return _fastest(forms, COSTS, DIRECT_COSTS, samples, channels, size, isa, below, folded)


def best_grad_form(
    forms: Iterable[str],
    samples: int,
    channels: tuple[int, int],
    size: Sequence[int],
    isa: int | None = None,
) -> str | None:
    """The same for `weight_grad`."""
    costs = GRAD_COSTS, DIRECT_GRAD_COSTS
    return _fastest(forms, *costs, samples, channels, size, isa, below=1.0, folded=False)


def _fastest(
    forms: Iterable[str],
    costs: Mapping[str, Cost],
    direct_costs: Mapping[str, DirectCost],
    samples: int,
    channels: tuple[int, int],
    size: Sequence[int],
    isa: int | None,
    below: float,
    folded: bool,
) -> str | None:
    factor, best = ISA_FACTORS[ISA if isa is None else isa], None
    height, width = size
    for form in forms:
        tiled, direct = costs[form], direct_costs[form]
        cost = _tiles_cost(tiled, samples, channels, size) * factor
        cost += tiled.folded if folded else tiled.weights
        fixed = direct.folded if folded else direct.weights
        share = cost / (direct.pixel * samples * height * width + fixed)
        if share < below:
            best, below = form, share
    return best


def _tiles_cost(cost: Cost, samples: int, channels: tuple[int, int], size: Sequence[int]) -> float:
    (height, width), (i, o) = size, channels
    tiles = samples * -(-height // cost.side) * -(-width // cost.side)
    products = cost.products * (-(-o // PANEL) * PANEL / o)  # of channels that do not exist too
    return tiles * (products + cost.transforms * (1 / i + 1 / o))


def worth_folding(form: str, channels: tuple[int, int], size: Sequence[int]) -> bool:
    """Whether transforming the weights in each call would take a share of it that is worth the
    memory; arguments as `best_form`, for one sample."""
    cost = COSTS[form]
    saved = cost.weights - cost.folded
    return saved > MIN_FOLDED_SHARE * _tiles_cost(cost, 1, channels, size)


def supports(x: torch.Tensor, weight: torch.Tensor) -> bool:
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


def tiles(weight: torch.Tensor, form: str, flip: bool = False, isa: int | None = None) -> Tiles:
    """Transform a weight.

    Args:
        weight: [O, I, 3, 3] float32, any strides.
        form: "tile2", "tile4": for stride 1, by tiles of 2x2 or 4x4 outputs; "up": for the
            transposed convolution at stride 2, y[2p + k] += w[k] x[p]; "down": for stride 2.
        flip: rotate the weight by half a turn, as weight.flip([2, 3]).
        isa: 0 portable, 1 AVX2, 2 AVX-512; None: those that PyTorch uses.
    """
    isa = ISA if isa is None else isa
    return Tiles(_weights(weight, FORMS[form], flip, isa), weight.shape[0], form, flip)


def convolve(
    x: torch.Tensor,
    t: Tiles,
    padding: Sequence[int] = (0, 0),
    styles: torch.Tensor | None = None,
    scale: torch.Tensor | None = None,
    noise: torch.Tensor | None = None,
    end: Epilogue | None = None,
    isa: int | None = None,
) -> torch.Tensor:
    """bias_act(convolution of x * styles, times scale, + noise): the whole layer in one pass.

    Args:
        x: [N, I, H, W] float32; read as channels_last.
        t: the transformed weight.
        padding: (y, x), zeros around x; (0, 0) for "up".
        styles: [N, I] or None.
        scale, noise: as `scale_act` fuses them.
        end: bias and a piecewise linear activation, or None.
        isa: as `tiles`.
    Returns: [N, O, H', W'], channels_last. Errors stay below 1e-5 of the largest value. A value
        that is not finite makes NaN of all outputs of its tiles.
    """
    bias, slopes = None, LINEAR
    if end is not None:
        bias, slopes = end.bias, slopes_of(end.act, end.alpha, end.gain, end.clamp)
    return _op(
        *(x, t.u, t.out_channels, styles, scale, noise, bias, FORMS[t.form], padding),
        *(slopes.negative, slopes.positive, slopes.clamp, ISA if isa is None else isa),
    )


def out_size(size: Sequence[int], form: str, padding: Sequence[int] = (0, 0)) -> list[int]:
    """[H', W'] of y, for x of a size (H, W); padding: (y, x)."""
    if form == "up":
        return [2 * n + 1 for n in size]
    stride = 2 if form == "down" else 1
    return [(n + 2 * p - 3) // stride + 1 for n, p in zip(size, padding)]


def _fake(
    x: Any,
    u: Any,
    out_channels: Any,
    styles: Any,
    scale: Any,
    noise: Any,
    b: Any,
    form: Any,
    padding: Any,
    neg: Any,
    pos: Any,
    clamp: Any,
    isa: Any,
) -> Any:
    shape = x.shape[0], out_channels, *out_size(x.shape[2:], list(FORMS)[form], padding)
    return x.new_empty(shape).contiguous(memory_format=torch.channels_last)


def _fake_weights(w: Any, form: Any, flip: Any, isa: Any) -> Any:
    side = 4 if form == FORMS["tile2"] else 6
    return w.new_empty((w.shape[0] + 31) // 32 * 32 * side**2 * w.shape[1])


def weight_grad(
    x: torch.Tensor,
    dy: torch.Tensor,
    form: str,
    padding: Sequence[int] = (0, 0),
    isa: int | None = None,
) -> torch.Tensor:
    """The gradient of a convolution w.r.t. its weight.

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
dispatch.register(OP, "cpu", convolve, in_extension=True)
