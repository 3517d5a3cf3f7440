# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels of bias_act, compiled for the host, on raw memory."""

import itertools

import pytest
import torch
from cuda_on_host.buffers import Buffers
from cuda_on_host.build import missing
from ops.bias_act.cuda_on_host import (
    ALPHA,
    DTYPES,
    GAIN,
    RUN,
    Case,
    Option,
    along,
    kernels,
    params,
    run_forward,
    signs,
)
from support.cases import by_pairs
from support.pairs import pairs

from stylegan_ops.ops.bias_act import bias_act_ref
from stylegan_ops.runtime.activation import ACTIVATIONS, PIECEWISE

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

ORDERS = [0, 1, 7]


LAST = torch.channels_last
FLAT = [1, 7, 8, 9, 255, 256, 257, 511, 512, 513, 2047, 2048, 2049]
CASES = [
    *(Case((1, n), 0) for n in FLAT),
    *(Case((n,), 0) for n in (1, 7, 8, 2049)),
    *(
        Case((2, 3, 5, 7), dim, layout)
        for dim in range(4)
        for layout in (torch.contiguous_format, LAST)
    ),
    Case((1, 64, 16, 16), 1),
    Case((2, 16, 4, 4), 1),
    Case((3, 40, 8, 8), 1),
    Case((2, 24, 9, 9), 1, LAST),
    Case((5, 3, 17, 13), 1, LAST),
    Case((4, 512), 1),
    Case((4, 512), 0),
]
SLICED = [  # channels so long that several blocks add them up
    Case((1, 2, 128, 264), 1),
    Case((2, 3, 65, 63), 1),
    Case((1, 264, 12, 13), 1, LAST),
    Case((1, 5, 70, 70), 1, LAST),
]


OFFSETS, CLAMPS = ["none", "all", "outputs"], [None, 0.8]
OPTIONS = [Option(*o) for o in itertools.product(OFFSETS, CLAMPS, [False, True], [False, True])]
ALL = Option("none", 0.8, vector=True, sums=True)
KINDS = [("mask_grad", "lrelu"), ("grad", "swish"), ("grad_grad", "swish")]


def total(x, dim):
    return x.movedim(dim, 0).reshape(x.shape[dim], -1).sum(1)


def reference(kind, to, t, case, act, option):
    """What PyTorch's own ops give in dtype `to`: forward [y], grad [dx, db] with dy + e as the
    gradient for piecewise linear activations, grad_grad [d_dy, d_x, d_b] with ddx + ddb as its."""
    t = {k: None if v is None else v.to(to) for k, v in t.items()}
    x, dy, e = t["x"].requires_grad_(), t["dy"].requires_grad_(), t["e"]
    shift = 0 if e is None else along(e, x, case.dim)
    y = bias_act_ref(x, t["b"], case.dim, act, ALPHA, GAIN, option.clamp)
    if kind == "forward":
        return [y.detach()]
    if kind == "mask_grad":
        (dx,) = torch.autograd.grad(y, x, dy + shift)
    else:
        (dx,) = torch.autograd.grad(y, x, dy, create_graph=kind == "grad_grad")
    if kind != "grad_grad":
        return [dx, total(dx, case.dim)]
    d_dy, d_x = torch.autograd.grad(dx, (dy, x), t["ddx"] + shift)
    return [d_dy, d_x, total(d_x, case.dim)]


def check(ours, kind, t, case, act, option):
    """The 2x rule of checks.py: at most twice the error of PyTorch's own ops plus one ulp. For sums
    that is one ulp of what n such terms come to on average, because there may be little left of it.
    Fewer than 100 values hang on luck: 8 ulp. In float64 there is nothing better to compare with,
    and both may be wrong by some ulp."""
    dtype = t["x"].dtype
    exact = reference(kind, torch.float64, t, case, act, option)
    theirs = reference(kind, dtype, t, case, act, option)
    for i, (o, r, e) in enumerate(zip(ours, theirs, exact)):
        if o is None:
            continue
        size = rms(e)
        if kind != "forward" and i == len(exact) - 1:
            terms = exact[i - 1]
            size = max(size, rms(terms) * (terms.numel() / e.numel()) ** 0.5)
        ulps = 64 if dtype == torch.float64 else 8 if e.numel() < 100 else 1
        allowed = 2 * rms(r.double() - e) + ulps * torch.finfo(dtype).eps * size
        error = rms(o.double() - e)
        text = f"{case} {act} {option}: result {i}: error {error:.3g}, allowed {allowed:.3g}"
        assert error <= allowed, text


def rms(x):
    return x.square().mean().sqrt().item()


def check_forward(case, dtype, act, option, order):
    if option.sums:
        return
    for poison in (0xFF, 0):  # all ones may be what the mask should be
        t, y, bits = run_forward(case, dtype, act, option, order, poison)
        for plane, expected in zip(bits, signs(t, case, act, option) if bits else ()):
            assert torch.equal(plane, expected), f"{case} {act} {option}"
    check([y], "forward", t, case, act, option)


def check_grad(kind, case, dtype, act, option, order):
    t, results = RUN[kind](case, dtype, act, option, order)
    check(results, kind, t, case, act, option)


def check_kind(kind, dtype, case, act, option, order):
    if kind == "forward":
        check_forward(case, dtype, act, option, order)
    else:
        check_grad(kind, case, dtype, act, option, order)


@by_pairs(
    case=CASES,
    dtype=DTYPES,
    act=["lrelu", "swish"],
    offset=OFFSETS,
    clamp=CLAMPS,
    vector=[False, True],
    order=ORDERS,
)
def test_forward(case, dtype, act, offset, clamp, vector, order):
    check_forward(case, dtype, act, Option(offset, clamp, vector, sums=False), order)


@by_pairs(
    case=CASES + SLICED,
    dtype=DTYPES,
    kind_and_act=KINDS,
    offset=OFFSETS,
    clamp=CLAMPS,
    vector=[False, True],
    sums=[True, False],
    order=ORDERS,
)
def test_gradients(case, dtype, kind_and_act, offset, clamp, vector, sums, order):
    kind, act = kind_and_act
    check_grad(kind, case, dtype, act, Option(offset, clamp, vector, sums), order)


@pytest.mark.thorough
@pytest.mark.parametrize("kind, act", [("forward", "lrelu"), ("forward", "swish"), *KINDS])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_case_and_dtype(dtype, kind, act):
    """With one of the options in turn."""
    for i, case in enumerate(CASES + SLICED, DTYPES.index(dtype)):
        check_kind(kind, dtype, case, act, OPTIONS[i * 5 % len(OPTIONS)], ORDERS[i % 3])


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_activations(act):
    """In each dtype, forward and backward, with and without a clamp."""
    kinds = ["forward", *(["mask_grad"] if act in PIECEWISE else ["grad", "grad_grad"])]
    cases = [Case((3, 40, 8, 8), 1), Case((2, 24, 9, 9), 1, LAST)]
    values = {"kind": kinds, "dtype": DTYPES, "case": cases, "option": OPTIONS[:8]}
    for i, given in enumerate(pairs(values)):
        check_kind(act=act, order=ORDERS[i % 3], **given)


@pytest.mark.parametrize("kind, act", KINDS)
@pytest.mark.parametrize("case", SLICED, ids=str)
def test_the_same_bits_in_any_order(case, kind, act):
    results = [RUN[kind](case, torch.float32, act, ALL, order)[1] for order in ORDERS]
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


@pytest.mark.thorough
def test_more_steps_where_there_would_be_too_many_slices():
    case = Case((1, 8193 * 256 + 1), 0)  # one element at a time: over 1024 slices of 8 steps
    check_grad("mask_grad", case, torch.float32, "lrelu", ALL, 0)


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_forward_of_values_that_are_not_finite(dtype, act):
    x = torch.tensor([torch.nan, torch.inf, -torch.inf, 0, -0.0, 1, -1, 300, -300], dtype=dtype)
    if act == "swish":
        x = x[x != -torch.inf]  # -inf * 0 in the reference, where a host's exp does not reach 0
    near = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 1e-35, "equal_nan": True}
    for clamp in (None, 0.8):
        buffers, size = Buffers(), x.numel()
        source, y = buffers.input(x), buffers.output(size, dtype)
        args = *params(act, ALL._replace(clamp=clamp)), size, 1, size
        error = kernels().forward(DTYPES.index(dtype), *args, source, None, y.data_ptr(), None)
        assert error is None
        buffers.check()
        expected = bias_act_ref(x.double(), None, 0, act, ALPHA, GAIN, clamp).to(dtype)
        assert torch.allclose(y, expected, **near)


def test_a_wrong_size_is_found():
    buffers, x = Buffers(), torch.ones(64)
    source, y = buffers.input(x), buffers.output(64, torch.float32)
    args = DTYPES.index(torch.float32), *params("tanh", ALL)
    assert kernels().forward(*args, 63, 1, 63, source, None, y.data_ptr(), None) is None
    buffers.check()
    assert y[-1].isnan() and not y[:-1].isnan().any()
    assert kernels().forward(*args, 65, 1, 65, source, None, y.data_ptr(), None) is None
    with pytest.raises(AssertionError, match="a store after an output of 256 bytes"):
        buffers.check()
