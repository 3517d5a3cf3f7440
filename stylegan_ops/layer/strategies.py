# SPDX-License-Identifier: Apache-2.0
"""The ways to compute a modulated convolution and what surrounds it; `choose` picks one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from stylegan_ops.layer import tensor_core_layer, winograd
from stylegan_ops.layer.choose import (
    MIN_SAMPLE,
    WINOGRAD_FORMS,
    convolved_size,
    winograd_form,
)
from stylegan_ops.layer.convolution import conv2d
from stylegan_ops.layer.finish import Allocate, finish, fir_act_end, noise_of, plane, split
from stylegan_ops.layer.fir_act import fir_act, fir_act_out
from stylegan_ops.layer.fold import EPS, squares_of, stored_as
from stylegan_ops.layer.records import Layer, Stored, Tiles
from stylegan_ops.layer.scale_act import scale_act
from stylegan_ops.ops.conv2d_resample import (
    conv2d_resample,
    up_convolution,
    up_filter_padding,
)
from stylegan_ops.ops.upfirdn2d import out_size, upfirdn2d
from stylegan_ops.runtime.images import (
    accumulator,
    memory_format,
    pad4,
    total_padding,
)


def weights(x: torch.Tensor, layer: Layer) -> torch.Tensor:
    """Scale the weights and run one convolution, in groups if there are several samples."""
    n = x.shape[0]
    w, after = _modulated(x, layer, layer.styles)
    w = w.reshape(-1, *layer.weight.shape[1:])
    if n > 1:
        x = x.reshape(1, -1, *x.shape[2:])
    return _convolve(x, w, None, n, after, layer)


def samples(x: torch.Tensor, layer: Layer) -> torch.Tensor:
    """Scale the weights and convolve, sample by sample: what is between two passes is still in the
    cache, and nothing but y is as large as the batch. Without gradient."""
    y = None

    def allocate(like: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        nonlocal y
        if y is None:
            shape, layout = (x.shape[0], like.shape[1], *size), memory_format(like)
            y = torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)
        return y[i : i + 1]

    for i in range(x.shape[0]):
        w, after = _modulated(x, layer, layer.styles[i : i + 1])
        one = replace(layer, noise=noise_of(layer.noise, i))
        _convolve(x[i : i + 1], w[0], None, 1, after, one, allocate)
    assert y is not None
    return y


def sandwich(x: torch.Tensor, layer: Layer) -> torch.Tensor:
    """The same by linearity: styles scale the input channels of x and the norms scale the output
    channels of y, so all samples share one plain convolution."""
    stored = _stored(x, layer)
    before, after = _factors(x, layer, stored.size)
    return _convolve(x, stored.weight, before, 1, after, layer)


def on_tensor_cores(x: torch.Tensor, layer: Layer) -> torch.Tensor:
    """As `sandwich`, in one kernel on tensor cores. An up-sampling layer is the four phases of its
    convolution and filter together. Without gradient."""
    r, end = layer.resampling, layer.epilogue
    if r.up > 1:
        wide = layer.weight.to(accumulator(x))
        stored = stored_as(
            tensor_core_layer.composite(wide, r.f, r.padding, r.flip_weight), x.dtype
        )
        w = stored.weight
    else:
        stored = _stored(x, layer)
        w = stored.weight if r.flip_weight else stored.weight.flip([2, 3])
    before, after = _factors(x, layer, stored.size)
    w = tensor_core_layer.arranged(w, r.up)
    parts = end.bias, end.act, end.alpha, end.gain, end.clamp
    y = tensor_core_layer.tensor_core_layer(
        x, w, before, after, layer.noise, *parts, r.up, r.padding, r.f
    )
    return split(y, 1, layer.layout)


def by_winograd(x: torch.Tensor, layer: Layer) -> torch.Tensor:
    """As `sandwich`, by minimal filtering, in one pass over x and y. Of an up-sampling layer that
    is the transposed convolution, and the filter follows. Without gradient."""
    r, styles = layer.resampling, layer.styles.to(torch.float32)
    after = _demodulation(layer, styles) if layer.demodulate else None
    tiles = _tiles(x, layer)
    if r.up > 1:
        y = _winograd_up(x, tiles, styles, after, layer)
    else:
        x0, _, y0, _ = pad4(r.padding)
        noise = plane(layer.noise, convolved_size(x, 1, r.padding))
        y = winograd.convolve(x, tiles, (y0, x0), styles, after, noise, layer.epilogue)
    return split(y, 1, layer.layout)


STRATEGIES: dict[str, Callable[[torch.Tensor, Layer], torch.Tensor]] = {
    "weights": weights,
    "samples": samples,
    "sandwich": sandwich,
    "winograd": by_winograd,
    "tensor_core_layer": on_tensor_cores,
}


def _tiles(x: torch.Tensor, layer: Layer) -> Tiles:
    """Those of the folded weight if they fit, else new ones."""
    r = layer.resampling
    flip = r.flip_weight == (r.up > 1)  # a transposed convolution rotates the weight
    tiles = layer.folded.tiles if layer.folded else None
    if tiles and tiles.flip == flip and (tiles.form == "up") == (r.up > 1):
        return tiles
    forms = WINOGRAD_FORMS[r.up]
    form = winograd_form(x, layer.weight, r.up, r.padding, forms) or forms[-1]
    return winograd.tiles(layer.weight.detach(), form, flip)


def _winograd_up(
    x: torch.Tensor,
    tiles: Tiles,
    styles: torch.Tensor,
    after: torch.Tensor | None,
    layer: Layer,
) -> torch.Tensor:
    """Sample by sample if these are large, for the same reasons as `samples`."""
    r, n, o = layer.resampling, x.shape[0], tiles.out_channels
    gain, end, padding = r.up**2, layer.epilogue, up_filter_padding(r.padding, r.f, r.up, (3, 3))
    h, w = convolved_size(x, r.up, r.padding)
    if n == 1 or h * w * o < MIN_SAMPLE or torch.compiler.is_compiling():
        u = winograd.convolve(x, tiles, styles=styles)
        return fir_act_end(u, r.f, padding, gain, after, layer.noise, end)
    y = None
    for i in range(n):
        u = winograd.convolve(x[i : i + 1], tiles, styles=styles[i : i + 1])
        size = out_size(u, r.f, (1, 1), (1, 1), padding)
        if y is None:
            y = u.new_empty(n, *size, o).permute(0, 3, 1, 2)
        noise = plane(noise_of(layer.noise, i), size)
        scale = None if after is None else after[i : i + 1]
        fir_act_out(y[i : i + 1], u, r.f, padding, gain, scale, noise, end)
    assert y is not None
    return y


def _stored(x: torch.Tensor, layer: Layer) -> Stored:
    """The weight in the dtype of x."""
    folded = layer.folded
    if folded is not None and folded.stored.dtype == x.dtype:
        return Stored(folded.stored, folded.size)
    return stored_as(layer.weight.to(accumulator(x)), x.dtype)


def _factors(
    x: torch.Tensor, layer: Layer, size: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The factors of x, [N, I], and of y, [N, O] or None; size: of the stored weight."""
    styles = layer.styles.to(accumulator(x))
    after = _demodulation(layer, styles) if layer.demodulate else None
    if x.dtype == torch.float16:  # as for the weight
        assert size is not None
        s_size = styles.detach().abs().amax(dim=1, keepdim=True).clamp_min(EPS)
        styles = styles / s_size
        after = size * s_size * (1 if after is None else after)
    return styles, after


def _modulated(
    x: torch.Tensor, layer: Layer, styles: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """[N, O, I, kh, kw] in the dtype of x, and the factors of y that remain, [N, O] or None."""
    wide = accumulator(x)
    styles = styles.to(wide)
    factor = styles[:, None]
    if layer.demodulate:
        factor = factor * _demodulation(layer, styles)[:, :, None]
    w = layer.weight.to(wide) * factor[..., None, None]
    if x.dtype != torch.float16 or layer.demodulate:
        return w.to(x.dtype), None
    stored = stored_as(w.flatten(0, 1), x.dtype)
    assert stored.size is not None
    return stored.weight.reshape(w.shape), stored.size.reshape(w.shape[:2])


def _demodulation(layer: Layer, styles: torch.Tensor) -> torch.Tensor:
    """[N, O]: 1 over the norms of the modulated weights, times the gain of the input."""
    folded = layer.folded
    squares = squares_of(layer.weight.to(styles.dtype)) if folded is None else folded.squares
    norms = (styles.square() @ squares.to(styles.dtype).t() + EPS).rsqrt()
    return norms if layer.input_gain is None else norms * layer.input_gain


def _convolve(
    x: torch.Tensor,
    w: torch.Tensor,
    before: torch.Tensor | None,
    groups: int,
    after: torch.Tensor | None,
    layer: Layer,
    allocate: Allocate | None = None,
) -> torch.Tensor:
    """bias_act(conv(x * before, w) * after + noise, bias), resampled. What precedes or follows a
    filter is computed in the pass of the filter.

    Args:
        x: [N, I, H, W], or [1, groups * I, H, W].
        w: [groups * O, I, kh, kw].
        before, after: [N, I], [N, O] or None.
        allocate: returns where to write y; None: it is allocated by the op that makes it.
    """
    r = layer.resampling
    pointwise = tuple(w.shape[2:]) == (1, 1)
    if before is not None and r.down > 1 and r.up == 1:
        y = _down_convolution(x, w, before, groups, layer)
        return finish(split(y, groups, layer.layout), after, layer, allocate)
    if before is not None:
        x = scale_act(x, before)
    if r.up > 1 and r.down == 1 and not pointwise:
        y, padding = up_convolution(x, w, r.f, r.up, r.padding, groups, r.flip_weight)
        y, gain, end = split(y, groups, layer.layout), r.up**2, layer.epilogue
        if allocate is None:
            return fir_act_end(y, r.f, padding, gain, after, layer.noise, end)
        size = out_size(y, r.f, (1, 1), (1, 1), padding)
        noise = plane(layer.noise, size)
        return fir_act_out(allocate(y, size), y, r.f, padding, gain, after, noise, end)
    y = conv2d_resample(x, w, r.f, r.up, r.down, r.padding, groups, r.flip_weight)
    return finish(split(y, groups, layer.layout), after, layer, allocate)


def _down_convolution(
    x: torch.Tensor, w: torch.Tensor, before: torch.Tensor, groups: int, layer: Layer
) -> torch.Tensor:
    """The down-sampling convolution of x * before."""
    r, down = layer.resampling, layer.resampling.down
    padding = total_padding(r.padding, r.f, 1, down)
    if tuple(w.shape[2:]) == (1, 1):
        x, down = scale_act(upfirdn2d(x, r.f, 1, down, padding), before), 1
    else:
        x = fir_act(x, r.f, padding, scale=before)
    return conv2d(x, w if r.flip_weight else w.flip([2, 3]), stride=down, groups=groups)
