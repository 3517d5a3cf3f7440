# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels of bias_act on the host: cases, and launches of kernels in guarded memory."""

import ctypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from cuda_on_host.buffers import Buffers
from cuda_on_host.build import CSRC, load

from stylegan_ops.runtime.activation import ACTIVATIONS, PIECEWISE

ENTRY = Path(__file__).with_suffix(".cpp")
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]  # as Dtype in csrc
ALPHA, GAIN = 0.3, 1.7


class Case(NamedTuple):
    shape: tuple
    dim: int
    layout: torch.memory_format = torch.contiguous_format

    def __str__(self):
        last = "-channels_last" if self.layout == torch.channels_last else ""
        return "x".join(map(str, self.shape)) + f"-dim{self.dim}{last}"


class Option(NamedTuple):
    offset: str  # which pointers lie one element beyond 16 bytes: none, all, outputs
    clamp: float | None
    vector: bool  # b, e, ddb
    sums: bool


_TYPES = {"i": ctypes.c_int, "l": ctypes.c_int64, "d": ctypes.c_double, "p": ctypes.c_void_p}
_SIGNATURES = {
    "forward": "iidddlllpppp",
    "mask_grad": "iddilllpppppp",
    "grad": "iidddlllpppppp",
    "grad_grad": "iidddlllppppppppp",
}


@cache
def kernels():
    """The library."""
    library = load(ENTRY, CSRC / "bias_act" / "cuda" / "bias_act.cu")
    for name, signature in _SIGNATURES.items():
        getattr(library, name).argtypes = [_TYPES[c] for c in signature]
        getattr(library, name).restype = ctypes.c_char_p
    for name in ("plane_bytes", "partial_size"):
        getattr(library, name).argtypes = [ctypes.c_int64] * 3
        getattr(library, name).restype = ctypes.c_int64
    library.plane_bytes.argtypes = [ctypes.c_int64]
    return library


class Launch:
    """One call of a kernel on the tensors of a case, in guarded memory."""

    def __init__(self, case, dtype, option, order=0, poison=0xFF):
        self.dtype, self.option, self.order = dtype, option, order
        self.buffers = Buffers(poison)
        self.like = rand(case.shape, dtype, 0, case.layout)
        self.size = self.like.numel()
        channels, inner = 1, self.size
        if option.vector or option.sums:
            channels = case.shape[case.dim]
            inner = self.like.stride(case.dim) if channels > 1 else self.size
        self.channels = self.size, channels, inner

    def input(self, tensor):
        """x, dy, ..., or None."""
        return self.buffers.input(tensor, offset=int(self.option.offset == "all"))

    def vector(self, tensor):
        """b, e, ddb, in the dtype that sums have, or None."""
        return None if tensor is None else self.buffers.input(tensor.to(sum_dtype(self.dtype)))

    def output(self):
        offset = int(self.option.offset != "none")
        return self.buffers.output(self.size, self.dtype, offset)

    def sums(self):
        """Tensor and address of the sums by channel, address of the scratch space; or Nones."""
        if not self.option.sums:
            return None, None, None
        dtype, partial = sum_dtype(self.dtype), kernels().partial_size(*self.channels)
        db = self.buffers.output(self.channels[1], dtype)
        return db, db.data_ptr(), self.buffers.output(partial, dtype).data_ptr()

    def __call__(self, name, *args):
        kernels().cuda_on_host_order(self.order)
        error = getattr(kernels(), name)(DTYPES.index(self.dtype), *args)
        assert error is None, error.decode()
        self.buffers.check()

    def shaped(self, flat):
        return flat.as_strided(self.like.shape, self.like.stride())


def sum_dtype(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def rand(shape, dtype, seed, layout=torch.contiguous_format):
    """Standard normal numbers that are exact in dtype."""
    generator = torch.Generator().manual_seed(seed + sum(shape))
    x = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    return x.contiguous(memory_format=layout) if x.ndim == 4 else x


def inputs(case, dtype, option):
    """{x, dy, ddx, and per channel b, e}."""
    tensors = {n: rand(case.shape, dtype, i, case.layout) for i, n in enumerate(["x", "dy", "ddx"])}
    for i, name in enumerate(["b", "e"]):
        tensors[name] = rand((case.shape[case.dim],), dtype, 3 + i) if option.vector else None
    return tensors


def params(act, option):
    """act, alpha, gain, clamp as the kernels take them."""
    return list(ACTIVATIONS).index(act), ALPHA, GAIN, -1 if option.clamp is None else option.clamp


def along(vector, x, dim):
    return vector.reshape([-1 if i == dim else 1 for i in range(x.ndim)])


def flat(x):
    """x in the order of its memory."""
    return x.detach().as_strided((x.numel(),), (1,))


def signs(t, case, act, option):
    """u > 0 and |y| <= clamp, by the kernel's arithmetic, in the order of memory."""
    to = sum_dtype(t["x"].dtype)
    u = t["x"].to(to)
    if t["b"] is not None:
        u = u + along(t["b"].to(to), u, case.dim)
    slope = {"linear": 1, "relu": 0, "lrelu": ALPHA}[act]
    y = torch.where(u > 0, u, u * slope) * GAIN
    return flat(u > 0), flat(y.abs() <= (torch.inf if option.clamp is None else option.clamp))


def packed(planes, plane_bytes):
    """Bytes of a mask: element i is bit i % 8 of byte i // 8. What is beyond the size is ones."""
    rows = []
    for plane in planes:
        bits = torch.ones(plane_bytes * 8, dtype=torch.uint8)
        bits[: plane.numel()] = plane
        rows.append((bits.view(-1, 8) << torch.arange(8)).sum(1).to(torch.uint8))
    return torch.cat(rows)


def unpacked(mask, size):
    bits = mask.view(-1, 1).bitwise_right_shift(torch.arange(8, dtype=torch.uint8)) & 1
    return bits.flatten()[:size].bool()


def plane_count(act, option):
    """As stylegan_ops/ops/bias_act.py has it."""
    return 0 if act == "linear" and option.clamp is None else 1 if option.clamp is None else 2


def run_forward(case, dtype, act, option, order, poison=0xFF):
    """y and the planes of the mask."""
    t = inputs(case, dtype, option)
    launch = Launch(case, dtype, option, order, poison)
    planes = plane_count(act, option) if act in PIECEWISE else 0
    plane_bytes = kernels().plane_bytes(launch.size)
    mask = launch.buffers.output(planes * plane_bytes, torch.uint8) if planes else None
    x, b, y = launch.input(t["x"]), launch.vector(t["b"]), launch.output()
    address = None if mask is None else mask.data_ptr()
    launch("forward", *params(act, option), *launch.channels, x, b, y.data_ptr(), address)
    bits = [unpacked(mask[i * plane_bytes :], launch.size) for i in range(planes)]
    return t, launch.shaped(y), bits


def run_mask_grad(case, dtype, act, option, order):
    """dx and db."""
    t = inputs(case, dtype, option)
    launch = Launch(case, dtype, option, order)
    planes = signs(t, case, act, option)[: plane_count(act, option)]
    mask = packed(planes, kernels().plane_bytes(launch.size)) if planes else None
    slopes = {"linear": 1, "relu": 0, "lrelu": ALPHA}[act] * GAIN, GAIN
    args = launch.input(t["dy"]), launch.vector(t["e"]), launch.buffers.input(mask)
    dx, (db, *sums) = launch.output(), launch.sums()
    has_clamp = option.clamp is not None
    launch("mask_grad", *slopes, has_clamp, *launch.channels, *args, dx.data_ptr(), *sums)
    return t, [launch.shaped(dx), db]


def run_grad(case, dtype, act, option, order):
    """dx and db."""
    t = inputs(case, dtype, option)
    launch = Launch(case, dtype, option, order)
    args = launch.input(t["dy"]), launch.input(t["x"]), launch.vector(t["b"])
    dx, (db, *sums) = launch.output(), launch.sums()
    launch("grad", *params(act, option), *launch.channels, *args, dx.data_ptr(), *sums)
    return t, [launch.shaped(dx), db]


def run_grad_grad(case, dtype, act, option, order):
    """d_dy, d_x and d_b."""
    t = inputs(case, dtype, option)
    launch = Launch(case, dtype, option, order)
    args = [launch.input(t["ddx"]), launch.vector(t["e"]), launch.input(t["dy"])]
    args += [launch.input(t["x"]), launch.vector(t["b"])]
    d_dy, d_x, (d_b, *sums) = launch.output(), launch.output(), launch.sums()
    args += [d_dy.data_ptr(), d_x.data_ptr(), *sums]
    launch("grad_grad", *params(act, option), *launch.channels, *args)
    return t, [launch.shaped(d_dy), launch.shaped(d_x), d_b]


RUN = {"mask_grad": run_mask_grad, "grad": run_grad, "grad_grad": run_grad_grad}
