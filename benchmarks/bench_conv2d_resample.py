# SPDX-License-Identifier: Apache-2.0
"""conv2d_resample over the up-sampling layers of generators and the down-sampling layers of
discriminators: against the reference, which convolves at the larger size, and PyTorch's strided
convolution alone ("bare")."""

from dataclasses import dataclass
from functools import partial
from itertools import product

import click
import torch
import torch.nn.functional as F
from harness.modconv_layers import layers
from harness.op_race import DTYPES, Case, Contest, Settings, measure, op_options, tensor

from stylegan_ops import conv2d_resample, setup_filter
from stylegan_ops.ops.conv2d_resample import conv2d_resample_ref

BARE = {
    "up": lambda x, w: F.conv_transpose2d(x, w.transpose(0, 1), stride=2),
    "down": lambda x, w: F.conv2d(x, w, stride=2, padding=1),
}


@dataclass(frozen=True)
class Layer:
    """A layer that resamples by 2."""

    factor: str  # up: of a generator; down: of a discriminator
    c_in: int
    c_out: int
    size: int  # px of its input


def contest(layer, dtype, layout, settings):
    """One layer."""
    x = tensor((settings.batch, layer.c_in, *[layer.size] * 2), dtype, layout, settings.device)
    w = torch.randn(layer.c_out, layer.c_in, 3, 3, device=settings.device).to(DTYPES[dtype])
    f = setup_filter([1, 3, 3, 1]).to(settings.device)
    given = {"f": f, layer.factor: 2, "padding": 1}
    ops = {
        "native": lambda x, w: conv2d_resample(x, w, **given),
        "reference": lambda x, w: conv2d_resample_ref(x, w, **given),
        "bare": BARE[layer.factor],
    }
    only = {"bare": ("inference", "forward")}  # the size of its output differs
    return Contest(ops, [x, w.requires_grad_()], only=only)


def cases(settings):
    """conv0 of G at every size, and the layer of D with the channels exchanged."""
    for about, shape in layers(settings.resolutions, settings.low):
        found = [
            Layer("up", shape.c_in, shape.c_out, shape.size),
            Layer("down", shape.c_out, shape.c_in, shape.size * 2),
        ]
        for layer, (dtype, layout) in product(found if shape.up == 2 else [], settings.formats()):
            names = {"network": about["network"], "layer": f"{layer.factor} 2", "px": layer.size}
            names |= {"channels": f"{layer.c_in}-{layer.c_out}", "batch": settings.batch}
            names |= {"dtype": dtype, "layout": layout}
            yield Case(names, partial(contest, layer, dtype, layout, settings))


@click.command(help=__doc__)
@op_options
def main(**options):
    """Print a row per layer, dtype, layout and pass."""
    settings = Settings.of(**options)
    measure("conv2d_resample", cases(settings), settings)


if __name__ == "__main__":
    main()
