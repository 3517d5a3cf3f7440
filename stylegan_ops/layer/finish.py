# SPDX-License-Identifier: Apache-2.0
"""What follows the convolution in every strategy: scale, noise, bias, activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from stylegan_ops.layer.fir_act import fir_act
from stylegan_ops.layer.records import Epilogue, Layer
from stylegan_ops.layer.scale_act import OP as SCALE_ACT
from stylegan_ops.layer.scale_act import scale_act, scale_act_out, supports_out
from stylegan_ops.ops.bias_act import bias_act
from stylegan_ops.runtime import dispatch
from stylegan_ops.runtime.images import Filter, Padding4
from stylegan_ops.runtime.registration import wants_gradient

# y of one sample to write into, given an image like it and its (H', W').
Allocate = Callable[[torch.Tensor, Sequence[int]], torch.Tensor]


def split(y: torch.Tensor, groups: int, layout: torch.memory_format | None) -> torch.Tensor:
    """The result of a convolution in groups, one for each sample; in the layout of the images,
    whatever that of the weight was; None: as it comes."""
    if groups > 1:
        y = y.reshape(groups, -1, *y.shape[2:])
    return y if layout is None else y.contiguous(memory_format=layout)


def plane(noise: torch.Tensor | None, size: Sequence[int]) -> torch.Tensor | None:
    """The noise for images of a size (H, W)."""
    return noise if noise is None else noise.expand(-1, -1, *size)


def noise_of(noise: torch.Tensor | None, i: int) -> torch.Tensor | None:
    """The noise of sample i."""
    return noise[i : i + 1] if noise is not None and noise.shape[0] > 1 else noise


def fir_act_end(
    y: torch.Tensor,
    f: Filter,
    padding: Padding4,
    fir_gain: float,
    scale: torch.Tensor | None,
    noise: torch.Tensor | None,
    end: Epilogue,
) -> torch.Tensor:
    """`fir_act` with an `Epilogue`."""
    parts = end.bias, end.act, end.alpha, end.gain, end.clamp
    return fir_act(y, f, padding, False, fir_gain, scale, noise, *parts)


def finish(
    y: torch.Tensor, scale: torch.Tensor | None, layer: Layer, allocate: Allocate | None
) -> torch.Tensor:
    """bias_act(y * scale + noise, bias), in place of y if that is possible: nobody else has y."""
    noise, end = layer.noise, layer.epilogue
    if allocate is not None:
        size = y.shape[2:]
        return scale_act_out(allocate(y, size), y, scale, plane(noise, size), end)
    if _may_overwrite(y, scale, noise, end):
        return scale_act_out(y, y, scale, noise, end)
    if scale is None and noise is None:
        if end.bias is None and end == Epilogue():  # tensors compare slowly
            return y
        return bias_act(y, end.bias, 1, end.act, end.alpha, end.gain, end.clamp)
    return scale_act(y, scale, noise, end.bias, end.act, end.alpha, end.gain, end.clamp)


def _may_overwrite(
    y: torch.Tensor, scale: torch.Tensor | None, noise: torch.Tensor | None, end: Epilogue
) -> bool:
    linear = scale is None and noise is None and end.act == "linear"
    if torch.compiler.is_compiling() or linear or wants_gradient(y, scale, noise, end.bias):
        return False
    kernel = dispatch.kernel(SCALE_ACT, y, scale, noise, end.bias)
    return kernel is not None and supports_out(y, noise, end.act)
