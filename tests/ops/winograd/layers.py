# SPDX-License-Identifier: Apache-2.0
"""Modulated convolutions for the tests of Winograd's method, and what they must give."""

import torch
from ops.winograd.cases import BOUND
from support.checks import rand

from stylegan_ops import modulated_conv2d, setup_filter
from stylegan_ops.ops.modulated_conv2d import modulated_conv2d_ref
from stylegan_ops.runtime import plan

F = setup_filter([1, 3, 3, 1])
CASES = {
    "3x3": dict(padding=1),
    "valid": dict(padding=0),
    "wide": dict(padding=[2, 2, 0, 0]),
    "up": dict(up=2, padding=1, resample_filter=F),
    "up, no filter": dict(up=2, padding=1),
    "up, asymmetric": dict(up=2, padding=[0, 2, 1, 0], resample_filter=F),
}
END = dict(act="lrelu", gain=1.3, clamp=3)


def inputs(case, n=2, channels=(32, 48), size=(9, 7), **changed):
    """Tensors, float32, and other arguments."""
    (i, o), kwargs = channels, {**END, **CASES[case], **changed}
    given = {
        "x": rand(n, i, *size),
        "weight": rand(o, i, 3, 3),
        "styles": rand(n, i, seed=1) + 0.5,
        "bias": rand(o),
    }
    return {k: v.float() for k, v in given.items()}, kwargs


def expected(given, kwargs):
    wide = {k: v.double() if torch.is_tensor(v) else v for k, v in given.items()}
    return modulated_conv2d_ref(**wide, **kwargs)


def check(y, exact):
    assert y.shape == exact.shape and y.dtype == torch.float32
    error = (y.double() - exact).abs().max() / exact.abs().max()
    assert error <= BOUND, f"error {error:.3g}"


def forced(given, kwargs):
    with torch.no_grad(), plan.forced("winograd"):
        return modulated_conv2d(**given, **kwargs)
