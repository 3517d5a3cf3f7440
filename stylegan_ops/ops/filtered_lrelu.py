# SPDX-License-Identifier: Apache-2.0
"""Up-sample, leaky ReLU, down-sample: the nonlinearity of StyleGAN3, without aliasing."""

import math
import warnings

import torch

from stylegan_ops.ops.bias_act import bias_act, bias_act_ref
from stylegan_ops.ops.bias_act import check_arguments as check_bias
from stylegan_ops.ops.upfirdn2d import (
    check_arguments,
    filter_size,
    memory_format,
    native_kernel,
    upfirdn2d,
    upfirdn2d_ref,
)
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.registration import differentiable, wants_gradient

OP = dispatch.declare("filtered_lrelu")
GAIN = math.sqrt(2)  # keeps the variance of a normal distribution, as in bias_act
FACTORS = (1, 2, 4)  # up and down of the kernels,
MOST_TAPS = 32  # and their longest filter along an axis; kFilteredTaps in csrc
MASK_SAMPLES = 16  # samples that a word of a mask tells of; kMaskSamples in csrc


def filtered_lrelu(
    x,
    fu=None,
    fd=None,
    b=None,
    up=1,
    down=1,
    padding=0,
    gain=GAIN,
    slope=0.2,
    clamp=None,
    flip_filter=False,
):
    """y = keep_every(down, fd * clamp(lrelu(fu * pad(zero_insert(x + b, up)) * up^2) * gain)).

    Args:
        x: [N, C, H, W], any floating dtype; contiguous or channels_last.
        fu, fd: up- and down-sampling filter, [kh, kw] or [k] for a separable one; float32, on the
            device of x; None is a single tap of 1. Where one requires a gradient, the reference
            serves.
        b: [C] or None, added before everything else.
        up, down: factors, int.
        padding: zeros on the upsampled grid, int, [x, y] or [x0, x1, y0, y1]; negative crops.
        gain: factor on the activation; None is sqrt(2).
        slope: of the leaky ReLU below 0.
        clamp: largest magnitude after the gain, or None.
        flip_filter: False convolves, True correlates.
    Returns: [N, C, H', W'], H' = (H*up + y0 + y1 - (fu_h-1) - (fd_h-1) + (down-1)) // down; dtype
        and layout of x; differentiable in x and b any number of times.
    Raises: ValueError if a filter does not fit in its image or an argument has a wrong shape.
    Source: Karras et al. 2021 (arXiv:2106.12423), section 3.2 and appendix D.
    """
    up, down, padding = _check(x, fu, fd, b, up, down, padding, clamp)
    gain = GAIN if gain is None else gain
    found = native_kernel(OP, fu, x, b, fd)
    if fd is not None and fd.requires_grad and torch.is_grad_enabled():
        found = None
    run = found or filtered_lrelu_ref
    return run(x, fu, fd, b, up, down, padding, gain, slope, clamp, flip_filter)


def _check(x, fu, fd, b, up, down, padding, clamp):
    """up, down, padding in their normal form; raises ValueError as promised."""
    for name, factor in (("up", up), ("down", down)):
        if not isinstance(factor, int) or factor < 1:
            raise ValueError(f"filtered_lrelu: {name} must be an int >= 1, got {factor!r}")
    try:
        _, _, padding = check_arguments(x, fu, up, 1, padding)
        check_bias(x, b, 1, "lrelu", clamp)
        mid = mid_size(x, fu, up, padding)
        (kw, kh) = filter_size(fd)
        if fd is not None and (fd.ndim not in (1, 2) or fd.numel() == 0):
            raise ValueError(f"filtered_lrelu: fd must be [k] or [kh, kw], got {list(fd.shape)}")
        if mid[0] < kh or mid[1] < kw:
            raise ValueError(
                f"filtered_lrelu: the filter fd of {kw}x{kh} does not fit in the up-sampled image "
                f"of {mid[1]}x{mid[0]}"
            )
    except ValueError as e:
        name, _, rest = str(e).partition(": ")
        raise ValueError(f"{OP}: {rest}") if name in ("upfirdn2d", "bias_act") else e from None
    return up, down, padding


def mid_size(x, fu, up, padding):
    """[H, W] of the image between the two filters, where the activation is."""
    (kw, kh), (x0, x1, y0, y1), (h, w) = filter_size(fu), padding, x.shape[2:]
    return [h * up + y0 + y1 - kh + 1, w * up + x0 + x1 - kw + 1]


def filtered_lrelu_ref(
    x,
    fu=None,
    fd=None,
    b=None,
    up=1,
    down=1,
    padding=0,
    gain=GAIN,
    slope=0.2,
    clamp=None,
    flip_filter=False,
):
    """The definition of `filtered_lrelu` in plain PyTorch."""
    x = bias_act_ref(x, b)
    x = upfirdn2d_ref(x, fu, up, 1, padding, flip_filter, up**2)
    x = bias_act_ref(x, None, 1, "lrelu", slope, gain, clamp)
    return upfirdn2d_ref(x, fd, 1, down, 0, flip_filter)


def general(x, fu, fd, b, up, down, padding, gain, slope, clamp, flip_filter):
    """The same by kernels of the parts, with images of the up-sampled size between them."""
    x = upfirdn2d(bias_act(x, b), fu, up, 1, padding, flip_filter, up**2)
    x = bias_act(x, None, 1, "lrelu", slope, gain, clamp)
    return upfirdn2d(x, fd, 1, down, 0, flip_filter)


def fits(x, fu, fd, up, down):
    """Whether the fused kernels take these."""
    sizes = (*filter_size(fu), *filter_size(fd))
    factors = up in FACTORS and down in FACTORS
    return x.dtype != torch.float64 and factors and max(sizes) <= MOST_TAPS


_said = set()


def _say(x, fu, fd, up, down):
    """That the fused kernel does not serve, once in a process for float64 and for other reasons."""
    reason = x.dtype == torch.float64
    if torch.compiler.is_compiling() or reason in _said:
        return
    _said.add(reason)
    sizes = f"filters of {filter_size(fu)} and {filter_size(fd)} taps, up {up}, down {down}"
    warnings.warn(
        f"filtered_lrelu: no fused kernel for {x.dtype} with {sizes}, so upfirdn2d and bias_act "
        "serve, several times slower (said once)",
        RuntimeWarning,
        stacklevel=4,  # who called `filtered_lrelu`
    )


# The native op. With u = fir_up(x + b) and v = slope(u) u, y = fir_down(v): for given slopes that
# is linear, and its adjoint the same op with the filters exchanged and transposed. So dx = op(dy;
# slopes by the mask of u), db = sum of dx, and the derivatives of that are the op again.


def filtered_lrelu_native(x, fu, fd, b, up, down, padding, gain, slope, clamp, flip_filter):
    """`filtered_lrelu` by the fused kernels in csrc where they serve."""
    if not fits(x, fu, fd, up, down):
        if x.device.type == "meta":
            run = filtered_lrelu_ref
        else:
            _say(x, fu, fd, up, down)
            run = general
        return run(x, fu, fd, b, up, down, padding, gain, slope, clamp, flip_filter)
    mid = mid_size(x, fu, up, padding)
    kw, kh = filter_size(fd)
    size = [(mid[0] - kh) // down + 1, (mid[1] - kw) // down + 1]
    if size == [1, 1]:  # y and its gradient do not tell a layout: the mask shall be of theirs
        x = x.contiguous()
    clamp = -1.0 if clamp is None else float(clamp)
    linear = slope == 1 and clamp < 0
    slopes = float(slope * gain), float(gain)
    return _op(
        x,
        fu,
        fd,
        b,
        None,
        *(up, down, (padding[0], padding[2]), (0, 0), mid, size),
        *(flip_filter, flip_filter, float(up**2), 1.0),
        *(*slopes, clamp, wants_gradient(x, b) and not linear),
    )[0]


def _fake(
    x,
    fu,
    fd,
    b,
    mask,
    up,
    down,
    up_origin,
    down_origin,
    mid,
    size,
    up_flip,
    down_flip,
    up_gain,
    down_gain,
    negative,
    positive,
    clamp,
    write,
):
    n, c = x.shape[:2]
    layout = memory_format(x)
    y = torch.empty([n, c, *size], dtype=x.dtype, device=x.device, memory_format=layout)
    last = layout == torch.channels_last
    shape = (n, *mid, c) if last else (n, c, *mid)
    words = (shape[-1] + MASK_SAMPLES - 1) // MASK_SAMPLES
    return y, x.new_empty((*shape[:-1], words) if write else (0,), dtype=torch.int32)


def _setup(ctx, inputs, output):
    x, fu, fd, b, mask, *args = inputs
    y, written = output
    ctx.mark_non_differentiable(written)
    *ctx.args, negative, positive, clamp, write = args
    ctx.slopes = negative, positive, clamp
    ctx.in_size, ctx.layout = x.shape[2:], memory_format(y)
    ctx.b_dtype = None if b is None else b.dtype
    # An exported graph may have been traced where no derivative was wanted: then the mask is made
    # when it is. Where one was given, the op was linear.
    ctx.linear = mask is None and negative == positive and clamp < 0
    ctx.again = mask is None and not write and not ctx.linear
    mask = written if write else mask
    ctx.save_for_backward(x if ctx.again else None, fu, fd, b if ctx.again else None, mask)


def _backward(ctx, dy, _):
    none = (None,) * 19
    if dy is None:
        return none
    x, fu, fd, b, mask = ctx.saved_tensors
    up, down, up_origin, down_origin, mid, size, up_flip, down_flip, up_gain, down_gain = ctx.args
    if ctx.again:
        with torch.no_grad():
            mask = _op(x, fu, fd, b, None, *ctx.args, *ctx.slopes, True)[1]
    dx, _ = _op(
        dy.contiguous(memory_format=ctx.layout),
        fd,
        fu,
        None,
        None if ctx.linear else mask,
        down,
        up,
        [k - 1 - o for k, o in zip(filter_size(fd), down_origin)],
        [k - 1 - o for k, o in zip(filter_size(fu), up_origin)],
        mid,
        ctx.in_size,
        not down_flip,
        not up_flip,
        down_gain,
        up_gain,
        *ctx.slopes,
        False,
    )
    db = None
    if ctx.b_dtype and ctx.needs_input_grad[3]:
        db = dx.sum(dim=[0, 2, 3], dtype=torch.float32).to(ctx.b_dtype)
    return dx if ctx.needs_input_grad[0] else None, None, None, db, *none[4:]


_op = differentiable(
    OP,
    "(Tensor x, Tensor? fu, Tensor? fd, Tensor? b, Tensor? mask, int up, int down,"
    " SymInt[] up_origin, SymInt[] down_origin, SymInt[] mid, SymInt[] size, bool up_flip,"
    " bool down_flip, float up_gain, float down_gain, float negative, float positive, float clamp,"
    " bool write) -> (Tensor, Tensor)",
    _fake,
    _setup,
    _backward,
)

for _device in ("cpu", "cuda"):
    dispatch.register(OP, _device, filtered_lrelu_native, library=True)
# Without data too: what the fused op keeps for its backward is a fraction of the reference's.
dispatch.register(OP, "meta", filtered_lrelu_native)
