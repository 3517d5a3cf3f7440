# SPDX-License-Identifier: Apache-2.0
"""Numbers of NumPy and PyTorch as arguments of every op, and what is refused in one line."""

import numpy as np
import pytest
import torch

import stylegan_ops as ops

X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
W = torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(1))
S, B = torch.ones(2, 4), torch.zeros(4)
F4 = ops.setup_filter([1, 3, 3, 1])
F12 = ops.setup_filter(np.arange(12.0) + 1)

INTEGERS = [np.int64, np.uint8, np.array, torch.tensor, lambda n: np.array([n])[0]]
NO_NUMBERS = [float("nan"), np.nan, True, "2", 1j, [1.0], np.ones(2), 10**400]
FLOATS = [np.float64, np.float32, np.array, torch.tensor, np.int64]

CALLS = {  # of an integer 2, of another 1, of a number 2.0, and a padding of several forms
    "bias_act": lambda two, one, x, p: ops.bias_act(X, B, one, "lrelu", x, x, x),
    "upfirdn2d": lambda two, one, x, p: ops.upfirdn2d(X, F4, two, one, p, gain=x),
    "upfirdn2d lists": lambda two, one, x, p: ops.upfirdn2d(X, F4, [two, one], (one, two), p),
    "filter2d": lambda two, one, x, p: ops.filter2d(X, F4, p, gain=x),
    "upsample2d": lambda two, one, x, p: ops.upsample2d(X, F4, two, p, gain=x),
    "downsample2d": lambda two, one, x, p: ops.downsample2d(X, F4, [two, two], p, gain=x),
    "conv2d_resample": lambda two, one, x, p: ops.conv2d_resample(X, W, F4, one, two, p, one),
    "modulated_conv2d": lambda two, one, x, p: ops.modulated_conv2d(
        X, W, S, None, two, one, p, F4, bias=B, act="lrelu", alpha=x, gain=x, clamp=x
    ),
    "filtered_lrelu": lambda two, one, x, p: ops.filtered_lrelu(
        X, F12, F12, B, two, two, [10, 10, 10, 10], x, x, x
    ),
    "setup_filter": lambda two, one, x, p: ops.setup_filter([one, two], gain=x),
    "fold_weight": lambda two, one, x, p: ops.modulated_conv2d(
        X, ops.fold_weight(W, up=two), S, up=two, padding=p, resample_filter=F4
    ),
}


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("number", range(5))
def test_numbers_of_other_libraries(name, number, backend):
    integer, real = INTEGERS[number], FLOATS[number]
    call = CALLS[name]
    with ops.backend(backend):
        expected = call(2, 1, 2.0, 1)
        for padding in (integer(1), [integer(1)] * 2, np.array([1] * 4), torch.tensor([1, 1])):
            assert torch.equal(call(integer(2), integer(1), real(2), padding), expected)


@pytest.mark.parametrize("value", [1.5, True, np.bool_(1), np.float32(2), "2", None, [2.0], 1j])
@pytest.mark.parametrize(
    "call, name",
    [
        (lambda v: ops.upfirdn2d(X, F4, v), "upfirdn2d: up must be"),
        (lambda v: ops.upfirdn2d(X, F4, 1, [v, 1]), "upfirdn2d: down must be"),
        (lambda v: ops.upfirdn2d(X, F4, padding=v), "upfirdn2d: padding must be"),
        (lambda v: ops.filter2d(X, F4, [0, 0, v, 0]), "padding must be"),
        (lambda v: ops.conv2d_resample(X, W, F4, v), "conv2d_resample: up and down must be"),
        (lambda v: ops.conv2d_resample(X, W, F4, padding=v), "conv2d_resample: padding must be"),
        (lambda v: ops.conv2d_resample(X, W, groups=v), "conv2d_resample: groups must be"),
        (lambda v: ops.modulated_conv2d(X, W, S, down=v), "modulated_conv2d: up and down must be"),
        (lambda v: ops.modulated_conv2d(X, W, S, padding=v), "modulated_conv2d: padding must be"),
        (lambda v: ops.filtered_lrelu(X, F12, F12, up=v), "filtered_lrelu: up must be"),
        (lambda v: ops.filtered_lrelu(X, None, None, padding=v), "filtered_lrelu: padding must"),
        (lambda v: ops.bias_act(X, B, dim=v), "bias_act: dim must be an integer"),
        (lambda v: ops.fold_weight(W, up=v), "fold_weight: up must be an integer"),
    ],
)
def test_no_integers(call, name, value):
    with pytest.raises(ValueError, match=name) as caught:
        call(value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda v: str(v)[:9])
@pytest.mark.parametrize(
    "call, name",
    [
        (lambda v: ops.bias_act(X, gain=v), "bias_act: gain must be a number"),
        (lambda v: ops.bias_act(X, act="lrelu", alpha=v), "bias_act: alpha must be a number"),
        (lambda v: ops.bias_act(X, clamp=v), "bias_act: clamp must be"),
        (lambda v: ops.upfirdn2d(X, F4, gain=v), "upfirdn2d: gain must be a number"),
        (lambda v: ops.upsample2d(X, F4, gain=v), "gain must be a number"),
        (lambda v: ops.modulated_conv2d(X, W, S, gain=v), "modulated_conv2d: gain must be"),
        (lambda v: ops.modulated_conv2d(X, W, S, clamp=v), "modulated_conv2d: clamp must be"),
        (lambda v: ops.filtered_lrelu(X, slope=v), "filtered_lrelu: slope must be a number"),
        (lambda v: ops.setup_filter([1, 1], gain=v), "setup_filter: gain must be a number"),
    ],
)
def test_no_numbers(call, name, value):
    with pytest.raises(ValueError, match=name) as caught:
        call(value)
    assert "\n" not in str(caught.value)


def test_a_gain_that_is_learned_is_refused_and_not_detached():
    with pytest.raises(ValueError, match="gain must be a number; a tensor that requires a grad"):
        ops.bias_act(X, gain=torch.tensor(2.0, requires_grad=True))


def test_an_op_that_changes_nothing_does_not_return_its_input():
    for same in (ops.bias_act(X), ops.upfirdn2d(X, None), ops.bias_act(X, gain=1.0, clamp=None)):
        assert torch.equal(same, X) and same.data_ptr() != X.data_ptr()


@pytest.mark.parametrize(
    "f, message",
    [
        ([1, np.nan], "a tap of f must be a number, got nan"),
        (np.array([1, np.inf]), "the taps of f must be finite numbers"),
        ([[1, 2], [1]], "the rows of f are not of one length"),
        ([1, -1], "the taps of f add up to 0; normalize=False keeps them"),
        ([], "f must be"),
        ([True, 1], "a tap of f must be a number, got True"),
        (list("1,3"), "a tap of f must be"),
        ("1,3", "f must be numbers, got str"),
        (1j, "f must be numbers, got complex"),
    ],
)
def test_filters_that_are_refused(f, message):
    with pytest.raises(ValueError, match=message):
        ops.setup_filter(f)


@pytest.mark.parametrize(
    "f",
    [
        [1, 2],
        (1, 2),
        np.array([1, 2]),
        torch.tensor([1, 2]),
        range(1, 3),
        [np.int64(1), np.float32(2)],
    ]
    + [[torch.tensor(1), torch.tensor(2.0)], [np.array(1), 2]],
)
def test_filters_of_any_form(f):
    assert torch.equal(ops.setup_filter(f), ops.setup_filter([1.0, 2.0]))
    rows = [[1.0, 2.0], [3.0, 4.0]]
    for form in (rows, np.array(rows), torch.tensor(rows), [np.array(r) for r in rows]):
        assert torch.equal(ops.setup_filter(form), torch.tensor(rows) / 10)
