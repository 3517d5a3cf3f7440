# SPDX-License-Identifier: Apache-2.0
"""scale_act and its like as ops of torch.library: opcheck, function transforms, compiled and
exported graphs, what the ops themselves reject."""

import pytest
import torch
from ops.fir_act.cases import F2
from ops.scale_act.cases import INPUTS, arguments
from support.checks import LAYOUTS, rand
from support.native import BACKENDS, needs_native

from stylegan_ops import backend
from stylegan_ops.layer.scale_act import scale_act

pytestmark = needs_native
thorough = pytest.mark.thorough
OPS, CPU = torch.ops.stylegan_ops, torch.device("cpu")
SLOPES = {"linear": (1.3, 1.3), "lrelu": (0.26, 1.3), "relu": (0.0, 1.3)}


def moved(args, device):
    return tuple(
        a.detach().to(device).requires_grad_(a.requires_grad) if torch.is_tensor(a) else a
        for a in args
    )


def op_arguments(layout, planes, act="lrelu", names=INPUTS[1:]):
    """Of the op itself, for images of 16 x 32: a block of signs in either layout."""
    given = {k: v.float() for k, v in arguments((2, 8, 16, 32), names, samples=1).items()}
    given["x"] = given["x"].contiguous(memory_format=layout)
    tensors = (given[k].requires_grad_() if k in given else None for k in INPUTS)
    return *tensors, *SLOPES[act], 0.9 if planes == 2 else -1.0, planes


def grad_arguments(layout, planes, act="lrelu", given=True, device=CPU):
    """Of the gradient, with the op's own mask and with all that it can give."""
    args = moved(op_arguments(layout, planes, act), device)
    x, scale, mask = args[0], args[1], OPS.scale_act(*args)[1]
    dy = rand(*x.shape, seed=1).float().contiguous(memory_format=layout)
    tensors = (dy.to(device).requires_grad_(), mask, x, scale)
    tensors = tensors if given else (*tensors[:2], None, None)
    sums_channels = given and (device.type == "cpu" or layout == torch.channels_last)
    return *tensors, list(x.stride()), *SLOPES[act], planes == 2, sums_channels, given


CONTIGUOUS, LAST = LAYOUTS
OPCHECKS = [
    *[(2, "lrelu", LAST), (1, "relu", CONTIGUOUS), (0, "lrelu", CONTIGUOUS)],
    pytest.param(0, "linear", LAST, marks=thorough),
    pytest.param(2, "lrelu", CONTIGUOUS, marks=thorough),
]


@pytest.mark.parametrize("planes, act, layout", OPCHECKS)
def test_opcheck(planes, act, layout, device):
    names = () if act == "relu" else INPUTS[1:]
    args = moved(op_arguments(layout, planes, act, names), device)
    torch.library.opcheck(OPS.scale_act.default, args, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    "planes, act, layout",
    [
        *[(2, "lrelu", LAST), (1, "relu", CONTIGUOUS)],
        pytest.param(0, "linear", LAST, marks=thorough),
        pytest.param(2, "lrelu", CONTIGUOUS, marks=thorough),
    ],
)
def test_opcheck_of_the_gradient(planes, act, layout, device):
    args = grad_arguments(layout, planes, act, act != "relu", device)
    torch.library.opcheck(OPS.scale_act_grad.default, args, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("layout", [pytest.param(CONTIGUOUS, marks=thorough), LAST])
def test_opcheck_of_outputs_given(layout, device):
    x, scale, noise, b, *numbers, _ = (
        a.detach().to(device) if torch.is_tensor(a) else a for a in op_arguments(layout, 2)
    )
    y = torch.zeros_like(x)
    torch.library.opcheck(OPS.scale_act_out.default, (x, scale, noise, b, *numbers, y))
    noise, f = rand(1, 1, 17, 33).float().to(device), F2.to(device)
    filtered = x, f, [2, 2], False, 4.0, scale, noise, b, *numbers
    y = torch.zeros(2, 8, 17, 33, device=device).contiguous(memory_format=layout)
    torch.library.opcheck(OPS.fir_act_out.default, (*filtered, y))


@pytest.mark.parametrize("dynamic", [False, pytest.param(True, marks=thorough)])
def test_compiles_without_a_break(dynamic, device):
    def layer(x, scale, noise, b):
        return scale_act(x * 2, scale, noise, b, act="lrelu", clamp=1).square()

    torch.compiler.reset()
    compiler = "aot_eager" if device.type == "cpu" else "inductor"
    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic, backend=compiler)
    for size, layout in zip(((9, 9), (16, 32)), LAYOUTS):
        leaves = arguments((2, 8, *size)).values()
        x, *rest = (v.float().to(device).requires_grad_() for v in leaves)
        x = x.detach().contiguous(memory_format=layout).requires_grad_()
        y, expected = compiled(x, *rest), layer(x, *rest)
        torch.testing.assert_close(y, expected)
        ours, theirs = (torch.autograd.grad(v.sum(), [x, *rest]) for v in (y, expected))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(9, 10), (16, 32)])  # without a block of signs and with
def test_an_exported_model_has_its_gradients(size):
    """Of a graph traced without a gradient, the mask is made when one is asked for."""

    class Layer(torch.nn.Module):
        def forward(self, x, scale, noise, b):
            return scale_act(x, scale, noise, b, act="lrelu", clamp=0.9)

    examples = [v.float() for v in arguments((2, 8, *size)).values()]
    exported = torch.export.export(Layer(), tuple(examples)).module()
    leaves = [v.clone().requires_grad_() for v in examples]
    ours, theirs = (
        torch.autograd.grad(run(*leaves).square().sum(), leaves) for run in (exported, Layer())
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", INPUTS)
def test_function_transforms_and_forward_mode(name):
    inputs, results = arguments((1, 2, 3, 4), samples=1), []
    value, tangent = inputs[name], rand(*inputs[name].shape, seed=9)

    def op(value):
        return scale_act(**inputs | {name: value}, act="lrelu", clamp=1)

    for choice in BACKENDS:
        with backend(choice):
            results.append(
                [
                    torch.func.jvp(op, (value,), (tangent,))[1],
                    torch.func.grad(lambda v: op(v).square().sum())(value),
                    torch.func.vmap(op)(torch.stack([value, tangent])),
                    torch.func.hessian(lambda v: op(v).square().sum())(value),
                ]
            )
    torch.testing.assert_close(*results)


def test_a_mask_that_nothing_needs():
    """Slopes alike on both sides, without planes, have a derivative."""
    x = rand(2, 8, 9, 9).float().requires_grad_()
    for slope in (0.0, 1.0, -2.0):
        y = OPS.scale_act(x, None, None, None, slope, slope, -1.0, 0)[0]
        torch.testing.assert_close(y, x * slope)
        (dx,) = torch.autograd.grad(y.square().sum(), x)
        torch.testing.assert_close(dx, 2 * slope**2 * x)


Z = torch.zeros
FORWARD = [
    *[{0: Z(8, 16, 32)}, {1: Z(2, 7)}, {1: Z(8)}, {1: Z(1, 8)}, {2: Z(3, 1, 16, 32)}],
    *[{2: Z(1, 2, 16, 32)}, {2: Z(1, 1, 16, 31)}, {2: Z(16, 32)}, {3: Z(9)}, {3: Z(1, 8)}],
    *[{7: 3}, {7: -1}, {0: Z(2, 8, 16, 31), 2: None}],  # the last: no blocks for a mask
]
OUT = [
    *[{7: Z(2, 8, 16, 32).half()}, {7: Z(1, 8, 16, 32)}, {7: Z(2, 8, 32, 16)}],
    *[{7: Z(2, 8, 16, 33)[..., 1:]}, {7: Z(2, 16, 32, 8).permute(0, 3, 1, 2)}],
    *[{0: Z(2, 8, 16, 33)[..., 1:]}, {1: Z(2, 7)}, {2: Z(1, 1, 16, 31)}, {3: Z(9)}],
]
FIR_OUT = [
    *[{11: Z(2, 8, 16, 32).half()}, {11: Z(1, 8, 16, 32)}, {11: Z(2, 7, 16, 32)}],
    *[{11: Z(2, 8, 16, 33)[..., 1:]}, {11: Z(2, 16, 32, 8).permute(0, 3, 1, 2)}],
    *[{11: Z(8, 16, 32)}, {11: Z(2, 8, 15, 32)}, {5: Z(2, 7)}, {2: [1]}],
]
GRAD = [
    *[{0: Z(8, 16, 32)}, {1: Z(0, dtype=torch.uint8)}, {1: Z(64, dtype=torch.uint8)}],
    *[{2: Z(2, 8, 16, 31)}, {2: Z(2, 8, 16, 32).half()}, {3: Z(2, 7)}, {3: Z(8)}],
    *[{4: [1, 1, 1]}, {4: [4096, 32, 256, 1]}, {7: False}],
    {0: Z(2, 8, 16, 31), 2: None, 4: [3968, 496, 31, 1]},  # the mask fits, but not its blocks
]
REJECTED = [(i, c) for i, changes in enumerate((FORWARD, OUT, FIR_OUT, GRAD)) for c in changes]


@pytest.mark.parametrize("which, change", REJECTED)
def test_the_ops_themselves_reject(which, change):
    forward = [a.detach() if torch.is_tensor(a) else a for a in op_arguments(LAYOUTS[0], 2)]
    x, (scale, noise, b), numbers = forward[0], forward[1:4], forward[4:7]
    if which == 0:
        op, args = OPS.scale_act, forward
    elif which == 1:
        op, args = OPS.scale_act_out, [*forward[:7], x.clone()]
    elif which == 2:
        op, args = OPS.fir_act_out, [x, None, [0, 0], False, 4.0, scale, noise, b, *numbers, x + 0]
    else:
        args = grad_arguments(LAYOUTS[0], 2)
        op, args = OPS.scale_act_grad, [a.detach() if torch.is_tensor(a) else a for a in args]
    op(*args)
    with pytest.raises((RuntimeError, ValueError)):
        op(*(change.get(i, a) for i, a in enumerate(args)))
