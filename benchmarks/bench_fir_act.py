# SPDX-License-Identifier: Apache-2.0
"""fir_act, the end of an up-sampling layer (filter, scale, noise, bias, activation, clamp): one
native op against four native ops ("chain") and the reference, over the layers of real networks."""

from functools import partial

import click
from harness.modconv_layers import layers
from harness.op_race import Case, Contest, Settings, measure, op_options, tensor, vector

from stylegan_ops import bias_act, setup_filter, upfirdn2d
from stylegan_ops.layer.fir_act import fir_act, fir_act_ref

FIR = {"padding": 1, "fir_gain": 4.0}
END = {"act": "lrelu", "clamp": 256.0}


def chain(x, f, scale, noise, b):
    """`fir_act` in separate ops."""
    y = upfirdn2d(x, f, padding=FIR["padding"], gain=FIR["fir_gain"])
    y = y * scale.to(y.dtype)[:, :, None, None] + noise.to(y.dtype)
    return bias_act(y, b, **END)


def contest(shape, dtype, layout, settings):
    """The output of one transposed convolution."""
    n, c, size, device = settings.batch, shape.c_out, shape.size * shape.up, settings.device
    f = setup_filter([1, 3, 3, 1]).to(device)
    inputs = [
        tensor((n, c, size + 1, size + 1), dtype, layout, device),
        vector(n, c, device=device),
        vector(1, 1, size, size, device=device),
        vector(c, device=device),
    ]
    fused = lambda op, x, scale, noise, b: op(x, f, scale=scale, noise=noise, b=b, **FIR, **END)
    ops = {
        "fir_act": partial(fused, fir_act),
        "chain": lambda x, *rest: chain(x, f, *rest),
        "reference": partial(fused, fir_act_ref),
    }
    return Contest(ops, inputs, passes=("inference", "forward", "backward"))


def cases(settings):
    """Every conv0, the largest first."""
    for about, shape in layers(settings.resolutions, settings.low):
        for dtype, layout in settings.formats() if shape.up == 2 else ():
            names = about | {"batch": settings.batch, "dtype": dtype, "layout": layout}
            yield Case(names, partial(contest, shape, dtype, layout, settings))


@click.command(help=__doc__)
@op_options
def main(**options):
    """Print a row per layer, dtype, layout and pass."""
    settings = Settings.of(**options)
    measure("fir_act", cases(settings), settings)


if __name__ == "__main__":
    main()
