# SPDX-License-Identifier: Apache-2.0
"""upfirdn2d as an op of torch.library: opcheck, transforms, compiled and exported graphs."""

import pytest
import torch
from ops.upfirdn2d.cases import F1, F2, RANK2
from support.cases import by_pairs
from support.checks import LAYOUTS, rand
from support.native import BACKENDS, needs_native, run_in_new_process

from stylegan_ops import backend, upfirdn2d

pytestmark = needs_native
thorough = pytest.mark.thorough


def test_function_transforms_and_forward_mode():
    x, t, results = rand(1, 2, 6, 5), rand(1, 2, 6, 5, seed=9), []
    f, tangent = F2.double(), rand(4, 4)

    def op(x, f=f):
        return upfirdn2d(x, f, up=2, down=1, padding=2)

    for choice in BACKENDS:
        with backend(choice):
            with torch.autograd.forward_ad.dual_level():
                dual = op(torch.autograd.forward_ad.make_dual(x, t))
                forward = torch.autograd.forward_ad.unpack_dual(dual).tangent
            results.append(
                [
                    forward,
                    torch.func.jvp(op, (x,), (t,))[1],
                    torch.func.jvp(lambda f: op(x, f), (f,), (tangent,))[1],
                    torch.func.grad(lambda x: op(x).square().sum())(x),
                    torch.func.vmap(op)(torch.stack([x, t])),
                    torch.func.vmap(lambda f: op(x, f))(torch.stack([f, tangent])),
                    torch.func.hessian(lambda x: op(x).square().sum())(x),
                ]
            )
    torch.testing.assert_close(*results)


# Arguments of the op itself: up, down, origin of the first window, size [h, w] of the result.
OPCHECKS = {
    "filter": (F2, [1, 1], [1, 1], [2, 2], [6, 5], False, 1.0),
    "up": (F2, [2, 2], [1, 1], [2, 1], [12, 10], True, 4.0),
    "down": (F1, [1, 1], [2, 2], [1, 1], [3, 2], False, 1.0),
    "both": (RANK2, [3, 1], [2, 2], [-1, 3], [4, 5], False, 0.7),
    "no filter": (None, [1, 1], [2, 3], [0, 0], [2, 3], False, 1.0),
}


@by_pairs(case=list(OPCHECKS), layout=LAYOUTS)
def test_opcheck(case, layout, device):
    """Images of several channels, of one channel and of one pixel in turn."""
    f, *numbers = OPCHECKS[case]
    shape = ((2, 3, 6, 5), (2, 1, 6, 5), (1, 4, 1, 1))[list(OPCHECKS).index(case) % 3]
    x = rand(*shape).float().to(device).to(memory_format=layout)
    args = x.requires_grad_(), f if f is None else f.to(device), *numbers
    torch.library.opcheck(torch.ops.stylegan_ops.upfirdn2d.default, args)


@pytest.mark.parametrize(
    "up, down, layout, dynamic",
    [
        (2, 1, torch.channels_last, False),
        pytest.param(1, 2, torch.contiguous_format, True, marks=thorough),
    ],
)
def test_compiles_without_a_break(up, down, layout, dynamic, device):
    def layer(x, f):
        return upfirdn2d(x * 2, f, up=up, down=down, padding=[2, 1, 2, 1]).square()

    torch.compiler.reset()
    compiler = "aot_eager" if device.type == "cpu" else "inductor"
    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic, backend=compiler)
    for size, f in ((4, F2), (6, F2.flip(0) ** 2), (6, F1)):
        x, f = rand(2, 3, size, size).float().to(device), f.to(device)
        x = x.to(memory_format=layout).requires_grad_()
        expected, y = layer(x, f), compiled(x, f)
        torch.testing.assert_close(y, expected)
        if compiler == "aot_eager":
            assert y.stride() == expected.stride()
        ours, theirs = (torch.autograd.grad(v.sum(), x)[0] for v in (y, expected))
        torch.testing.assert_close(ours, theirs)


@thorough
def test_compiles_before_anything_is_loaded():
    run_in_new_process("""
        import torch, stylegan_ops
        f = stylegan_ops.setup_filter([1, 3, 3, 1])
        g = torch.compile(
            lambda x: stylegan_ops.upsample2d(x, f), fullgraph=True, backend="aot_eager"
        )
        x = torch.randn(2, 3, 8, 8)
        y = g(x)
        assert stylegan_ops.info()["upfirdn2d"]["cpu"]["backend"] == "native"
        with stylegan_ops.backend("reference"):
            assert torch.allclose(y, stylegan_ops.upsample2d(x, f), atol=1e-6)
    """)


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("f", F2.clone())

    def forward(self, x):
        return upfirdn2d(x, self.f, up=2, padding=[2, 1, 2, 1], gain=4)


@pytest.mark.parametrize("example_requires_grad", [False, pytest.param(True, marks=thorough)])
def test_an_exported_model_has_its_gradients_and_other_sizes(example_requires_grad):
    auto = torch.export.Dim.AUTO
    example = rand(2, 3, 8, 9).float().requires_grad_(example_requires_grad)
    exported = torch.export.export(
        Layer(), (example,), dynamic_shapes={"x": {0: auto, 2: auto, 3: auto}}
    ).module()
    for shape in ((2, 3, 8, 9), (5, 3, 16, 4)):
        x = rand(*shape).float().requires_grad_()
        results = [
            [y := run(x), *torch.autograd.grad(y.square().sum(), x)] for run in (exported, Layer())
        ]
        torch.testing.assert_close(*results)


def op(x, f=F2, up=(1, 1), down=(1, 1), origin=(0, 0), size=(5, 5)):
    return torch.ops.stylegan_ops.upfirdn2d(x, f, up, down, origin, size, False, 1.0)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"x": torch.zeros(3, 8, 8)},
        {"x": torch.zeros(1, 3, 8, 8).int()},
        {"x": torch.zeros(1, 3, 8, 8).to(torch.complex64)},
        {"f": torch.zeros(1, 4, 4)},
        {"f": torch.zeros(0)},
        {"f": torch.zeros(0, 4)},
        {"up": (0, 1)},
        {"up": (1,)},
        {"down": (1, -2)},
        {"origin": (1, 2, 3, 4)},
        {"size": (5, -1)},
        {"size": (5,)},
    ],
    ids=lambda kwargs: "-".join(kwargs),
)
def test_the_op_itself_rejects(kwargs):
    with pytest.raises((RuntimeError, ValueError)):
        op(**{"x": torch.zeros(1, 3, 8, 8), **kwargs})
    assert op(torch.ones(1, 3, 8, 8)).eq(1).all()  # and goes on working


def test_a_filter_without_taps_is_rejected():
    for f in (torch.zeros(0), torch.zeros(3, 0)):
        with pytest.raises((RuntimeError, ValueError)):
            upfirdn2d(torch.zeros(1, 1, 8, 8), f)
