# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels of warp_affine on the host: launches in guarded memory."""

import ctypes
from functools import cache
from pathlib import Path

import torch
from cuda_on_host.buffers import Buffers
from cuda_on_host.build import CSRC, load

ENTRY = Path(__file__).with_suffix(".cpp")
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]  # as Dtype in csrc


@cache
def kernels():
    """The library."""
    library = load(ENTRY, *sorted(CSRC.glob("warp_affine/cuda/*.cu")))
    integer, pointer = ctypes.c_int, ctypes.c_void_p
    library.workspace_size.argtypes = [pointer, integer]
    library.workspace_size.restype = ctypes.c_int64
    library.warp_affine.argtypes = [*[integer, pointer, pointer, pointer], integer, *[pointer] * 3]
    library.warp_affine.restype = ctypes.c_char_p
    return library


def launch(x, matrix, f, adjoint=False, fence=None, order=0):
    """y of the shape and dtype of x.

    Args:
        fence: of inputs; see Buffers.
        order: of threads.
    """
    arithmetic = torch.float64 if x.dtype == torch.float64 else torch.float32
    buffers = Buffers(fence=fence)
    sizes = (ctypes.c_int64 * 5)(*x.shape, len(f))
    y = buffers.output(x.numel(), x.dtype)
    workspace = buffers.output(kernels().workspace_size(sizes, adjoint), arithmetic)
    given = [buffers.input(t.to(arithmetic).contiguous()) for t in (matrix, f)]
    kernels().cuda_on_host_order(order)
    error = kernels().warp_affine(
        DTYPES.index(x.dtype),
        sizes,
        *given,
        adjoint,
        buffers.input(x.contiguous()),
        y.data_ptr(),
        workspace.data_ptr(),
    )
    assert error is None, error.decode()
    buffers.check()
    return y.view(x.shape)
