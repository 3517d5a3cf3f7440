# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from checks import DTYPES, LAYOUTS, check_dtype, check_fixture, fixture_cases, rand

from stylegan_ops import bias_act
from stylegan_ops.bias_act import ACTIVATIONS

# Written once more from the formulas, so that the tolerance rule has something to compare with.
PLAIN = {
    "linear": lambda x: x,
    "relu": lambda x: x.clamp(min=0),
    "lrelu": lambda x: torch.where(x < 0, 0.2 * x, x),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": lambda x: torch.where(x < 0, torch.expm1(x), x),
    "selu": torch.selu,
    "softplus": lambda x: torch.nn.functional.softplus(x),
    "swish": lambda x: x * torch.sigmoid(x),
}


@pytest.mark.parametrize("number", fixture_cases("bias_act"))
def test_known_good(number):
    check_fixture(bias_act, number)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_dtypes_and_layouts(act, dtype, layout):
    def plain(x, b):
        y = PLAIN[act](x + b.reshape(1, -1, 1, 1)) * ACTIVATIONS[act].gain
        return y.clamp(-1.5, 1.5)

    def ours(x, b):
        return bias_act(x, b, act=act, clamp=1.5)

    check_dtype(ours, plain, {"x": rand(2, 6, 5, 7), "b": rand(6)}, ["x", "b"], dtype, layout)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_gradgradcheck(act):
    x, b = rand(2, 3, 4, grad=True), rand(3, grad=True)

    def op(x, b):
        return bias_act(x, b, act=act, gain=1.3, clamp=1.1)

    assert torch.autograd.gradcheck(op, (x, b))
    assert torch.autograd.gradgradcheck(op, (x, b))


def test_bias_of_another_dtype_keeps_that_of_x():
    y = bias_act(torch.ones(2, 3, dtype=torch.float16), torch.ones(3))
    assert y.dtype == torch.float16 and torch.equal(y, torch.full_like(y, 2))


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_bias_along_any_dimension(dim):
    x, b = rand(3, 3, 3), rand(3)
    expected = (x.movedim(dim, -1) + b).movedim(-1, dim)
    assert torch.equal(bias_act(x, b, dim=dim), expected)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"act": "gelu"}, "act must be one of linear, .*'gelu'"),
        ({"b": torch.zeros(4)}, r"b must have shape \[3\], got \[4\]"),
        ({"b": torch.zeros(1, 3)}, r"b must have shape \[3\]"),
        ({"b": torch.zeros(3), "dim": 2}, "dim 2 is out of range"),
        ({"clamp": -1}, "clamp must be >= 0"),
        ({"x": torch.zeros(2, 3, dtype=torch.int32)}, "x must be floating"),
    ],
)
def test_rejects(kwargs, message):
    with pytest.raises(ValueError, match=message):
        bias_act(**{"x": torch.zeros(2, 3), **kwargs})
