# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels of filtered_lrelu on the host: cases, what they should give, by the definition
in csrc/filtered_lrelu/params.h, and launches in guarded memory."""

import ctypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from cuda_on_host.buffers import Buffers
from cuda_on_host.build import CSRC, load
from support.checks import rand

ENTRY = Path(__file__).with_suffix(".cpp")
DTYPES = [torch.float16, torch.bfloat16, torch.float32]  # as Dtype in csrc
OWN, WRITTEN, GIVEN = range(3)  # as Signs in csrc
MASK_SAMPLES = 16


def _filter(*shape):
    """Neither symmetric nor separable, no tap near 0, sum of squares 1."""
    f = rand(*shape, seed=7)
    f = f + 0.2 * f.sign()
    return (f / f.norm()).float()


FILTERS = {
    "none": None,
    **{f"{k}": _filter(k) for k in (1, 2, 3, 6, 7, 12, 13, 24, 32)},
    **{f"{h}x{w}": _filter(h, w) for h, w in [(2, 3), (4, 4), (5, 1), (12, 12), (12, 7), (9, 24)]},
}


class Case(NamedTuple):
    shape: tuple = (2, 3, 9, 13)  # of x
    last: bool = False  # channels_last
    up: int = 2
    down: int = 2
    fu: str = "12"
    fd: str = "12"
    padding: tuple = (9, 8, 9, 8)  # x0, x1, y0, y1 on the upsampled grid
    down_origin: tuple = (0, 0)  # x, y
    extra: tuple = (0, 0)  # columns and rows of y beyond those that fit
    flip: tuple = (False, False)
    gain: tuple = (4.0, 1.0)  # of up and of down
    b: bool = True
    slopes: tuple = (0.3, 1.4)
    clamp: float = 0.8


class Memory(NamedTuple):
    offset: str = "none"  # which pointers lie one element beyond 16 bytes: none, all
    fence: str | None = None  # of inputs; see Buffers
    order: int = 0  # of threads


PLAIN = Memory()


class Axis(NamedTuple):
    up: int
    down: int
    taps: int
    origin: int
    size: int  # in
    out: int


def taps_of(f, axis):
    """Of an entry of FILTERS, along 0: x or 1: y."""
    f = FILTERS[f]
    return 1 if f is None else len(f) if f.ndim == 1 else f.shape[1 - axis]


def axes(case):
    """[[up, down] of x, of y]; at least one sample everywhere."""
    result = []
    for i in (0, 1):
        size, up_taps, down_taps = case.shape[3 - i], taps_of(case.fu, i), taps_of(case.fd, i)
        before, after = case.padding[2 * i : 2 * i + 2]
        mid = max(size * case.up + before + after - up_taps + 1, 1)
        out = max((mid + case.down_origin[i] - down_taps) // case.down + 1, 1) + case.extra[i]
        up = Axis(case.up, 1, up_taps, before, size, mid)
        result.append([up, Axis(1, case.down, down_taps, case.down_origin[i], mid, out)])
    return result


def transposed(case):
    """The case whose linear map is the adjoint of that of `case` with the same mask."""
    (xu, xd), (yu, yd) = axes(case)
    back = case._replace(
        shape=(*case.shape[:2], yd.out, xd.out),
        up=case.down,
        down=case.up,
        fu=case.fd,
        fd=case.fu,
        down_origin=(xu.taps - 1 - xu.origin, yu.taps - 1 - yu.origin),
        flip=(not case.flip[1], not case.flip[0]),
        gain=case.gain[::-1],
        b=False,
        extra=(0, 0),
    )
    padding, extra = [], []
    for forward, (up, _) in zip(((xu, xd), (yu, yd)), axes(back._replace(padding=(0,) * 4))):
        before = forward[1].taps - 1 - forward[1].origin
        padding += [before, forward[0].out - (up.size * up.up + before - up.taps + 1)]
    back = back._replace(padding=tuple(padding))
    for forward, (up, down) in zip(((xu, xd), (yu, yd)), axes(back)):
        assert up.out == forward[0].out
        extra.append(forward[0].size - down.out)
    return back._replace(extra=tuple(extra))


def fir_ref(x, along, f, flip, gain):
    """One of the filters by the definition, in the dtype of x. along: Axis of x and of y."""
    f = FILTERS[f]
    f = torch.ones(1, 1) if f is None else torch.outer(f.double(), f.double()) if f.ndim == 1 else f
    n, c = x.shape[:2]
    along_x, along_y = along
    to, of = zip(*(_positions(axis) for axis in (along_y, along_x)))
    grid = x.new_zeros(n, c, *((a.out - 1) * a.down + a.taps for a in (along_y, along_x)))
    grid[:, :, to[0][:, None], to[1]] = x[:, :, of[0][:, None], of[1]]
    f = (f if flip else f.flip([0, 1])).to(x.dtype)
    grid = grid.reshape(n * c, 1, *grid.shape[2:])
    y = F.conv2d(grid, f[None, None], stride=(along_y.down, along_x.down)) * gain
    return y.reshape(n, c, along_y.out, along_x.out)


def _positions(axis):
    """On the padded axis, and of the samples that go there."""
    of = torch.arange(axis.size)
    to = of * axis.up + axis.origin
    exists = (to >= 0) & (to < (axis.out - 1) * axis.down + axis.taps)
    return to[exists], of[exists]


def reference(case, x, mask=None, b=None):
    """u, v before its clamp, and y. mask: (positive, passes) instead of the signs of u."""
    ax, ay = axes(case)
    x = x if b is None else x + b.to(x.dtype)[:, None, None]
    u = fir_ref(x, (ax[0], ay[0]), case.fu, case.flip[0], case.gain[0])
    negative, positive = case.slopes
    if mask is not None:
        slope = torch.where(mask[0], positive, negative) * mask[1]
        v = clamped = torch.where(slope == 0, 0, u * slope)
    else:
        below = torch.where(u < 0, 0, u) if negative == 0 else u * negative
        v = torch.where(u > 0, u * positive, below)
        clamped = v.clamp(-case.clamp, case.clamp)
    return u, v, fir_ref(clamped.to(x.dtype), (ax[1], ay[1]), case.fd, case.flip[1], case.gain[1])


_TYPES = {"i": ctypes.c_int, "l": ctypes.c_int64, "d": ctypes.c_double, "p": ctypes.c_void_p}


@cache
def kernels():
    """The library."""
    sources = sorted(CSRC.glob("filtered_lrelu/cuda/*.cu"))
    library = load(ENTRY, *sources)
    for name, result, signature in [
        ("filter_taps", ctypes.c_void_p, "ipiid"),
        ("parameters", ctypes.c_void_p, "llippppppip"),
        ("filtered_lrelu", ctypes.c_char_p, "ippp"),
        ("streamed", ctypes.c_int, "ppp"),
    ]:
        getattr(library, name).argtypes = [_TYPES[c] for c in signature]
        getattr(library, name).restype = result
    return library


def bias(case):
    return (0.5 * rand(case.shape[1], seed=3)).float() if case.b else None


def samples(case, dtype, seed=0):
    """x, or dy for a transposed case."""
    return rand(*case.shape, seed=seed).to(dtype)


def launch(case, dtype, memory=PLAIN, signs=OWN, mask=None, x=None, poison=0xFF, streamed=None):
    """y, and for WRITTEN the mask (positive, passes) as booleans in the shape of u.

    Args:
        mask: the same two, for GIVEN.
        x: [N, C, H, W] instead of random numbers.
        poison: see Buffers.
        streamed: whether the streaming kernel is to take it; None: either.
    """
    buffers = Buffers(poison, memory.fence)
    offset = int(memory.offset == "all")

    def given(tensor):
        return buffers.input(tensor, offset)

    (n, c), (ax, ay) = case.shape[:2], axes(case)
    x = samples(case, dtype) if x is None else x
    x = x.permute(0, 2, 3, 1).contiguous() if case.last else x.contiguous()
    y = buffers.output(n * c * ax[1].out * ay[1].out, dtype, offset)
    shape = (n, ay[0].out, ax[0].out, c) if case.last else (n, c, ay[0].out, ax[0].out)
    words = None
    if signs == WRITTEN:
        count = n * shape[1] * shape[2] * -(-shape[3] // MASK_SAMPLES)
        words = buffers.output(count, torch.int32)
        mask_address = words.data_ptr()
    else:
        mask_address = None if mask is None else buffers.input(pack(mask, case.last))
    taps = []
    for i, f in enumerate((case.fu, case.fd)):
        f = FILTERS[f]
        separable = f is not None and f.ndim == 1
        taps.append(
            kernels().filter_taps(i, buffers.input(f), separable, case.flip[i], case.gain[i])
        )
    numbers = (ctypes.c_double * 3)(*case.slopes, case.clamp)
    args = [n, c, case.last, *(_integers(a) for a in (ax, ay)), *taps, buffers.input(bias(case))]
    parameters = kernels().parameters(*args, numbers, signs, mask_address)
    kernels().cuda_on_host_order(memory.order)
    if streamed is not None:
        took = bool(kernels().streamed(parameters, given(x), y.data_ptr()))
        assert dtype == torch.float32 and took == streamed, f"{case} {signs}: {took}"
        error = None
    if not streamed:
        error = kernels().filtered_lrelu(DTYPES.index(dtype), parameters, given(x), y.data_ptr())
    assert error is None, f"{case} {dtype} {memory} {signs}: {error.decode()}"
    buffers.check()
    out = (n, ay[1].out, ax[1].out, c) if case.last else (n, c, ay[1].out, ax[1].out)
    y = y.view(out)
    y = y.permute(0, 3, 1, 2) if case.last else y
    return y, None if words is None else unpack(words, shape, case.last)


def _integers(axis):
    numbers = [*axis[0], *axis[1]]
    return (ctypes.c_int64 * len(numbers))(*numbers)


def pack(mask, last):
    """Words of two planes of booleans [N, C, H, W]; bits beyond a row's end are 1."""
    parts = []
    for plane in mask:
        plane = plane.permute(0, 2, 3, 1) if last else plane
        plane = F.pad(plane.long(), (0, -plane.shape[-1] % MASK_SAMPLES), value=1)
        bits = plane.reshape(*plane.shape[:-1], -1, MASK_SAMPLES)
        parts.append((bits << torch.arange(MASK_SAMPLES)).sum(-1))
    word = parts[0] + (parts[1] << MASK_SAMPLES)
    return torch.where(word >= 2**31, word - 2**32, word).to(torch.int32)


def unpack(words, shape, last):
    """Both planes of booleans [N, C, H, W] of words of a mask in the order of memory."""
    words = words.view(*shape[:-1], -1, 1)
    result = []
    for first in (0, MASK_SAMPLES):
        bits = (words >> torch.arange(first, first + MASK_SAMPLES)) & 1
        plane = bits.reshape(*shape[:-1], -1)[..., : shape[-1]].bool()
        result.append(plane.permute(0, 3, 1, 2) if last else plane)
    return result


def random_mask(case, seed=5):
    (n, c), (ax, ay) = case.shape[:2], axes(case)
    shape = n, c, ay[0].out, ax[0].out
    return [rand(*shape, seed=seed + i) > (-1.0 * i) for i in range(2)]


def check(case, dtype, memory=PLAIN, signs=OWN, twice=False):
    """A launch against the definition; what it writes into the mask, bit by bit. twice: also that
    what memory held before has no part in the mask."""
    mask = random_mask(case) if signs == GIVEN else None
    y, written = launch(case, dtype, memory, signs, mask)
    text = f"{case} {dtype} {memory} {signs}"
    u, v, exact = reference(case, samples(case, dtype).double(), mask, bias(case))
    check_values(y, exact, text)
    if signs != WRITTEN:
        return
    near = 1e-5 * u.abs().max()
    for plane, sure, expected, name in (
        (written[0], u.abs() > near, u > 0, "positive"),
        (written[1], (v.abs() - case.clamp).abs() > near, v.abs() <= case.clamp, "passes"),
    ):
        wrong = (plane != expected) & sure
        assert not wrong.any(), f"{text}: {name} at {wrong.nonzero()[:3].tolist()}"
    if twice:
        again, other = launch(case, dtype, memory, WRITTEN, poison=0)
        assert all(torch.equal(a, b) for a, b in zip(other, written)) and torch.equal(again, y), (
            text
        )


def check_values(y, exact, text):
    """Sums in float32, rounded once to the dtype of y: the root mean square of the errors, and,
    with twice as much allowed, the largest."""
    eps, tiny = torch.finfo(y.dtype).eps, torch.finfo(y.dtype).smallest_normal
    relative = 0.5 * eps + 16 * torch.finfo(torch.float32).eps
    assert y.isfinite().all(), f"{text}: not finite"
    for measure, times in ((_rms, 1), (_largest, 2)):
        error, allowed = (
            measure(y.double() - exact),
            times * (relative * measure(exact) + eps * tiny),
        )
        assert error <= allowed, f"{text}: error {error:.3g}, allowed {allowed:.3g}"


def _rms(x):
    return x.square().mean().sqrt().item()


def _largest(x):
    return x.abs().max().item()
