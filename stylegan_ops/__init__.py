# SPDX-License-Identifier: Apache-2.0
"""The operations of the StyleGAN family, each twice differentiable, on any device of PyTorch."""

from stylegan_ops.ops.bias_act import ACTIVATIONS, bias_act
from stylegan_ops.ops.conv2d_resample import conv2d_resample
from stylegan_ops.ops.filtered_lrelu import filtered_lrelu
from stylegan_ops.ops.grid_sample import grid_sample
from stylegan_ops.ops.modulated_conv2d import fold_weight, modulated_conv2d
from stylegan_ops.ops.upfirdn2d import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d
from stylegan_ops.runtime.allocator import tune_cpu_allocator
from stylegan_ops.runtime.dispatch import backend, build_info, info, load, mode
from stylegan_ops.runtime.plan import planning

__all__ = [
    "ACTIVATIONS",
    "backend",
    "bias_act",
    "build_info",
    "conv2d_resample",
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
]
