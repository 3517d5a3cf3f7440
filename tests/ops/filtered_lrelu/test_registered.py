# SPDX-License-Identifier: Apache-2.0
"""filtered_lrelu as an op of torch.library: opcheck, transforms, compiled and exported graphs."""

import pytest
import torch
from ops.filtered_lrelu.cases import (
    DEFAULTS,
    LAYERS,
    OP,
    OTHERS,
    moved,
    op_arguments,
    random_mask,
    taps,
)
from support.cases import by_pairs, mostly_thorough
from support.checks import LAYOUTS, rand
from support.native import BACKENDS, needs_native
from support.pairs import pairs

from stylegan_ops import backend, filtered_lrelu
from stylegan_ops.ops.filtered_lrelu import filtered_lrelu_ref
from stylegan_ops.runtime.images import memory_format

pytestmark = needs_native

LAYER = dict(fu=taps(12), fd=taps(12, seed=1), up=2, down=2, padding=[9, 8, 10, 7], clamp=0.8)
CASES = {
    "layer": LAYER,
    "radial": dict(fu=taps(8), fd=taps(4, 6), up=4, down=2, padding=[5, 4, 3, 6]),
    "nothing": dict(fu=None, fd=None, up=1, down=1, padding=[0] * 4),
    "linear": LAYER | {"slope": 1.0, "clamp": None},
}
OPCHECKED = LAYERS | OTHERS | {"linear": CASES["linear"]}
EXPORTED = {"name": list(CASES), "layout": LAYOUTS, "example_requires_grad": [False, True]}
every_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=["contiguous", "channels_last"])


def inputs(layout, channels=5, width=8):
    x = rand(2, channels, 9, width).float().to(memory_format=layout)
    return x.requires_grad_(), rand(channels).float().requires_grad_()


@by_pairs(
    name=["up 2 down 2", "up 4 radial", "odd", "no filters", "linear"],
    signs=["own", "written", "given"],
    layout=LAYOUTS,
)
def test_opcheck(name, signs, layout, device):
    size = (16, 16) if name == "no filters" else (5, 8)  # whole words of a mask, or parts
    x, b = (t.detach().to(device).requires_grad_() for t in inputs(layout, *size))
    with_b = name != "up 4 radial" or signs == "written"
    kwargs = moved(DEFAULTS | OPCHECKED[name], device)
    args = op_arguments(x, b if with_b else None, write=signs == "written", **kwargs)
    if signs == "given":
        args = (*args[:4], random_mask(x, args[9]).to(device), *args[5:])
    torch.library.opcheck(OP.default, args, atol=1e-4, rtol=1e-4)


@every_layout
@pytest.mark.parametrize("name", CASES)
def test_the_mask_is_written_or_made_again(name, layout):
    """The same derivative either way, and of a mask that is given."""
    x, b = inputs(layout, 18)
    results = []
    for write in (True, False):
        y, mask = OP(*op_arguments(x, b, write=write, **CASES[name]))
        assert mask.dtype == torch.int32 and not mask.requires_grad
        assert (mask.numel() > 0) == write
        results.append([y, *torch.autograd.grad(y, (x, b), torch.ones_like(y))])
        if write:
            y = OP(*op_arguments(x, b, mask, **CASES[name] | {"clamp": None}))[0]
            assert y.is_contiguous(memory_format=memory_format(x))
            if CASES[name].get("clamp") is None:
                results.append([y, *torch.autograd.grad(y, (x, b), torch.ones_like(y))])
    assert all(torch.equal(a, b) for r in results for a, b in zip(r, results[0]))


@mostly_thorough(
    "dynamic, layout",
    [(False, LAYOUTS[0]), (False, LAYOUTS[1]), (True, LAYOUTS[1])],
    [(False, LAYOUTS[1])],
)
def test_compiles_without_a_break(dynamic, layout, device):
    torch.compiler.reset()
    given = moved(CASES["layer"], device)

    def layer(x, b, fu):
        y = filtered_lrelu(x * 2, **given | {"fu": fu, "b": b})
        return y.square()

    how = "aot_eager" if device.type == "cpu" else "inductor"
    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic, backend=how)
    for size, fu in (((9, 8), given["fu"]), ((13, 20), given["fd"]), ((6, 7), given["fd"])):
        x = rand(2, 5, *size).float().to(device, memory_format=layout).requires_grad_()
        b = rand(5).float().to(device).requires_grad_()
        y, expected = compiled(x, b, fu), layer(x, b, fu)
        torch.testing.assert_close(y, expected)
        ours, theirs = (torch.autograd.grad(v.sum(), (x, b)) for v in (y, expected))
        torch.testing.assert_close(ours, theirs)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x, b, fu), expected)


@mostly_thorough(
    "name, layout, example_requires_grad",
    [tuple(case.values()) for case in pairs(EXPORTED)],
    [("layer", LAYOUTS[1], False), ("radial", LAYOUTS[0], True)],
)
def test_an_exported_model_has_its_gradients(example_requires_grad, name, layout):
    """Of a graph traced without a gradient, the mask is made when one is asked for."""

    class Layer(torch.nn.Module):
        def forward(self, x, b):
            return filtered_lrelu(x, b=b, **CASES[name])

    x, b = inputs(layout)
    examples = [t.detach().clone().requires_grad_(example_requires_grad) for t in (x, b)]
    exported = torch.export.export(Layer(), tuple(examples)).module()
    results = []
    for run in (exported, Layer()):
        y = run(x, b)
        results.append([y, *torch.autograd.grad(y.square().sum(), (x, b))])
    torch.testing.assert_close(*results)
    exact = filtered_lrelu_ref(x.double(), b=b.double(), **CASES[name])
    exact = torch.autograd.grad(exact.square().sum(), (x, b))
    torch.testing.assert_close(results[0][1:], list(exact), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("of", ["x", "b", "fu", "fd"])
def test_function_transforms_and_forward_mode(of):
    """By the reference, whatever the backend."""
    given = {"x": rand(1, 2, 5, 4), "b": rand(2), "fu": taps(6), "fd": taps(4)}
    given = {k: v.float() for k, v in given.items()}
    value, tangent, results = given[of], rand(*given[of].shape, seed=9).float(), []

    def op(value):
        return filtered_lrelu(**given | {of: value}, up=2, down=2, padding=5, clamp=0.8)

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
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


def wrong_masks(right):
    yield "dtype", right.float()
    yield "dtype of 64 bits", right.long()
    yield "rows", right[:, :, 1:].contiguous()
    yield "words", right[..., :-1].contiguous()
    yield "samples", right[:1].contiguous()
    yield "dimensions", right.flatten()
    yield "strides", right.transpose(2, 3).contiguous().transpose(2, 3)


@every_layout
def test_the_op_itself_rejects_masks(layout):
    x, b = (t.detach() for t in inputs(layout, 20))
    args = op_arguments(x, b, **LAYER)
    right = random_mask(x, args[9])
    OP(*op_arguments(x, b, right, **LAYER))
    turned = x.to(memory_format=LAYOUTS[1 - LAYOUTS.index(layout)])
    for what, mask in [*wrong_masks(right), ("layout", random_mask(turned, args[9]))]:
        with pytest.raises(RuntimeError, match="filtered_lrelu: the mask belongs"):
            OP(*op_arguments(x, b, mask, **LAYER))
            pytest.fail(what)
    with pytest.raises(RuntimeError, match="filtered_lrelu: a mask is given or written, not both"):
        OP(*op_arguments(x, b, right, write=True, **LAYER))


@pytest.mark.parametrize(
    "change, message",
    [
        ({0: torch.zeros(2, 5, 9)}, "x must be"),
        ({0: torch.zeros(2, 5, 9, 8, dtype=torch.float64)}, "x must be .* 16 or 32 bits"),
        ({1: torch.zeros(1, 4, 4)}, r"fu must be \[k\] or \[kh, kw\]"),
        ({1: torch.zeros(0)}, "fu must be"),
        ({1: torch.zeros(33)}, "fu has more than 32 taps"),
        ({2: torch.zeros(3, 33)}, "fd has more than 32 taps"),
        ({2: torch.zeros(33, 3)}, "fd has more than 32 taps"),
        ({2: torch.zeros(2, 2, 2)}, "fd must be"),
        ({3: torch.zeros(6)}, "b"),
        ({3: torch.zeros(1, 5)}, "b"),
        ({5: 3}, "up and down must be 1, 2 or 4, got 3"),
        ({6: 8}, "up and down must be 1, 2 or 4, got 8"),
        ({6: 0}, "up and down must be 1, 2 or 4, got 0"),
        ({7: [1]}, "origins, mid and size are two numbers each"),
        ({8: [0, 0, 0]}, "origins, mid and size are two numbers each"),
        ({9: [24]}, "origins, mid and size are two numbers each"),
        ({10: [5, 5, 5]}, "origins, mid and size are two numbers each"),
        ({9: [0, 22]}, "mid must be at least 1"),
        ({10: [5, -1]}, "mid must be at least 1, size 0"),
    ],
    ids=lambda v: v[:15] if isinstance(v, str) else str(next(iter(v))),
)
def test_the_op_itself_rejects(change, message):
    x, b = (t.detach() for t in inputs(LAYOUTS[0]))
    args = op_arguments(x, b, **LAYER)
    with pytest.raises(RuntimeError, match=f"filtered_lrelu: .*{message}"):
        OP(*(change.get(i, a) for i, a in enumerate(args)))
