# SPDX-License-Identifier: Apache-2.0
"""bias_act as a registered op: opcheck, torch.compile, torch.export and function transforms."""

import pytest
import torch
from support.checks import (
    rand,
)
from support.native import BACKENDS, needs_native, run_in_new_process

from stylegan_ops import backend, bias_act
from stylegan_ops.runtime.activation import ACTIVATIONS, PIECEWISE

thorough = pytest.mark.thorough


@needs_native
@pytest.mark.parametrize(
    "act, example_requires_grad",
    [
        ("lrelu", False),  # the mask is made when a gradient is asked for
        pytest.param("lrelu", True, marks=thorough),
        pytest.param("swish", False, marks=thorough),
    ],
)
def test_an_exported_model_has_its_gradients(act, example_requires_grad):
    class Layer(torch.nn.Module):
        def forward(self, x, b):
            return bias_act(x, b, act=act, clamp=0.9)

    x, b = rand(2, 3, 4, 4).float(), rand(3).float()
    exported = torch.export.export(Layer(), (x.clone().requires_grad_(example_requires_grad), b))
    x.requires_grad_()
    ours, theirs = (
        torch.autograd.grad(run(x, b).square().sum(), x)[0] for run in (exported.module(), Layer())
    )
    torch.testing.assert_close(ours, theirs)


@needs_native
@pytest.mark.parametrize("act", ["lrelu", "swish"])
def test_function_transforms_and_forward_mode(act):
    x, b, t = rand(2, 3, 4), rand(3), rand(2, 3, 4, seed=9)

    def op(x):
        return bias_act(x, b, act=act, clamp=1)

    def in_b(b):
        return bias_act(x, b, act=act, clamp=1).sum()

    results = []
    for choice in BACKENDS:
        with backend(choice):
            results.append(
                [
                    torch.func.jvp(op, (x,), (t,))[1],
                    torch.func.grad(lambda x: op(x).sum())(x),
                    torch.func.grad(in_b)(b),
                    torch.func.vmap(op)(torch.stack([x, t])),
                    torch.func.hessian(lambda x: op(x).sum())(x[:1, :, :1]),
                ]
            )
    torch.testing.assert_close(*results)


@needs_native
@pytest.mark.parametrize(
    "act, bias",
    [
        ("lrelu", True),
        ("tanh", True),
        ("linear", False),
        pytest.param("tanh", False, marks=thorough),
    ],
)
def test_opcheck(act, bias, device):
    index, dim = list(ACTIVATIONS).index(act), 1
    x = rand(2, 3, 4, 5).float().to(device).requires_grad_()
    b = rand(3).float().to(device).requires_grad_() if bias else None
    names = torch.ops.stylegan_ops
    save = act in PIECEWISE
    torch.library.opcheck(names.bias_act.default, (x, b, dim, index, 0.2, 1.3, 0.9, save))
    if save:
        mask = names.bias_act.raw(x.detach(), None, dim, index, 0.2, 1.3, 0.9, True)[1]
        args = (x, b, mask, x.stride(), dim, 0.2, 1.3, True, bias)
        torch.library.opcheck(names.bias_act_mask_grad.default, args)
    else:
        dy = rand(2, 3, 4, 5, seed=1).float().to(device).requires_grad_()
        args = (dy, x, b, dim, index, 1.3, 0.9, bias)
        torch.library.opcheck(names.bias_act_grad.default, args, atol=1e-5, rtol=1e-5)
        plain = [t if t is None else t.detach() for t in (x, b, dy, x, b)]
        args = (*plain, dim, index, 1.3, 0.9, bias)
        torch.library.opcheck(names.bias_act_grad_grad.default, args)


@needs_native
@pytest.mark.parametrize(
    "act, dynamic",
    [
        ("lrelu", True),
        pytest.param("swish", False, marks=thorough),
    ],
)
def test_compiles_without_a_break(act, dynamic, device):
    def layer(x, b):
        return bias_act(x * 2, b, act=act, clamp=1.0).square()

    compiler = "aot_eager" if device.type == "cpu" else "inductor"
    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic, backend=compiler)
    for size in (4, 6):
        x, b = (rand(*s).float().to(device).requires_grad_() for s in ((2, 3, size, size), (3,)))
        expected, y = layer(x, b), compiled(x, b)
        torch.testing.assert_close(y, expected)
        for ours, theirs in zip(
            torch.autograd.grad(y.sum(), (x, b)), torch.autograd.grad(expected.sum(), (x, b))
        ):
            torch.testing.assert_close(ours, theirs)


@needs_native
@thorough
def test_compiles_before_anything_is_loaded():
    run_in_new_process("""
        import torch, stylegan_ops
        f = torch.compile(
            lambda x: stylegan_ops.bias_act(x, act="lrelu"), fullgraph=True, backend="aot_eager"
        )
        x = torch.randn(2, 3)
        y = f(x)
        assert stylegan_ops.info()["bias_act"]["cpu"]["backend"] == "native"
        assert torch.allclose(y, torch.nn.functional.leaky_relu(x, 0.2) * 2**0.5)
    """)
