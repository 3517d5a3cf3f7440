# SPDX-License-Identifier: Apache-2.0
"""A layer's convolution as one kernel on tensor cores: styles, convolution, demodulation, noise,
bias, activation. Internal: a strategy of `modulated_conv2d`; csrc/cuda/modconv_gemm.cuh."""

import torch
import torch.nn.functional as F

from stylegan_ops.layer.scale_act import is_plane, numbers, scale_act_ref
from stylegan_ops.ops.bias_act import PIECEWISE, mask_planes, slopes_of
from stylegan_ops.ops.conv2d_resample import total_padding
from stylegan_ops.ops.upfirdn2d import filter_size
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.registration import autocasts, define

OP = dispatch.declare("tensor_core_layer")
TAPS = 3  # along an axis, of a phase
SEGMENT = 16  # bytes that the kernel copies at once
LONGEST = 1 << 24  # segments in a line of x, pixels in one of y: offsets in a tile have 29 bits
# Compute capabilities, as (9, 0), of GPUs on which a file in benchmarks/results says that it is
# faster. On others only `plan.forced` takes it.
WINS = ()


def wins(device):
    """Whether the plan may take it on a GPU."""
    return bool(WINS) and torch.cuda.get_device_capability(device) in WINS


def serves(x, weight, up=1, down=1, padding=0, f=None, act="linear", noise=None):
    """Whether `tensor_core_layer` can compute a call of `modulated_conv2d`: on a GPU, channels_last,
    without gradient, in 16 bits or, if PyTorch's convolutions may use it, TF32."""
    o, i, kh, kw = weight.shape
    if x.device.type != "cuda" or x.numel() == 0 or autocasts(x):
        return False
    if torch.cuda.get_device_capability(x.device) < (8, 0):
        return False
    if x.dtype not in (torch.float16, torch.bfloat16) and not (
        x.dtype == torch.float32 and tf32_allowed()
    ):
        return False
    if not x.is_contiguous(memory_format=torch.channels_last) or i * x.element_size() % SEGMENT:
        return False
    if down != 1 or kh != kw or kh not in (1, 3) or act not in PIECEWISE or o == 0:
        return False
    if up != 1 and (up != 2 or kh == 1 or o % 8 or _phases(padding, f) is None):
        return False
    _, size = _place(x, kh, up, padding, f)
    if min(size) < 1 or max(*size, x.shape[3] * i * x.element_size() // SEGMENT) >= LONGEST:
        return False
    return noise is None or is_plane(noise, (x.shape[0], o, *size))


def tf32_allowed():
    """Whether PyTorch's convolutions of float32 may round their operands to TF32."""
    return torch.backends.cudnn.conv.fp32_precision == "tf32"


def tensor_core_layer(
    x,
    w,
    styles=None,
    scale=None,
    noise=None,
    b=None,
    act="linear",
    alpha=None,
    gain=None,
    clamp=None,
    up=1,
    padding=0,
    f=None,
    mask=False,
    variant=-1,
    split=0,
):
    """y = bias_act(conv2d_resample(x * styles[n, i], weight, f, up, padding) * scale[n, o] + noise,
    b), where `serves` says so.

    Args:
        x: [N, I, H, W]; channels_last is read as it is.
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
    alpha, gain, clamp = numbers(act, alpha, gain, clamp)
    origin, size = _place(x, w.shape[1], up, padding, f)
    planes = mask_planes(act, clamp) if mask else 0
    slopes = slopes_of(act, alpha, gain)
    y, bits = _op(
        x, w, styles, scale, noise, b, origin, size, up, *slopes, clamp, planes, variant, split
    )
    return (y, bits) if mask else y


def tensor_core_layer_ref(
    x,
    w,
    styles=None,
    scale=None,
    noise=None,
    b=None,
    act="linear",
    alpha=None,
    gain=None,
    clamp=None,
    up=1,
    padding=0,
    f=None,
):
    """The definition of `tensor_core_layer` in plain PyTorch."""
    (y0, x0), (height, width) = _place(x, w.shape[1], up, padding, f)
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


def composite(weight, f, padding=0, flip_weight=True):
    """[O, 4 * I, 3, 3] in the dtype of weight [O, I, 3, 3]: of an up-sampling convolution and its
    filter together, what makes the pixels (2y + dy, 2x + dx) of the result from the 3 x 3 pixels of
    x around (y, x), for (dy, dx) = (0, 0), (0, 1), (1, 0), (1, 1) in turn. Sums are kept in
    float64, which no setting rounds."""
    w = (weight if flip_weight else weight.flip([2, 3])).double()
    taps = torch.ones(1, 1, device=w.device) if f is None else f
    taps = (torch.outer(taps, taps) if taps.ndim == 1 else taps).double()
    kh, kw = taps.shape
    o, i = w.shape[:2]
    # F.conv2d correlates where the filter convolves, so that this is their convolution.
    full = F.conv2d(w.reshape(o * i, 1, 3, 3), 4 * taps[None, None], padding=(kh - 1, kw - 1))
    (_, before_y), (_, before_x) = _phases(padding, f)
    height, width = full.shape[2:]
    after_y, after_x = 2 * TAPS - height - before_y, 2 * TAPS - width - before_x
    full = F.pad(full, (before_x, after_x, before_y, after_y)).view(o, i, TAPS, 2, TAPS, 2)
    # The first pixel of each two meets the odd taps: it is an odd number of zeros from x.
    phases = full.permute(0, 3, 5, 1, 2, 4).flip([1, 2])
    return phases.reshape(o, 4 * i, TAPS, TAPS).to(weight.dtype)


def arranged(weight, up=1):
    """`w` of `tensor_core_layer`, contiguous: [O, k, k, I] of a weight [O, I, k, k] (correlated with
    x), or [4 * O, k, k, I] of its `composite` for up = 2. A channels_last weight is not copied;
    otherwise the result is worth keeping."""
    if up == 1:
        return weight.permute(0, 2, 3, 1).contiguous()
    o, i, kh, kw = weight.shape
    phases = weight.reshape(o, 4, i // 4, kh, kw).permute(1, 0, 3, 4, 2).contiguous()
    return phases.view(4 * o, kh, kw, i // 4)


def adjoint(weight):
    """`w` for the gradient w.r.t. x of a convolution with padding p and weight [O, I, k, k]. That is
    `tensor_core_layer` of dy with padding k - 1 - p; its styles are the scale of the convolution, its
    scale the styles."""
    return arranged(weight.flip([2, 3]).transpose(0, 1))


def _phases(padding, f):
    """For y and x: (origin, zeros before the taps of weight and filter), by which both phases begin
    at the same pixel of x; None where that takes more than `TAPS` taps of each."""
    kw, kh = filter_size(f)
    x0, _, y0, _ = total_padding(padding, f, 2, 1)
    # The sample (Y - P + tap) / 2 exists where that is even; with an odd P, the pixels Y = 2y, 2y +
    # 1 begin at sample y - (P - 1) / 2 both.
    found = []
    for p, k in ((y0, kh), (x0, kw)):
        before = 1 - p % 2
        if before + k + 2 > 2 * TAPS:
            return None
        found.append(((p + before - 1) // 2, before))
    return found


def _place(x, kernel, up, padding, f):
    """(origin, size) of the op, both (y, x)."""
    height, width = x.shape[2:]
    x0, x1, y0, y1 = total_padding(padding, f, up, 1)
    if up == 1:
        return (y0, x0), (height + y0 + y1 - kernel + 1, width + x0 + x1 - kernel + 1)
    kw, kh = filter_size(f)
    (origin_y, _), (origin_x, _) = _phases(padding, f)
    size = (2 * height + y0 + y1 - kh - 1, 2 * width + x0 + x1 - kw - 1)
    return (origin_y, origin_x), size


def _fake(x, w, styles, scale, noise, b, origin, size, up, *numbers):
    *_, planes, _, _ = numbers
    n, o = x.shape[0], w.shape[0] // up**2
    y = x.new_empty(n, size[0], size[1], o).permute(0, 3, 1, 2)
    return y, x.new_empty(planes * ((y.numel() + 511) // 512) * 64, dtype=torch.uint8)


_op = define(
    OP,
    "(Tensor x, Tensor weight, Tensor? styles, Tensor? scale, Tensor? noise, Tensor? b,"
    " SymInt[] origin, SymInt[] size, int up, float negative, float positive, float clamp,"
    " int planes, int variant, int split) -> (Tensor, Tensor)",
    _fake,
)
dispatch.register(OP, "cuda", tensor_core_layer, library=True)
