# SPDX-License-Identifier: Apache-2.0
"""The gradient of a convolution w.r.t. its weight, over the layers of real networks: the CPU kernel
for AVX-512 against PyTorch's `conv2d_weight`, which is the reference, and the bare convolution."""

from functools import partial

import click
import torch
import torch.nn.functional as F
from harness.modconv_layers import layers
from harness.op_race import Case, Contest, Settings, measure, op_options, tensor
from torch.nn.grad import conv2d_weight

from stylegan_ops.layer.convolution import weight_grad

LAYOUT = "channels_last"  # the only one that the kernel supports


def contest(shape, settings):
    """One layer."""
    n, c_in, c_out, size = settings.batch, shape.c_in, shape.c_out, shape.size
    x = tensor((n, c_in, size, size), "float32", LAYOUT, settings.device)
    dy = tensor((n, c_out, size, size), "float32", LAYOUT, settings.device)
    weight = torch.randn(c_out, c_in, 3, 3)
    ops = {
        "native": lambda x, dy: weight_grad(x, dy, [3, 3], 1, [1, 1]),
        "reference": lambda x, dy: conv2d_weight(x, weight.shape, dy, padding=1),
        "bare": lambda x, dy: F.conv2d(x, weight, padding=1),
    }
    return Contest(ops, [x, dy], passes=("inference",))


def cases(settings):
    """Every conv1 in float32, the largest first."""
    for about, shape in layers(settings.resolutions, settings.low):
        if shape.kind == "conv1":
            yield Case(about | {"batch": settings.batch}, partial(contest, shape, settings))


@click.command(help=__doc__)
@op_options
def main(**options):
    """Print a row per layer."""
    settings = Settings.of(**options)
    if settings.device.type != "cpu" or torch.backends.cpu.get_cpu_capability() != "AVX512":
        click.echo("skipped: the kernel needs a CPU with AVX-512 (--device cpu)")
        return
    measure("weight_grad", cases(settings), settings)


if __name__ == "__main__":
    main()
