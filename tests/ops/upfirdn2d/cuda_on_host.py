# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels of upfirdn2d on the host: cases, what they should give, by the definition in
csrc/upfirdn2d/params.h, and launches in guarded memory."""

import ctypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from cuda_on_host.buffers import Buffers
from cuda_on_host.build import CSRC, load

ENTRY = Path(__file__).with_suffix(".cpp")
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]  # as Dtype in csrc
ACT_GAIN, CLAMP = 1.7, 1.1


def _filter(*shape):
    """Neither symmetric nor separable, no tap near 0, sum of squares 1."""
    generator = torch.Generator().manual_seed(sum(shape))
    f = torch.randn(shape, generator=generator)
    f = f + 0.2 * f.sign()
    return f / f.norm()


FILTERS = {
    "none": None,
    "rank 1": torch.outer(torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0.4, 0.1, 0.3, 0.2])),
    **{f"{h}x{w}": _filter(h, w) for h, w in [(4, 4), (3, 3), (2, 2), (5, 7), (12, 12), (24, 24)]},
    **{f"{k}": _filter(k) for k in (1, 2, 3, 4, 6, 8, 12, 24, 30)},
}


class Case(NamedTuple):
    shape: tuple = (2, 3, 9, 13)  # of x
    last: bool = False  # channels_last
    up: tuple = (1, 1)  # x, y
    down: tuple = (1, 1)
    f: str = "4x4"
    padding: tuple = ("same", "same")  # x, y; see _pad
    flip: bool = False
    gain: float = 1.0
    multiple: int = 1  # of x.out


class Epilogue(NamedTuple):
    scale: bool = True
    noise: str | None = "each"  # or "shared", by all samples
    b: bool = True
    act: str = "lrelu"
    clamp: float = CLAMP
    mask: bool = False

    @property
    def planes(self):
        """As mask_planes in csrc/bias_act/params.h."""
        return 0 if not self.mask else 2 if self.clamp < torch.inf else int(self.act != "linear")

    @property
    def slopes(self):
        return {"linear": 1, "relu": 0, "lrelu": 0.3}[self.act] * ACT_GAIN, ACT_GAIN


class Memory(NamedTuple):
    offset: str = (
        "none"  # which pointers lie one element beyond 16 bytes: none, all, inputs, outputs
    )
    fence: str | None = None  # of inputs; see Buffers
    order: int = 0  # of threads


PLAIN = Memory()


class FirAxis(NamedTuple):
    up: int
    down: int
    taps: int
    origin: int
    size: int  # in
    out: int


def _pad(style, size, taps, up, down):
    """Zeros before and after the upsampled axis."""
    wide = 90  # more than a tile
    return {
        "same": ((taps + up - 1) // 2, (taps - up) // 2),
        "valid": (0, 0),
        "full": (taps - 1, taps - 1),
        "crop": (-(size * up // 3), -1),
        "before": (wide, 2),
        "after": (1, wide),
        "all before": (3, -size * up - taps),  # nothing but zeros
        "all after": (-size * up - 3, wide + taps),
    }[style]


def axes(case):
    """Of x and of y; there is at least one output."""
    f, result = FILTERS[case.f], []
    for i, name in enumerate("xy"):
        taps = 1 if f is None else f.shape[-1 - i] if f.ndim == 2 else len(f)
        size, up, down = case.shape[-1 - i], case.up[i], case.down[i]
        before, after = _pad(case.padding[i], size, taps, up, down)
        out = max((size * up + before + after - taps) // down + 1, 1)
        multiple = case.multiple if name == "x" else 1
        out = -(-out // multiple) * multiple
        result.append(FirAxis(up, down, taps, before, size, out))
    return result


def fir_ref(x, case):
    """y by the definition, in the dtype of x: zeros inserted and around, then a convolution."""
    f = FILTERS[case.f]
    f = torch.ones(1, 1) if f is None else f.double()
    f = torch.outer(f, f) if f.ndim == 1 else f
    n, c = x.shape[:2]
    along_x, along_y = axes(case)
    to, of = zip(*(_positions(axis) for axis in (along_y, along_x)))
    grid = x.new_zeros(n, c, *((a.out - 1) * a.down + a.taps for a in (along_y, along_x)))
    grid[:, :, to[0][:, None], to[1]] = x[:, :, of[0][:, None], of[1]]
    f = (f if case.flip else f.flip([0, 1])).to(x.dtype)
    grid = grid.reshape(n * c, 1, *grid.shape[2:])
    y = F.conv2d(grid, f[None, None], stride=(along_y.down, along_x.down)) * case.gain
    return y.reshape(n, c, along_y.out, along_x.out)


def _positions(axis):
    """On the padded axis, and of the samples that go there."""
    of = torch.arange(axis.size)
    to = of * axis.up + axis.origin
    exists = (to >= 0) & (to < (axis.out - 1) * axis.down + axis.taps)
    return to[exists], of[exists]


def epilogue_ref(u, e, vectors):
    """u, and y before the clamp."""
    scale, noise, b = (None if v is None else v.to(u.dtype) for v in vectors)
    u = u if scale is None else u * scale[:, :, None, None]
    u = u if noise is None else u + noise
    u = u if b is None else u + b[:, None, None]
    negative, positive = e.slopes
    below = torch.where(u < 0, 0, u) if negative == 0 else u * negative
    return u, torch.where(u > 0, u * positive, below)


def vectors(case, dtype, e):
    """scale [N, C], noise [N or 1, 1, H, W], b [C], in the dtype of arithmetic; or Nones."""
    (n, c), (x, y) = case.shape[:2], axes(case)
    dtype = arithmetic(dtype)
    noise = (n if e.noise == "each" else 1, 1, y.out, x.out)
    return (
        1 + 0.3 * rand((n, c), dtype, 1) if e.scale else None,
        0.5 * rand(noise, dtype, 2) if e.noise else None,
        0.5 * rand((c,), dtype, 3) if e.b else None,
    )


def arithmetic(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def rand(shape, dtype, seed=0):
    """Standard normal numbers that are exact in dtype."""
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


_TYPES = {"i": ctypes.c_int, "l": ctypes.c_int64, "d": ctypes.c_double, "p": ctypes.c_void_p}


@cache
def kernels():
    """The library."""
    library = load(ENTRY, *sorted(CSRC.glob("upfirdn2d/cuda/*.cu")))
    for name, result, signature in [
        ("plane_bytes", ctypes.c_int64, "l"),
        ("epilogue", ctypes.c_void_p, "pppidddpi"),
        ("upfirdn2d", ctypes.c_char_p, "illipppiidppp"),
    ]:
        getattr(library, name).argtypes = [_TYPES[c] for c in signature]
        getattr(library, name).restype = result
    return library


def launch(case, dtype, memory=PLAIN, e=None, x=None):
    """y, and the planes of the mask as booleans in the shape of y.

    Args:
        e: Epilogue or None.
        x: [N, C, H, W] instead of random numbers.
    """
    buffers = Buffers(fence=memory.fence)
    offset = {s: int(memory.offset in (s, "all")) for s in ("inputs", "outputs")}

    def given(tensor):
        return buffers.input(tensor, offset["inputs"])

    n, c = case.shape[:2]
    along_x, along_y = axes(case)
    x = rand(case.shape, dtype) if x is None else x
    x = x.permute(0, 2, 3, 1).contiguous() if case.last else x.contiguous()
    f, size = FILTERS[case.f], n * c * along_y.out * along_x.out
    y = buffers.output(size, dtype, offset["outputs"])
    planes, epilogue = (), None
    if e is not None:
        addresses = [given(v) for v in vectors(case, dtype, e)]
        plane_bytes = kernels().plane_bytes(size)
        if e.planes:
            mask = buffers.output(e.planes * plane_bytes, torch.uint8).fill_(0x5A)
            planes = mask.view(e.planes, -1)
        numbers = e.noise == "each", *e.slopes, e.clamp
        mask_args = mask.data_ptr() if e.planes else None, e.planes
        epilogue = kernels().epilogue(*addresses, *numbers, *mask_args)
    args = [DTYPES.index(dtype), n, c, case.last, *(_integers(a) for a in (along_x, along_y))]
    taps = given(None if f is None else f.to(arithmetic(dtype)))
    args += [taps, f is not None and f.ndim == 1, case.flip, case.gain, epilogue]
    kernels().cuda_on_host_order(memory.order)
    error = kernels().upfirdn2d(*args, given(x), y.data_ptr())
    assert error is None, f"{case} {dtype} {memory} {e}: {error.decode()}"
    buffers.check()

    def shaped(flat):
        if case.last:
            return flat.view(n, along_y.out, along_x.out, c).permute(0, 3, 1, 2)
        return flat.view(n, c, along_y.out, along_x.out)

    return shaped(y), [shaped(_unpacked(p)[:size]) for p in planes]


def _integers(numbers):
    return (ctypes.c_int64 * len(numbers))(*numbers)


def _unpacked(plane):
    """Element i is bit i % 8 of byte i // 8."""
    bits = plane.view(-1, 1).bitwise_right_shift(torch.arange(8, dtype=torch.uint8)) & 1
    return bits.flatten().bool()


def check(case, dtype, memory=PLAIN, e=None):
    """A launch against the definition."""
    ours, planes = launch(case, dtype, memory, e)
    x, text = rand(case.shape, dtype), f"{case} {dtype} {memory} {e}"

    def own(to):
        y = fir_ref(x.to(to), case)
        if e is None:
            return None, None, y
        u, v = epilogue_ref(y, e, vectors(case, dtype, e))
        return u, v, v.clamp(-e.clamp, e.clamp)

    u, v, exact = own(torch.float64)
    if dtype == torch.float64:  # nothing is better, and either may be wrong by some ulp
        check_values(ours, exact, exact, 64, text)
    else:
        check_values(ours, own(dtype)[-1], exact, 8 if exact.numel() < 100 else 1, text)
    if planes:
        check_planes(planes, u, v, ours, e, text)


def check_values(ours, theirs, exact, ulps, text):
    """The 2x rule of checks.py: at most twice the error of PyTorch's own ops plus one ulp, as root
    mean squares. Fewer than 100 values hang on luck: 8 ulp. One wrong value of many may hide there,
    but not in the largest error, for which luck is given four times as much."""
    eps = torch.finfo(ours.dtype).eps
    error, allowed = ours.double() - exact, theirs.double() - exact
    for measure, luck in ((_rms, 1), (_largest, 4)):
        limit = luck * (2 * measure(allowed) + ulps * eps * measure(exact))
        assert measure(error) <= limit, f"{text}: error {measure(error):.3g}, allowed {limit:.3g}"


def _rms(x):
    return x.square().mean().sqrt().item()


def _largest(x):
    return x.abs().max().item()


def check_planes(planes, u, v, y, e, text):
    """u > 0 and |v| <= clamp, where rounding cannot turn them; and y agrees with them."""
    near = 1e-11 if y.dtype == torch.float64 else 1e-4
    sure = u.abs() > near
    assert torch.equal(planes[0][sure], u[sure] > 0), f"{text}: plane 0"
    assert (y[planes[0]] >= 0).all() and (y[~planes[0]] <= 0).all(), f"{text}: plane 0 and y"
    if len(planes) == 2:
        sure = (v.abs() - e.clamp).abs() > near
        assert torch.equal(planes[1][sure], v.abs()[sure] <= e.clamp), f"{text}: plane 1"
        clamp = torch.tensor(e.clamp, dtype=arithmetic(y.dtype)).to(y.dtype)
        assert (y[~planes[1]].abs() == clamp).all(), f"{text}: plane 1 and y"
