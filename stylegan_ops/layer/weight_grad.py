# SPDX-License-Identifier: Apache-2.0
"""The gradient of a convolution w.r.t. its weight by our own kernel, for float32 on CPUs with
vectors of 512 bits. Internal: `convolution` calls it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.grad import conv2d_weight

from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.images import is_channels_last
from stylegan_ops.runtime.registration import define

OP = dispatch.declare("weight_grad")


def supports(x: torch.Tensor, dy: torch.Tensor) -> bool:
    """Whether the kernel takes these tensors and is faster than PyTorch's: only on CPUs with
    vectors of 512 bits, in the layout that it reads."""
    return (
        x.device.type == "cpu"
        and x.dtype == dy.dtype == torch.float32
        and x.shape[1] % 32 == 0
        and dy.shape[1] % 8 == 0
        and is_channels_last(dy)
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and dispatch.kernel(OP, x, dy) is not None
    )


def weight_grad_ref(
    x: torch.Tensor, dy: torch.Tensor, kernel: Sequence[int], stride: int, padding: Sequence[int]
) -> torch.Tensor:
    """The definition of `weight_grad` in plain PyTorch."""
    shape = dy.shape[1], x.shape[1], *kernel
    return conv2d_weight(x, shape, dy, stride=stride, padding=padding)


# x [N, I, H, W] and dy [N, O, H', W'], both channels_last float32; kernel (kh, kw); padding (y, x).
# Returns [O, I, kh, kw].
weight_grad = define(
    OP,
    "(Tensor x, Tensor dy, SymInt[] kernel, int stride, SymInt[] padding) -> Tensor",
    lambda x, dy, kernel, stride, padding: x.new_empty(dy.shape[1], x.shape[1], *kernel),
)
dispatch.register(OP, "cpu", weight_grad, in_extension=True)
