# SPDX-License-Identifier: Apache-2.0
"""What the tests of scale_act on every device share: inputs, results, the 2x rule."""

import torch
from ops.fir_act.cases import MARGIN
from support.checks import check_dtype, rand

from stylegan_ops.layer.scale_act import scale_act_ref

INPUTS = ["x", "scale", "noise", "b"]


def arguments(shape, names=INPUTS[1:], samples=None):
    """{name: float64} for x of a shape and others by name; noise has those `samples`, or as x."""
    n, c, h, w = shape
    made = {"scale": rand(n, c) + 1, "noise": rand(samples or n, 1, h, w), "b": rand(c)}
    return {"x": rand(*shape), **{name: made[name] for name in names}}


def check(op, own, inputs, dtype, layout, **kwargs):
    """The 2x rule. Samples that lie where two pieces of the activation meet are left out: on which
    side their slope is taken from is a matter of rounding, before the op as well as in it."""
    u, v = scale_act_ref(**inputs), scale_act_ref(**inputs, act=kwargs["act"])
    edge = kwargs["clamp"] or 99
    keep = (u.abs() > MARGIN[dtype]) & ((v.abs() - edge).abs() > MARGIN[dtype])

    def run(op):
        def masked(**given):
            y = op(**given, **kwargs)
            return y * torch.empty_like(y).copy_(keep)

        return masked

    check_dtype(run(op), run(own), inputs, list(inputs), dtype, layout)


def derivatives(op, inputs, orders=2, names=None, **kwargs):
    """[y, first derivatives, ...] by the inputs of these names, or by all."""
    leaves = {k: v.detach().requires_grad_(k in (names or inputs)) for k, v in inputs.items()}
    given = [v for v in leaves.values() if v.requires_grad]
    y = op(**leaves, **kwargs)
    results, total = [y], (y**3 * rand(*y.shape, seed=5).to(y)).sum()
    for order in range(1, orders + 1):
        grads = torch.autograd.grad(total, given, create_graph=order < orders)
        total = sum((g**2 * rand(*g.shape, seed=order).to(g)).sum() for g in grads)
        results += grads
    return results
