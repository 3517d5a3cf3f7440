# SPDX-License-Identifier: Apache-2.0
"""The operations of the StyleGAN family, each twice differentiable, on any device of PyTorch."""

from __future__ import annotations

from types import ModuleType

from stylegan_ops.layer.fold import fold_weight
from stylegan_ops.ops.bias_act import bias_act
from stylegan_ops.ops.conv2d_resample import conv2d_resample
from stylegan_ops.ops.filtered_lrelu import filtered_lrelu
from stylegan_ops.ops.filters import downsample2d, filter2d, setup_filter, upsample2d
from stylegan_ops.ops.grid_sample import grid_sample
from stylegan_ops.ops.modulated_conv2d import modulated_conv2d
from stylegan_ops.ops.upfirdn2d import upfirdn2d
from stylegan_ops.ops.warp_affine import warp_affine
from stylegan_ops.runtime.activation import ACTIVATIONS
from stylegan_ops.runtime.allocator import tune_cpu_allocator
from stylegan_ops.runtime.dispatch import backend, build_info, info, load, mode
from stylegan_ops.runtime.plan import planning

__all__ = [
    "ACTIVATIONS",
    "backend",
    "bias_act",
    "build_info",
    "conv2d_resample",
    "doctor",
    "downsample2d",
    "filter2d",
    "filtered_lrelu",
    "fold_weight",
    "grid_sample",
    "info",
    "load",
    "mode",
    "modulated_conv2d",
    "planning",
    "setup_filter",
    "tune_cpu_allocator",
    "upfirdn2d",
    "upsample2d",
    "warp_affine",
]


def __getattr__(name: str) -> ModuleType:
    """`doctor` is imported when it is first asked for: it imports the build."""
    if name == "doctor":
        import importlib

        return importlib.import_module("stylegan_ops.doctor")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
