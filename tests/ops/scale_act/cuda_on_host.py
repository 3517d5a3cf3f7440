# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels of scale_act on the host: cases, what they should give, by the definition in
csrc/scale_act/params.h, and launches in guarded memory."""

import ctypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from cuda_on_host.buffers import Buffers
from cuda_on_host.build import CSRC, load
from ops.bias_act.cuda_on_host import packed, unpacked
from ops.upfirdn2d.cuda_on_host import (
    DTYPES,
    PLAIN,
    arithmetic,
    check_planes,
    check_values,
    epilogue_ref,
    rand,
)

ENTRY = Path(__file__).with_suffix(".cpp")

PART = 256  # channels whose sum is one part of it


class Case(NamedTuple):
    samples: int
    channels: int
    pixels: int
    last: bool = False  # channels_last

    @property
    def shape(self):
        return self.samples, self.channels, 1, self.pixels

    @property
    def size(self):
        return self.samples * self.channels * self.pixels


class Wanted(NamedTuple):
    """What a gradient is given and asked for."""

    mask: bool = True
    scale: bool = True
    products: bool = True
    noise: bool = True  # channels_last with channels in multiples of 8
    sums: bool = True


EVERYTHING = Wanted()

_TYPES = {"i": ctypes.c_int, "l": ctypes.c_int64, "d": ctypes.c_double, "p": ctypes.c_void_p}


@cache
def kernels():
    """The library."""
    library = load(ENTRY, CSRC / "scale_act" / "cuda" / "scale_act.cu")
    for name, result, signature in [
        ("plane_bytes", ctypes.c_int64, "l"),
        ("noise_parts", ctypes.c_int64, "llli"),
        ("partial_size", ctypes.c_int64, "llli"),
        ("forward", ctypes.c_char_p, "illlipppidddpipp"),
        ("grad", ctypes.c_char_p, "illliddippppppppp"),
    ]:
        getattr(library, name).argtypes = [_TYPES[c] for c in signature]
        getattr(library, name).restype = result
    return library


class Launch:
    """Of one kernel, in guarded memory."""

    def __init__(self, case, dtype, memory):
        self.case, self.dtype, self.memory = case, dtype, memory
        self.buffers = Buffers(fence=memory.fence)

    def flat(self, tensor):
        """[N, C, 1, P] in the order of memory."""
        return (tensor.permute(0, 2, 3, 1) if self.case.last else tensor).reshape(-1)

    def shaped(self, flat):
        n, c, p = self.case[:3]
        return (
            flat.view(n, 1, p, c).permute(0, 3, 1, 2) if self.case.last else flat.view(n, c, 1, p)
        )

    def image(self, tensor):
        offset = int(self.memory.offset in ("inputs", "all"))
        return self.buffers.input(self.flat(tensor).contiguous(), offset)

    def output(self):
        offset = int(self.memory.offset in ("outputs", "all"))
        return self.buffers.output(self.case.size, self.dtype, offset)

    def numbers(self, shape, wanted=True):
        """In the dtype of arithmetic: an output and its address, or Nones."""
        if not wanted:
            return None, None
        count = torch.Size(shape).numel()
        result = self.buffers.output(count, arithmetic(self.dtype))
        return result.view(shape), result.data_ptr()

    def __call__(self, name, *args):
        kernels().cuda_on_host_order(self.memory.order)
        error = getattr(kernels(), name)(DTYPES.index(self.dtype), *self.case, *args)
        assert error is None, f"{self.case} {self.dtype} {self.memory}: {error.decode()}"
        self.buffers.check()


def vectors(case, dtype, e):
    """scale [N, C], noise [N or 1, 1, 1, P], b [C], in the dtype of arithmetic; or Nones."""
    n, c, _, p = case.shape
    dtype = arithmetic(dtype)
    return (
        1 + 0.3 * rand((n, c), dtype, 1) if e.scale else None,
        0.5 * rand((n if e.noise == "each" else 1, 1, 1, p), dtype, 2) if e.noise else None,
        0.5 * rand((c,), dtype, 3) if e.b else None,
    )


def forward(case, dtype, e, memory=PLAIN, x=None, in_place=False):
    """y, and the planes of the mask as booleans in the shape of y."""
    launch = Launch(case, dtype, memory)
    x = rand(case.shape, dtype) if x is None else x
    y = launch.output()
    source = y.copy_(launch.flat(x)).data_ptr() if in_place else launch.image(x)
    addresses = [launch.buffers.input(v) for v in vectors(case, dtype, e)]
    plane_bytes, mask = kernels().plane_bytes(case.size), None
    if e.planes:
        mask = launch.buffers.output(e.planes * plane_bytes, torch.uint8).fill_(0x5A)
    numbers = e.noise == "each", *e.slopes, e.clamp
    mask_pointer = None if mask is None else mask.data_ptr()
    launch("forward", *addresses, *numbers, mask_pointer, e.planes, source, y.data_ptr())
    planes = () if mask is None else mask.view(e.planes, -1)
    return launch.shaped(y), [launch.shaped(unpacked(p, case.size)) for p in planes]


def check_forward(case, dtype, e, memory=PLAIN, in_place=False):
    """A launch against the definition."""
    ours, planes = forward(case, dtype, e, memory, in_place=in_place)
    x, text = rand(case.shape, dtype), f"{case} {dtype} {memory} {e}"

    def own(to):
        u, v = epilogue_ref(x.to(to), e, vectors(case, dtype, e))
        return u, v, v.clamp(-e.clamp, e.clamp)

    u, v, exact = own(torch.float64)
    ulps = 64 if dtype == torch.float64 else 8 if exact.numel() < 100 else 1
    check_values(ours, own(dtype)[-1], exact, ulps, text)
    if planes:
        check_planes(planes, u, v, ours, e, text)


def grad_inputs(case, dtype, e):
    """dy, x, scale, and planes of bits that no forward pass has made, as the gradient's mask."""
    scale = vectors(case, dtype, e)[0]
    planes = [rand(case.shape, torch.float64, 6 + i) > -0.3 for i in range(e.planes)]
    return rand(case.shape, dtype, 4), rand(case.shape, dtype, 5), scale, planes


def grad(case, dtype, e, wanted=EVERYTHING, memory=PLAIN, inputs=None, in_place=False):
    """{dx, products, sums, noise}, those that are wanted."""
    launch = Launch(case, dtype, memory)
    dy, x, scale, planes = grad_inputs(case, dtype, e) if inputs is None else inputs
    n, c, p = case[:3]
    mask = None
    if planes:
        bits = [launch.flat(plane) for plane in planes]
        mask = launch.buffers.input(packed(bits, kernels().plane_bytes(case.size)))
    dx = launch.output()
    source = dx.copy_(launch.flat(dy)).data_ptr() if in_place else launch.image(dy)
    products, products_at = launch.numbers((n, c), wanted.products)
    sums, sums_at = launch.numbers((n, c), wanted.sums)
    parts = kernels().noise_parts(*case)
    noise, noise_at = launch.numbers((parts, n, 1, 1, p), wanted.noise)
    _, partial = launch.numbers((kernels().partial_size(*case),))
    x_at = launch.image(x) if wanted.products else None
    scale_at = launch.buffers.input(scale if wanted.scale else None)
    has_clamp = e.clamp < torch.inf
    args = *e.slopes, has_clamp, mask, x_at, scale_at, products_at, noise_at, sums_at
    launch("grad", *args, source, dx.data_ptr(), partial)
    return {"dx": launch.shaped(dx), "products": products, "sums": sums, "noise": noise}


def check_grad(case, dtype, e, wanted=EVERYTHING, memory=PLAIN, in_place=False):
    """A launch against the definition."""
    ours = grad(case, dtype, e, wanted, memory, in_place=in_place)
    dy, x, scale, planes = grad_inputs(case, dtype, e)
    text = f"{case} {dtype} {memory} {e} {wanted}"

    def dx(to):
        negative, positive = e.slopes
        d = dy.to(to)
        d = torch.where(planes[0], d * positive, d * negative) if planes else d * positive
        d = torch.where(planes[1], d, 0) if len(planes) > 1 else d
        return d, d * scale.to(to)[:, :, None, None] if wanted.scale else d

    (dv, exact), (_, theirs) = dx(torch.float64), dx(dtype)
    ulps = 64 if dtype == torch.float64 else 8 if exact.numel() < 100 else 1
    check_values(ours["dx"], theirs, exact, ulps, text)
    if wanted.products:
        check_sums(ours["products"], dv * x.double(), (2, 3), f"{text}: products")
    if wanted.sums:
        check_sums(ours["sums"], dv, (2, 3), f"{text}: sums")
    if wanted.noise:
        parts = dv.split(PART, 1)
        assert len(ours["noise"]) == len(parts), text
        for part, terms in zip(ours["noise"], parts):
            check_sums(part, terms, 1, f"{text}: noise", keepdim=True)


def check_sums(ours, terms, dims, text, keepdim=False):
    """Each within some ulp of what its terms come to with no signs: a term too many or too few is
    more."""
    error = (ours.double() - terms.sum(dims, keepdim)).abs()
    limit = 16 * torch.finfo(ours.dtype).eps * terms.abs().sum(dims, keepdim)
    worst = (error / limit.clamp_min(1e-300)).max()
    assert (error <= limit).all(), f"{text}: error {worst:.3g} of what is allowed"
