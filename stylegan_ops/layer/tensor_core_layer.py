# SPDX-License-Identifier: Apache-2.0
"""A layer's convolution as one kernel on tensor cores: styles, convolution, demodulation, noise,
bias, activation. Internal: a strategy of `modulated_conv2d`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from stylegan_ops.layer.records import Resampling
from stylegan_ops.layer.scale_act import scale_act_ref
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.activation import PIECEWISE, mask_planes, slopes_of
from stylegan_ops.runtime.autocast import autocasts
from stylegan_ops.runtime.images import (
    Filter,
    Padding,
    Pair,
    empty_mask,
    filter_size,
    is_channels_last,
    is_plane,
    total_padding,
)
from stylegan_ops.runtime.registration import define

OP = dispatch.declare("tensor_core_layer")
TAPS = 3  # along an axis, of a phase
SEGMENT = 16  # bytes that the kernel copies at once
MAX_LINE = 1 << 24  # segments in a line of x, pixels in one of y: offsets in a tile have 29 bits
# Compute capabilities, as (9, 0), of GPUs on which a file in benchmarks/results shows that it is
# faster. On others only `plan.forced` runs it.
FASTER_ON: tuple[Pair, ...] = ()


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the kernel begins and what it makes."""

    origin: Sequence[int]  # (y, x)
    size: Sequence[int]  # (H', W')


@dataclass(frozen=True, slots=True)
class Phase:
    """How both phases of an up-sampling axis begin at the same pixel of x."""

    origin: int
    zeros: int  # before the taps of weight and filter


def wins(device: torch.device) -> bool:
    """Whether it is known to be faster on a GPU."""
    return bool(FASTER_ON) and torch.cuda.get_device_capability(device) in FASTER_ON


def supports(
    x: torch.Tensor,
    weight: torch.Tensor,
    resampling: Resampling | None = None,
    act: str = "linear",
    noise: torch.Tensor | None = None,
) -> bool:
    """Whether the kernel can compute a call of `modulated_conv2d`: on a GPU, channels_last, without
    gradient, in 16 bits or, if PyTorch's convolutions may use it, TF32."""
    r = resampling or Resampling()
    o, i, kh, kw = weight.shape
    if not _supports_images(x) or i * x.element_size() % SEGMENT:
        return False
    if r.down != 1 or kh != kw or kh not in (1, 3) or act not in PIECEWISE or o == 0:
        return False
    if r.up != 1 and (r.up != 2 or kh == 1 or o % 8 or _phases(r.padding, r.f) is None):
        return False
    height, width = _geometry(x, kh, r.up, r.padding, r.f).size
    segments = x.shape[3] * i * x.element_size() // SEGMENT
    if min(height, width) < 1 or max(height, width, segments) >= MAX_LINE:
        return False
    return noise is None or is_plane(noise, (x.shape[0], o, height, width))


def _supports_images(x: torch.Tensor) -> bool:
    if x.device.type != "cuda" or x.numel() == 0 or autocasts(x):
        return False
    if torch.cuda.get_device_capability(x.device) < (8, 0) or not is_channels_last(x):
        return False
    half = x.dtype in (torch.float16, torch.bfloat16)
    return half or (x.dtype == torch.float32 and tf32_allowed())


def tf32_allowed() -> bool:
    """Whether PyTorch's convolutions of float32 may round their operands to TF32."""
    return torch.backends.cudnn.conv.fp32_precision == "tf32"  # type: ignore[attr-defined]


def tensor_core_layer(
    x: torch.Tensor,
    w: torch.Tensor,
    styles: torch.Tensor | None = None,
    scale: torch.Tensor | None = None,
    noise: torch.Tensor | None = None,
    b: torch.Tensor | None = None,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    up: int = 1,
    padding: Padding = 0,
    f: Filter = None,
    mask: bool = False,
    variant: int = -1,
    split: int = 0,
) -> Any:
    """y = bias_act(conv2d_resample(x * styles[n, i], weight, f, up, padding) * scale[n, o] + noise,
    b), for calls that `supports` accepts.

    Args:
        x: [N, I, H, W]; channels_last is read without a copy.
        w: the weight in the dtype of x as `arranged` gives it.
        styles: [N, I] or None. x * styles is rounded to the dtype of x.
        scale: [N, O] or None.
        noise: [N, 1, H', W'], [1, 1, H', W'] or None.
        b, act, alpha, gain, clamp: as `bias_act`; piecewise linear.
        up, padding, f: as `conv2d_resample`.
        mask: return (y, its mask as `bias_act` keeps it) instead of y.
        variant, split: tile, and parts of the sum; -1, 0: the kernel's choice.
    Returns: [N, O, H', W'], channels_last. Without derivative.
    """
    geometry = _geometry(x, w.shape[1], up, padding, f)
    slopes = slopes_of(act, alpha, gain, clamp)
    y, bits = _op(
        *(x, w, styles, scale, noise, b, geometry.origin, geometry.size, up),
        *(slopes.negative, slopes.positive, slopes.clamp),
        *(mask_planes(act, slopes.clamp) if mask else 0, variant, split),
    )
    return (y, bits) if mask else y


def tensor_core_layer_ref(
    x: torch.Tensor,
    w: torch.Tensor,
    styles: torch.Tensor | None = None,
    scale: torch.Tensor | None = None,
    noise: torch.Tensor | None = None,
    b: torch.Tensor | None = None,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    up: int = 1,
    padding: Padding = 0,
    f: Filter = None,
) -> torch.Tensor:
    """The definition of `tensor_core_layer` in plain PyTorch."""
    geometry = _geometry(x, w.shape[1], up, padding, f)
    (y0, x0), (height, width) = geometry.origin, geometry.size
    rows, columns = -(-height // up), -(-width // up)
    if styles is not None:
        x = x * styles.to(x.dtype)[:, :, None, None]
    k = w.shape[1] - 1
    pad = x0, columns + k - x0 - x.shape[3], y0, rows + k - y0 - x.shape[2]
    u = F.conv2d(F.pad(x, pad), w.permute(0, 3, 1, 2))
    if up > 1:  # [N, (dy, dx, O), H, W] to [N, O, (H, dy), (W, dx)]
        u = u.unflatten(1, (up, up, -1)).permute(0, 3, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3)
    u = u[:, :, :height, :width]
    return scale_act_ref(u, scale, noise, b, act, alpha, gain, clamp)


def composite(
    weight: torch.Tensor, f: Filter, padding: Padding = 0, flip_weight: bool = True
) -> torch.Tensor:
    """The weights of an up-sampling convolution and its filter together, by phase.

    Args:
        weight: [O, I, 3, 3].
        f, padding, flip_weight: as `conv2d_resample`.
    Returns: [O, 4 * I, 3, 3] in the dtype of weight: what makes the pixels (2y + dy, 2x + dx) of
        the result from the 3 x 3 pixels of x around (y, x), for (dy, dx) = (0, 0), (0, 1), (1, 0),
        (1, 1) in turn. Sums are computed in float64, which no setting rounds.
    """
    w = (weight if flip_weight else weight.flip([2, 3])).double()
    taps = torch.ones(1, 1, device=w.device) if f is None else f
    taps = (torch.outer(taps, taps) if taps.ndim == 1 else taps).double()
    kh, kw = taps.shape
    o, i = w.shape[:2]
    # F.conv2d correlates where the filter convolves, so that this is their convolution.
    full = F.conv2d(w.reshape(o * i, 1, 3, 3), 4 * taps[None, None], padding=(kh - 1, kw - 1))
    phases_yx = _phases(padding, f)
    assert phases_yx is not None
    before_y, before_x = (phase.zeros for phase in phases_yx)
    height, width = full.shape[2:]
    after_y, after_x = 2 * TAPS - height - before_y, 2 * TAPS - width - before_x
    full = F.pad(full, (before_x, after_x, before_y, after_y)).view(o, i, TAPS, 2, TAPS, 2)
    # The first pixel of each two meets the odd taps: it is an odd number of zeros from x.
    phases = full.permute(0, 3, 5, 1, 2, 4).flip([1, 2])
    return phases.reshape(o, 4 * i, TAPS, TAPS).to(weight.dtype)


def arranged(weight: torch.Tensor, up: int = 1) -> torch.Tensor:
    """`w` of `tensor_core_layer`, contiguous: [O, k, k, I] of a weight [O, I, k, k] (correlated
    with x), or [4 * O, k, k, I] of its `composite` for up = 2. A channels_last weight is not
    copied; otherwise the result is worth keeping."""
    if up == 1:
        return weight.permute(0, 2, 3, 1).contiguous()
    o, i, kh, kw = weight.shape
    phases = weight.reshape(o, 4, i // 4, kh, kw).permute(1, 0, 3, 4, 2).contiguous()
    return phases.view(4 * o, kh, kw, i // 4)


def adjoint(weight: torch.Tensor) -> torch.Tensor:
    """`w` for the gradient w.r.t. x of a convolution with padding p and weight [O, I, k, k]. That
    is `tensor_core_layer` of dy with padding k - 1 - p; its styles are the scale of the convolution
    and its scale the styles."""
    return arranged(weight.flip([2, 3]).transpose(0, 1))


def _phases(padding: Padding, f: Filter) -> tuple[Phase, Phase] | None:
    """Along y and x; None if that takes more than `TAPS` taps of each phase."""
    kw, kh = filter_size(f)
    x0, _, y0, _ = total_padding(padding, f, 2, 1)
    y, x = _phase(y0, kh), _phase(x0, kw)
    return (y, x) if y and x else None


def _phase(p: int, k: int) -> Phase | None:
    # The sample (Y - P + tap) / 2 exists if that is even; with an odd P, the pixels Y = 2y, 2y + 1
    # begin at sample y - (P - 1) / 2 both.
    zeros = 1 - p % 2
    return Phase((p + zeros - 1) // 2, zeros) if zeros + k + 2 <= 2 * TAPS else None


def _geometry(x: torch.Tensor, kernel: int, up: int, padding: Padding, f: Filter) -> Geometry:
    height, width = x.shape[2:]
    x0, x1, y0, y1 = total_padding(padding, f, up, 1)
    if up == 1:
        size = height + y0 + y1 - kernel + 1, width + x0 + x1 - kernel + 1
        return Geometry((y0, x0), size)
    kw, kh = filter_size(f)
    phases = _phases(padding, f)
    assert phases is not None
    y, x_ = phases
    size = 2 * height + y0 + y1 - kh - 1, 2 * width + x0 + x1 - kw - 1
    return Geometry((y.origin, x_.origin), size)


def _fake(
    x: torch.Tensor, w: torch.Tensor, styles: Any, scale: Any, noise: Any, b: Any, *args: Any
) -> Any:
    _, size, up, _, _, _, planes, _, _ = args
    n, o = x.shape[0], w.shape[0] // up**2
    y = x.new_empty(n, size[0], size[1], o).permute(0, 3, 1, 2)
    return y, empty_mask(x, y.numel(), planes)


_op = define(
    OP,
    "(Tensor x, Tensor weight, Tensor? styles, Tensor? scale, Tensor? noise, Tensor? b,"
    " SymInt[] origin, SymInt[] size, int up, float negative, float positive, float clamp,"
    " int planes, int variant, int split) -> (Tensor, Tensor)",
    _fake,
)
dispatch.register(OP, "cuda", tensor_core_layer, in_extension=True)
