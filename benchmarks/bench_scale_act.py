# SPDX-License-Identifier: Apache-2.0
"""scale_act, the end of a layer without up-sampling (scale, noise, bias, activation, clamp): one
native op against three native ops ("chain") and the reference, over the layers of real networks."""

from functools import partial

import click
from harness.modconv_layers import layers
from harness.op_race import Case, Contest, Settings, measure, op_options, tensor, vector

from stylegan_ops import bias_act
from stylegan_ops.layer.scale_act import scale_act, scale_act_ref

END = {"act": "lrelu", "clamp": 256.0}


def chain(x, scale, noise, b):
    """`scale_act` in separate ops."""
    y = x * scale.to(x.dtype)[:, :, None, None] + noise.to(x.dtype)
    return bias_act(y, b, **END)


def contest(shape, dtype, layout, settings):
    """The output of one convolution."""
    n, c, size, device = settings.batch, shape.c_out, shape.size, settings.device
    inputs = [
        tensor((n, c, size, size), dtype, layout, device),
        vector(n, c, device=device),
        vector(1, 1, size, size, device=device),
        vector(c, device=device),
    ]
    ops = {
        "scale_act": lambda *inputs: scale_act(*inputs, **END),
        "chain": chain,
        "reference": lambda *inputs: scale_act_ref(*inputs, **END),
    }
    return Contest(ops, inputs)


def cases(settings):
    """Every conv1, the largest first."""
    for about, shape in layers(settings.resolutions, settings.low):
        for dtype, layout in settings.formats() if shape.kind == "conv1" else ():
            names = about | {"batch": settings.batch, "dtype": dtype, "layout": layout}
            yield Case(names, partial(contest, shape, dtype, layout, settings))


@click.command(help=__doc__)
@op_options
def main(**options):
    """Print a row per layer, dtype, layout and pass."""
    settings = Settings.of(**options)
    measure("scale_act", cases(settings), settings)


if __name__ == "__main__":
    main()
