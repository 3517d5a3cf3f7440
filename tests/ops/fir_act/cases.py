# SPDX-License-Identifier: Apache-2.0
"""What the tests of fir_act on every device share: filters, inputs that fit them, the 2x rule."""

import torch
from ops.upfirdn2d.cases import F1, F2, F12, RANK2
from support.checks import check_dtype, rand

from stylegan_ops.layer.fir_act import fir_act_ref

FILTERS = {
    "layer": dict(f=F2, padding=1, fir_gain=4.0),
    "separable": dict(f=F1, padding=[3, 2, 4, 1], flip_filter=True),
    "12 taps": dict(f=F12, padding=[6, 5, 5, 6]),
    "rank 2": dict(f=RANK2, padding=[2, 1, -1, 5], fir_gain=0.7),
    "no filter": dict(f=None),
}
INPUTS = ["x", "scale", "noise", "b"]


def arguments(shape, names=INPUTS[1:], samples=None, f=None, padding=0, **_):
    """{name: float64} for x of a shape and others by name; noise has those `samples`, or as x."""
    n, c, h, w = shape
    kw, kh = (1, 1) if f is None else (f.shape[-1], f.shape[0])
    x0, x1, y0, y1 = [padding] * 4 if isinstance(padding, int) else padding
    noise = rand(samples or n, 1, h + y0 + y1 - kh + 1, w + x0 + x1 - kw + 1)
    made = {"scale": rand(n, c) + 1, "noise": noise, "b": rand(c)}
    return {"x": rand(*shape), **{name: made[name] for name in names}}


MARGIN = {torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.1}


def check(op, own, inputs, dtype, layout, **kwargs):
    """The 2x rule. Samples that lie where two pieces of the activation meet are left out: on which
    side their slope is taken from is a matter of rounding, before the op as well as in it."""
    steps = {k: v for k, v in kwargs.items() if k not in ("act", "clamp")}
    u, v = fir_act_ref(**inputs, **steps), fir_act_ref(**inputs, **steps, act=kwargs["act"])
    keep = (u.abs() > MARGIN[dtype]) & ((v.abs() - (kwargs["clamp"] or 99)).abs() > MARGIN[dtype])

    def run(op):
        def masked(**given):
            y = op(**given, **kwargs)
            return y * torch.empty_like(y).copy_(keep)

        return masked

    check_dtype(run(op), run(own), inputs, list(inputs), dtype, layout)
