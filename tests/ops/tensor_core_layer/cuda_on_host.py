# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels of tensor_core_layer on the host: cases, their results by the definition in
csrc/tensor_core_layer/params.h, and launches in guarded memory."""

import ctypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from cuda_on_host.buffers import Buffers
from cuda_on_host.build import CSRC, counts, load
from ops.bias_act.cuda_on_host import unpacked
from ops.upfirdn2d.cuda_on_host import (
    ACT_GAIN,
    PLAIN,
    Epilogue,
    check_planes,
    check_values,
    epilogue_ref,
    rand,
)

ENTRY = Path(__file__).with_suffix(".cpp")
DTYPES = [torch.float16, torch.bfloat16, torch.float32]  # as Dtype in csrc; float32 by TF32
NOTHING = Epilogue(False, None, False, "linear", torch.inf)
TF32_EPS = 2**-10  # of the operands
_TYPES = {"i": ctypes.c_int, "l": ctypes.c_int64, "d": ctypes.c_double, "p": ctypes.c_void_p}


class Case(NamedTuple):
    samples: int
    channels: tuple  # in, out
    size: tuple = (9, 13)  # of x: height, width
    kernel: int = 3
    padding: tuple = (1, 1)  # top and bottom, left and right
    up: bool = False
    styles: bool = True
    more: tuple = (0, 0)  # lines and columns of y beyond what x reaches

    @property
    def out(self):
        """Height and width of y."""
        sizes = zip(self.size, self.padding, self.more)
        inner = [n + 2 * p - self.kernel + 1 for n, p, _ in sizes]
        return [n * (1 + self.up) + more for n, more in zip(inner, self.more)]

    @property
    def numbers(self):
        """Convolution."""
        integers = self.samples, *self.channels, *self.size, *self.out, self.kernel
        integers += *self.padding, int(self.up)
        return (ctypes.c_int64 * 11)(*integers)

    @property
    def y_size(self):
        return self.samples * self.channels[1] * self.out[0] * self.out[1]


class Tile(NamedTuple):
    m: int
    n: int
    k: int
    stages: int
    threads: int


@cache
def kernels():
    """The library."""
    library = load(ENTRY, *sorted(CSRC.glob("tensor_core_layer/cuda/*.cu")))
    for name, result, signature in [
        ("plane_bytes", ctypes.c_int64, "l"),
        ("variants", ctypes.c_int, "i"),
        ("tile", None, "iip"),
        ("fits", ctypes.c_int, "ip"),
        ("choice", None, "ippp"),
        ("workspace", ctypes.c_int64, "pii"),
        ("tensor_core_layer", ctypes.c_char_p, "ipiipppidddpippppp"),
    ]:
        getattr(library, name).argtypes = [_TYPES[c] for c in signature]
        getattr(library, name).restype = result
    return library


def tiles(dtype):
    """Of every variant."""
    result = []
    for variant in range(kernels().variants(DTYPES.index(dtype))):
        numbers = (ctypes.c_int * 5)()
        kernels().tile(DTYPES.index(dtype), variant, numbers)
        result.append(Tile(*numbers))
    return result


def fits(case, dtype_number):
    return bool(kernels().fits(dtype_number, case.numbers))


def choice(case, dtype, variant=-1, split=0):
    """(variant, split) instead of -1 and 0, unchanged if valid."""
    variant, split = ctypes.c_int(variant), ctypes.c_int(split)
    addresses = ctypes.byref(variant), ctypes.byref(split)
    kernels().choice(DTYPES.index(dtype), case.numbers, *addresses)
    return variant.value, split.value


def weights(case, dtype):
    """[4 or 1, O, k, k, I]; u has the size of x."""
    (i, o), k = case.channels, case.kernel
    shape = 4 if case.up else 1, o, k, k, i
    return (rand(shape, torch.float64, 10) / (k * k * i) ** 0.5).to(dtype)


def styles_of(case):
    return 1 + 0.5 * rand((case.samples, case.channels[0]), torch.float32, 11)


def vectors(case, e):
    """scale [N, O], noise [N or 1, 1, H, W], b [O]; or Nones."""
    n, o = case.samples, case.channels[1]
    noise = n if e.noise == "each" else 1, 1, *case.out
    return (
        1 + 0.3 * rand((n, o), torch.float32, 1) if e.scale else None,
        0.5 * rand(noise, torch.float32, 2) if e.noise else None,
        0.5 * rand((o,), torch.float32, 3) if e.b else None,
    )


def images(case, dtype):
    return rand((case.samples, case.channels[0], *case.size), dtype)


def convolved(x, w, case):
    """u by the definition, of x [N, I, H, W] and w [phases, O, k, k, I], in their dtype."""
    k, up = case.kernel, 1 + case.up
    u = x.new_empty(case.samples, case.channels[1], *case.out)
    for phase, filters in enumerate(w):
        dy, dx = phase // 2, phase % 2
        to = u[:, :, dy::up, dx::up]
        if to.numel() == 0:
            continue
        ends = [n + k - 1 - size - p for n, size, p in zip(to.shape[2:], case.size, case.padding)]
        padded = F.pad(x, [case.padding[1], ends[1], case.padding[0], ends[0]])
        to.copy_(F.conv2d(padded, filters.permute(0, 3, 1, 2)))
    return u


def operands(case, dtype, x, w):
    """As the tensor cores get them, in float64."""
    if case.styles:
        x = (x.float() * styles_of(case)[:, :, None, None]).to(dtype)
    return [_tf32(v).double() if dtype == torch.float32 else v.double() for v in (x, w)]


def _tf32(x):
    """To the nearest with 10 bits of mantissa, ties away from 0."""
    return ((x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def launch(case, dtype, e=NOTHING, variant=0, split=1, memory=PLAIN, x=None, w=None, products=None):
    """y, and the planes of the mask as booleans in the shape of y.

    Args:
        x, w: [N, I, H, W] and [4 or 1, O, k, k, I] instead of random numbers.
        products: how many mma there should be.
    """
    buffers = Buffers(fence=memory.fence)
    x = images(case, dtype) if x is None else x
    w = weights(case, dtype) if w is None else w
    n, o, (h, width) = case.samples, case.channels[1], case.out
    offset = {s: int(memory.offset in (s, "all")) for s in ("inputs", "outputs")}
    y = buffers.output(case.y_size, dtype, offset["outputs"])
    given = [buffers.input(v, offset["inputs"]) for v in vectors(case, e)]
    mask = None
    if e.planes:
        plane_bytes = kernels().plane_bytes(case.y_size)
        mask = buffers.output(e.planes * plane_bytes, torch.uint8).fill_(0x5A)
    end = *given, e.noise == "each", *e.slopes, e.clamp
    end += None if mask is None else mask.data_ptr(), e.planes
    workspace = buffers.output(kernels().workspace(case.numbers, variant, split), torch.float32)
    addresses = buffers.input(x.permute(0, 2, 3, 1).contiguous()), buffers.input(w)
    styles = buffers.input(styles_of(case) if case.styles else None)
    kernels().cuda_on_host_order(memory.order)
    text = f"{case} {dtype} {e} {variant} {split} {memory}"
    counts(kernels())
    args = DTYPES.index(dtype), case.numbers, variant, split, *end
    error = kernels().tensor_core_layer(
        *args, *addresses, styles, y.data_ptr(), workspace.data_ptr()
    )
    assert error is None, f"{text}: {error.decode()}"
    buffers.check()
    done = counts(kernels())
    assert done["read_conflicts"] == done["write_conflicts"] == 0, f"{text}: {done}"
    assert done["products"] == (products or done["products"]) > 0

    def shaped(flat):
        return flat.view(n, h, width, o).permute(0, 3, 1, 2)

    planes = () if mask is None else mask.view(e.planes, -1)
    return shaped(y), [shaped(unpacked(p, case.y_size)) for p in planes]


def check(case, dtype, e=NOTHING, variant=0, split=1, memory=PLAIN):
    """A launch against the definition: by the 2x rule, and each element against the exact sum of
    the operands as they are rounded for the tensor cores."""
    ours, planes = launch(case, dtype, e, variant, split, memory)
    x, w, numbers = images(case, dtype), weights(case, dtype), vectors(case, e)
    text = f"{case} {dtype} {e} {variant} {split} {memory}"
    tensors = operands(case, dtype, x, w)
    u, v = epilogue_ref(convolved(*tensors, case), e, numbers)
    y = v.clamp(-e.clamp, e.clamp)
    sizes = convolved(*(t.abs() for t in tensors), case)  # what sums of float32 are wrong by
    scale, others = numbers[0], [t for t in numbers[1:] if t is not None]
    sizes = sizes if scale is None else sizes * scale[:, :, None, None].abs()
    sizes = sizes + sum(t.abs().amax() for t in others)
    limit = 8 * torch.finfo(torch.float32).eps * ACT_GAIN * sizes
    stored = torch.finfo(dtype)
    limit = limit + y.abs().clamp_min(stored.smallest_normal) * stored.eps  # twice a rounding
    worst = ((ours.double() - y).abs() / limit.clamp_min(1e-30)).max()
    assert worst <= 1, f"{text}: error {worst:.3g} of what is allowed"  # NaN is more
    if planes:
        check_planes(planes, u, v, ours, e, text)
    _check_twice(ours, case, dtype, e, x, w, numbers, text)


def _check_twice(ours, case, dtype, e, x, w, numbers, text):
    """The 2x rule; float32 within what the rounding of both operands comes to."""

    def own(to):
        styled = x.to(to)
        if case.styles:
            styled = styled * styles_of(case).to(to)[:, :, None, None]
        v = epilogue_ref(convolved(styled, w.to(to), case), e, numbers)[1]
        return v.clamp(-e.clamp, e.clamp)

    exact = own(torch.float64)
    if dtype != torch.float32:
        return check_values(ours, own(dtype), exact, 8 if exact.numel() < 100 else 1, text)
    styled = x.double() * styles_of(case)[:, :, None, None] if case.styles else x.double()
    sizes = convolved(styled.square(), w.double().square(), case).sqrt()  # as random errors add
    rms = [t.square().mean().sqrt() for t in (ours.double() - exact, sizes, exact)]
    factor = ACT_GAIN * (1 if numbers[0] is None else numbers[0].abs().max())
    limit = factor * TF32_EPS * rms[1] + torch.finfo(dtype).eps * rms[2]
    assert rms[0] <= limit, f"{text}: error {rms[0]:.3g}, allowed {limit:.3g}"
