# SPDX-License-Identifier: Apache-2.0
"""fir_act as an op of torch.library: opcheck, function transforms, compiled and exported graphs."""

import pytest
import torch
from ops.fir_act.cases import F2, FILTERS, INPUTS, arguments
from support.checks import LAYOUTS, rand
from support.native import BACKENDS, needs_native

from stylegan_ops import backend
from stylegan_ops.layer.fir_act import fir_act, fir_act_ref

pytestmark = needs_native
thorough = pytest.mark.thorough


def op_arguments(layout, planes, act="lrelu", names=INPUTS[1:]):
    """Of the op itself, for results of 16 x 32: a block of signs in either layout."""
    given = {k: v.float() for k, v in arguments((2, 8, 17, 33), names, **FILTERS["layer"]).items()}
    given["x"] = given["x"].to(memory_format=layout)
    x, *rest = (given[k].requires_grad_() if k in given else None for k in INPUTS)
    slopes = {"linear": (1.3, 1.3), "lrelu": (0.26, 1.3), "relu": (0.0, 1.3)}[act]
    clamp = 0.9 if planes == 2 else -1.0
    return x, F2, [1, 1], [16, 32], False, 4.0, *rest, *slopes, clamp, planes


@pytest.mark.parametrize(
    "names, planes, act, layout",
    [
        (INPUTS[1:], 2, "lrelu", torch.channels_last),
        (("b",), 1, "relu", torch.contiguous_format),
        ((), 0, "lrelu", torch.channels_last),  # no mask: the gradient makes it
        pytest.param(INPUTS[1:], 0, "lrelu", torch.contiguous_format, marks=thorough),
        pytest.param(INPUTS[1:], 1, "relu", torch.channels_last, marks=thorough),
        pytest.param(("b",), 0, "linear", torch.channels_last, marks=thorough),
    ],
)
def test_opcheck(names, planes, act, layout, device):
    args = [
        a.detach().to(device).requires_grad_(a.requires_grad) if torch.is_tensor(a) else a
        for a in op_arguments(layout, planes, act, names)
    ]
    op = torch.ops.stylegan_ops.fir_act.default
    torch.library.opcheck(op, tuple(args), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "dynamic, layout",
    [
        (False, torch.channels_last),
        pytest.param(True, torch.contiguous_format, marks=thorough),
    ],
)
def test_compiles_without_a_break(dynamic, layout, device):
    def layer(x, f, scale, noise, b):
        return fir_act(x * 2, f, 1, scale=scale, noise=noise, b=b, act="lrelu", clamp=1).square()

    torch.compiler.reset()
    compiler = "aot_eager" if device.type == "cpu" else "inductor"
    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic, backend=compiler)
    for size, f in (((9, 9), F2), ((17, 33), F2.flip(0) ** 2)):
        given = arguments((2, 8, *size), **FILTERS["layer"])
        x, *rest = (v.float().to(device).requires_grad_() for v in given.values())
        x, f = x.detach().to(memory_format=layout).requires_grad_(), f.to(device)
        y, expected = compiled(x, f, *rest), layer(x, f, *rest)
        torch.testing.assert_close(y, expected)
        ours, theirs = (torch.autograd.grad(v.sum(), [x, *rest]) for v in (y, expected))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "size, example_requires_grad",  # without a block of signs and with
    [
        ((9, 10), False),
        ((17, 33), False),
        pytest.param((9, 10), True, marks=thorough),
        pytest.param((17, 33), True, marks=thorough),
    ],
)
def test_an_exported_model_has_its_gradients(size, example_requires_grad):
    """Of a graph traced without a gradient, the mask is made when one is asked for."""

    class Layer(torch.nn.Module):
        def forward(self, x, scale, noise, b):
            kwargs = dict(scale=scale, noise=noise, b=b, act="lrelu", clamp=0.9)
            return fir_act(x, F2, 1, **kwargs)

    given = [v.float() for v in arguments((2, 8, *size), **FILTERS["layer"]).values()]
    examples = [v.clone().requires_grad_(example_requires_grad) for v in given]
    exported = torch.export.export(Layer(), tuple(examples)).module()
    leaves = [v.requires_grad_() for v in given]
    ours, theirs = (
        torch.autograd.grad(run(*leaves).square().sum(), leaves) for run in (exported, Layer())
    )
    torch.testing.assert_close(ours, theirs)


# Of x, of y and of neither there is a block of signs.
@pytest.mark.parametrize("size", [(16, 32), (17, 33), (9, 10)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_mask_that_is_made_late(size, layout):
    """As in a graph that was traced without a gradient."""
    given = arguments((1, 2, *size), **FILTERS["layer"])
    given["x"] = given["x"].to(memory_format=layout)
    leaves, out = [v.requires_grad_() for v in given.values()], [n - 1 for n in size]
    fir, slopes = (F2, [1, 1], out, False, 4.0), (0.26, 1.3, 0.9, 0)
    y = torch.ops.stylegan_ops.fir_act(leaves[0], *fir, *leaves[1:], *slopes)[0]
    expected = fir_act_ref(
        **dict(zip(given, leaves)), **FILTERS["layer"], act="lrelu", gain=1.3, clamp=0.9
    )
    ours, theirs = (torch.autograd.grad(v.square().sum(), leaves) for v in (y, expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["x", "scale", "noise", "b"])
def test_function_transforms_and_forward_mode(name):
    inputs, results = arguments((1, 2, 5, 5), samples=1, **FILTERS["layer"]), []
    value, tangent = inputs[name], rand(*inputs[name].shape, seed=9)

    def op(value):
        return fir_act(**inputs | {name: value}, **FILTERS["layer"], act="lrelu", clamp=1)

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
        y = torch.ops.stylegan_ops.fir_act(
            x, F2, [1, 1], [8, 8], False, 1.0, None, None, None, slope, slope, -1.0, 0
        )[0]
        torch.testing.assert_close(y, fir_act_ref(x, F2, 1, gain=slope))
        (ours,) = torch.autograd.grad(y.square().sum(), x)
        (theirs,) = torch.autograd.grad(fir_act_ref(x, F2, 1, gain=slope).square().sum(), x)
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "change",
    [
        {1: torch.zeros(1, 4, 4)},
        {2: [1]},
        {3: [16, 0]},
        {6: torch.zeros(2, 7)},
        {6: torch.zeros(8)},
        {7: torch.zeros(3, 1, 16, 32)},
        {7: torch.zeros(1, 2, 16, 32)},
        {7: torch.zeros(1, 1, 16, 31)},
        {8: torch.zeros(9)},
        {8: torch.zeros(1, 8)},
        {12: 3},
        {12: -1},
    ],
    ids=lambda change: str(next(iter(change))),
)
def test_the_op_itself_rejects(change):
    args = [a.detach() if torch.is_tensor(a) else a for a in op_arguments(LAYOUTS[0], 2)]
    with pytest.raises((RuntimeError, ValueError)):
        torch.ops.stylegan_ops.fir_act(*(change.get(i, a) for i, a in enumerate(args)))
