# SPDX-License-Identifier: Apache-2.0
"""A modulated layer as one CUDA kernel on tensor cores, without gradients: against the reference
and PyTorch's bare convolution, over the layers of real networks. Skipped without a CUDA GPU."""

from functools import partial

import click
import torch
import torch.nn.functional as F
from harness.modconv_layers import layers
from harness.op_race import DTYPES, Case, Contest, Settings, measure, op_options, tensor, vector

from stylegan_ops import setup_filter
from stylegan_ops.layer.tensor_core_layer import (
    arranged,
    composite,
    tensor_core_layer,
    tensor_core_layer_ref,
)

LAYOUT = "channels_last"  # the only one that the kernel supports
END = {"act": "lrelu", "clamp": 256.0}


def contest(shape, dtype, settings):
    """One layer, its weight already in the layout of the kernel."""
    n, size, up, device = settings.batch, shape.size, shape.up, settings.device
    k = 1 if shape.kind == "torgb" else 3
    weight = torch.randn(shape.c_out, shape.c_in, k, k, device=device).to(DTYPES[dtype])
    f = setup_filter([1, 3, 3, 1]).to(device) if up == 2 else None
    whole = composite(weight, f, k // 2, flip_weight=False) if up == 2 else weight
    w = arranged(whole, up)
    inputs = [
        tensor((n, shape.c_in, size, size), dtype, LAYOUT, device),
        vector(n, shape.c_in, device=device),
        vector(n, shape.c_out, device=device),
        vector(1, 1, size * up, size * up, device=device),
        vector(shape.c_out, device=device),
    ]
    given = {**END, "up": up, "padding": k // 2, "f": f}
    if up == 2:
        bare = lambda x, *rest: F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    else:
        bare = lambda x, *rest: F.conv2d(x, weight, padding=k // 2)
    ops = {
        "native": lambda x, *rest: tensor_core_layer(x, w, *rest, **given),
        "reference": lambda x, *rest: tensor_core_layer_ref(x, w, *rest, **given),
        "bare": bare,
    }
    return Contest(ops, inputs, passes=("inference",))


def cases(settings):
    """Every layer, the largest first, in the dtypes of tensor cores."""
    for about, shape in layers(settings.resolutions, settings.low):
        for dtype in settings.dtypes:
            names = about | {"batch": settings.batch, "dtype": dtype}
            yield Case(names, partial(contest, shape, dtype, settings))


@click.command(help=__doc__)
@op_options
def main(**options):
    """Print a row per layer and dtype."""
    settings = Settings.of(**options)
    if settings.device.type != "cuda":
        click.echo("skipped: there is no CUDA GPU")
        return
    torch.backends.cudnn.conv.fp32_precision = "tf32"  # otherwise it does not support float32
    measure("tensor_core_layer", cases(settings), settings)


if __name__ == "__main__":
    main()
