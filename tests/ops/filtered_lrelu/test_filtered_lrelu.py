# SPDX-License-Identifier: Apache-2.0
"""filtered_lrelu: up-sample, leaky ReLU, down-sample."""

import warnings

import pytest
import torch
from ops.filtered_lrelu.cases import (
    DEFAULTS,
    LAYERS,
    OTHERS,
    Geometry,
    check_near,
    derivatives,
    moved,
    taps,
)
from support.cases import by_pairs, on
from support.checks import (
    DTYPES,
    LAYOUTS,
    check_dtype,
    check_fixture,
    fixture_cases,
    fixture_inputs,
    layouts_of,
    rand,
)
from support.native import BACKENDS, needs_native, run_in_new_process

import stylegan_ops
from stylegan_ops import backend, filtered_lrelu
from stylegan_ops.ops.filtered_lrelu import filtered_lrelu_ref
from stylegan_ops.runtime.images import memory_format

LAYER = dict(fu=taps(12), fd=taps(12, seed=1), up=2, down=2, padding=[9, 8, 10, 7])
CASES = LAYERS | OTHERS
NUMBERS = [parameter.values[0] for parameter in fixture_cases("filtered_lrelu")]


@pytest.fixture(params=BACKENDS)
def ops(request):
    with backend(request.param):
        yield request.param


@pytest.mark.filterwarnings("ignore:filtered_lrelu. no fused kernel")
@pytest.mark.parametrize("number", fixture_cases("filtered_lrelu"))
def test_fixtures(number, ops):
    check_fixture(filtered_lrelu, number)


def check_kernel(device, inputs, names, dtype, layout, **kwargs):
    """The 2x rule; filters stay in float32."""
    filters = {
        k: v.float() for k, v in (inputs | kwargs).items() if k in ("fu", "fd") and v is not None
    }
    rest = {k: v for k, v in kwargs.items() if k not in ("fu", "fd")}
    run = [
        on(device, lambda op=op, **given: op(**given, **rest))
        for op in (filtered_lrelu, filtered_lrelu_ref)
    ]
    with backend("native"):
        check_dtype(*run, inputs | filters, names, dtype, layout)


@needs_native
@by_pairs(number=NUMBERS, dtype=DTYPES, layout=LAYOUTS)
def test_fixtures_in_other_dtypes(number, dtype, layout, device):
    inputs, kwargs, names = fixture_inputs(number)
    check_kernel(device, inputs, names, dtype, layout, **kwargs)


@needs_native
@by_pairs(
    name=CASES,
    dtype=DTYPES,
    layout=LAYOUTS,
    shape=[(1, 17, 18, 19), (1, 16, 17, 70), (1, 40, 18, 16)],
)
def test_dtypes_and_layouts(name, dtype, layout, shape, device):
    inputs = {"x": rand(*shape), "b": 0.5 * rand(shape[1])}
    check_kernel(device, inputs, ["x", "b"], dtype, layout, **CASES[name])


@needs_native
@pytest.mark.filterwarnings("ignore:filtered_lrelu. no fused kernel")
@pytest.mark.parametrize("name", ["up 2 down 2", "no filters", "symmetric", "windows", "down"])
def test_gradgradcheck(name):
    x, b = rand(1, 2, 4, 3, grad=True), rand(2, grad=True)

    def op(x, b):
        return filtered_lrelu(x, b=b, **CASES[name])

    assert torch.autograd.gradcheck(op, (x, b), fast_mode=True)
    assert torch.autograd.gradgradcheck(op, (x, b), fast_mode=True)


@needs_native
@by_pairs(name=CASES, layout=LAYOUTS)
def test_second_derivatives_by_x_and_b(name, layout, device):
    """Of a loss that has them, in float32."""
    g, results = Geometry((2, 5, 14, 13), layout, DEFAULTS | CASES[name], True), []
    x, b = g.inputs()
    kwargs = moved(g.kwargs, device)
    for dtype, run in ((torch.float32, filtered_lrelu), (torch.float64, filtered_lrelu_ref)):
        leaves = [t.to(device, dtype).requires_grad_() for t in (x, b)]
        with backend("native"):
            y = run(leaves[0], b=leaves[1], **kwargs)
        grads = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in grads), leaves)
        results.append([grads[0], grads[1], *second])
    check_near(*results, tolerance=5e-6 if device.type == "cpu" else 1e-3)


@needs_native
@by_pairs(
    factors=[(1, 1.3), (0, 1), (0.2, 0), (0.3, -1.4), (-1.5, 2), (2, 1)],
    clamp=[None, 0.0, 0.6],
    layout=LAYOUTS,
)
def test_slopes_gains_and_clamps(factors, clamp, layout):
    slope, gain = factors
    kwargs = DEFAULTS | LAYER | {"slope": slope, "gain": gain, "clamp": clamp}
    x, b = Geometry((1, 3, 7, 8), layout, kwargs, True).inputs()
    ours = derivatives(x, b, "native", **kwargs)
    exact = derivatives(x.double(), b.double(), "reference", **kwargs)
    check_near(ours, exact)
    assert bool(ours[0].any()) == bool(gain and clamp != 0)


@needs_native
def test_what_is_kept_for_the_gradient():
    """Two bits a sample between the filters; nothing where the op is linear."""
    x = rand(1, 16, 64, 64, grad=True).float()
    for slope, most in ((0.2, 2 * 16 * 137 * 144 // 8), (1.0, 0)):
        y = filtered_lrelu(x, **LAYER, slope=slope)
        saved = [t for t in y.grad_fn.saved_tensors if t is not None]
        assert sum(t.nbytes for t in saved if t.numel() > 100) <= most


@pytest.mark.parametrize("requires", ["x", "b", "nothing"])
def test_gradients_of_some(requires):
    x, b = rand(2, 3, 8, 9).float(), rand(3).float()
    results = []
    for run in (filtered_lrelu, filtered_lrelu_ref):
        leaves = {"x": x.clone(), "b": b.clone()}
        for name, leaf in leaves.items():
            leaf.requires_grad_(name == requires)
        y = run(**leaves, **LAYER)
        assert y.requires_grad == (requires != "nothing")
        results.append([y])
        if requires != "nothing":
            dy = rand(*y.shape).float()
            results[-1] += torch.autograd.grad(y, leaves[requires], dy)
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("which", ["fu", "fd"])
def test_a_filter_that_requires_a_gradient(which):
    x, results = rand(1, 2, 8, 9).float(), []
    for run in (filtered_lrelu, filtered_lrelu_ref):
        kwargs = LAYER | {which: LAYER[which].clone().requires_grad_()}
        with torch.no_grad():
            assert not run(x, **kwargs).requires_grad
        y = run(x, **kwargs)
        results.append([y, *torch.autograd.grad(y.square().sum(), kwargs[which])])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "dtype, choice", [(torch.float16, BACKENDS[0]), *[(torch.bfloat16, b) for b in BACKENDS]]
)
def test_a_bias_of_another_dtype(dtype, choice):
    """As in a network: x in half precision, the bias in float32; and the other way round."""
    for x_dtype, b_dtype in ((dtype, torch.float32), (torch.float32, dtype)):
        x, b = rand(2, 5, 9, 8).to(x_dtype).requires_grad_(), rand(5).to(b_dtype).requires_grad_()
        with backend(choice):
            y = filtered_lrelu(x, b=b, **LAYER)
        grads = torch.autograd.grad(y.float().square().sum(), (x, b))
        exact = filtered_lrelu_ref(x.double(), b=b.double(), **LAYER)
        assert (y.dtype, grads[0].dtype, grads[1].dtype) == (x_dtype, x_dtype, b_dtype)
        size = 2 * torch.finfo(dtype).eps
        check_near([y], [exact], tolerance=size)
        check_near(grads, torch.autograd.grad(exact.square().sum(), (x, b)), tolerance=2 * size)


@needs_native
def test_the_gradient_of_a_float32_bias_is_summed_in_float32():
    x, b = torch.ones(1, 8, 256, 256, dtype=torch.float16), torch.zeros(8, requires_grad=True)
    y = filtered_lrelu(x, b=b, gain=1.0)
    (db,) = torch.autograd.grad(y, b, torch.full_like(y, 3.0))
    assert torch.equal(db, torch.full_like(db, 3.0 * 256 * 256))


@pytest.mark.parametrize("name", ["up 2 down 2", "windows", "down", "no filters"])
def test_layouts_are_kept(name, ops):
    for layout, x in layouts_of(rand(2, 5, 9, 8).float()):
        x.requires_grad_()
        y = filtered_lrelu(x, **CASES[name])
        assert y.is_contiguous(memory_format=memory_format(x)), layout
        (dx,) = torch.autograd.grad(y.sum(), x)
        assert dx.is_contiguous(memory_format=memory_format(x)), layout
        torch.testing.assert_close(y, filtered_lrelu_ref(x, **CASES[name]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_empty_batch(layout, ops):
    x = torch.zeros(0, 3, 9, 8).to(memory_format=layout).requires_grad_()
    b = torch.zeros(3, requires_grad=True)
    y = filtered_lrelu(x, b=b, **LAYER)
    assert y.shape == (0, *filtered_lrelu_ref(torch.zeros(1, 3, 9, 8), **LAYER).shape[1:])
    dx, db = torch.autograd.grad(y.sum(), (x, b))
    assert dx.shape == x.shape and db.shape == (3,) and not db.any()


def test_paddings_of_every_form(ops):
    x = rand(1, 2, 8, 9).float()
    filters = {"fu": LAYER["fu"], "fd": LAYER["fd"], "up": 2, "down": 2}
    for short, long in ((9, [9] * 4), ([9, 10], [9, 9, 10, 10])):
        ours, theirs = (filtered_lrelu(x, **filters, padding=p) for p in (short, long))
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("factors", [(1, 1), (3, 2), (2, 3), (1, 5)])
@pytest.mark.filterwarnings("ignore:filtered_lrelu. no fused kernel")
def test_the_size_of_the_result(factors):
    (up, down), x = factors, rand(1, 2, 9, 11).float()
    for fu, fd in ((None, None), (taps(5), taps(4, 3)), (taps(40), taps(3))):
        y = filtered_lrelu(x, fu, fd, up=up, down=down, padding=[20, 21, 18, 25])
        uw, dh, dw = (f.shape[-1] if f is not None else 1 for f in (fu, fd, fd))
        dh = fd.shape[0] if fd is not None else 1
        uh = fu.shape[0] if fu is not None else 1
        h = (9 * up + 43 - (uh - 1) - (dh - 1) + (down - 1)) // down
        w = (11 * up + 41 - (uw - 1) - (dw - 1) + (down - 1)) // down
        assert y.shape == (1, 2, h, w)
        exact = filtered_lrelu_ref(x.double(), fu, fd, up=up, down=down, padding=[20, 21, 18, 25])
        check_near([y], [exact])


@needs_native
def test_the_general_path_is_said_once():
    run_in_new_process("""
        import warnings
        import torch
        from stylegan_ops import backend, filtered_lrelu

        x, long = torch.ones(1, 2, 9, 9), torch.ones(33) / 33
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            filtered_lrelu(x, up=2, down=4)
            with backend("reference"):
                filtered_lrelu(x.double())
            assert not said, said[0]
            for _ in range(2):
                filtered_lrelu(x, long, padding=40, up=3)
                filtered_lrelu(x.double())
                filtered_lrelu(x, down=3)
        assert len(said) == 2 and said[0].category is RuntimeWarning, said  # one is of float64
        message = str(said[0].message)
        assert message.startswith("filtered_lrelu: no fused kernel for torch.float32"), message
        assert "up 3" in message and "33" in message, message
        assert said[0].filename == "<string>", said[0].filename
    """)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"x": torch.zeros(3, 8, 8)}, r"x must be floating \[N, C, H, W\]"),
        ({"x": torch.zeros(1, 3, 8, 8, dtype=torch.int32)}, "x must be floating"),
        ({"fu": torch.zeros(1, 4, 4)}, r"fu? must be \[k\] or \[kh, kw\]"),
        ({"fd": torch.zeros(1, 4, 4)}, r"fd must be \[k\] or \[kh, kw\]"),
        ({"fd": torch.zeros(0)}, r"fd must be \[k\] or \[kh, kw\]"),
        ({"b": torch.zeros(1)}, r"b must have shape \[3\], got \[1\]"),
        ({"b": torch.zeros(1, 3)}, r"b must have shape \[3\]"),
        ({"clamp": -1}, "clamp must be >= 0"),
        ({"clamp": float("nan")}, "clamp must be >= 0"),
        ({"up": 0}, "up must be an int >= 1, got 0"),
        ({"up": [2, 1]}, r"up must be an int >= 1, got \[2, 1\]"),
        ({"down": 1.5}, "down must be an int >= 1, got 1.5"),
        ({"padding": [1, 2, 3]}, "padding must be"),
        ({"padding": -3}, "filter .*of 12x12 does not fit"),
        ({"fd": taps(40)}, "filter fd of 40x40 does not fit in the up-sampled image of 22x22"),
        ({"fd": taps(4, 40)}, "filter fd of 40x4 does not fit"),
    ],
    ids=lambda v: v[:20] if isinstance(v, str) else next(iter(v)),
)
def test_rejects(kwargs, message):
    given = {"x": torch.zeros(1, 3, 8, 8), **LAYER, **kwargs}
    with pytest.raises(ValueError, match="filtered_lrelu: .*" + message):
        filtered_lrelu(**given)


def test_backends_are_those_asked_for():
    x = rand(1, 2, 9, 8).float()
    with backend("reference"):
        assert torch.equal(filtered_lrelu(x, **LAYER), filtered_lrelu_ref(x, **LAYER))
    found = stylegan_ops.info()["filtered_lrelu"]
    assert set(found) >= {"cpu", "cuda"}
    if "native" in BACKENDS:
        assert found["cpu"]["backend"] == "native"
        with backend("native"):
            assert not torch.equal(filtered_lrelu(x, **LAYER), filtered_lrelu_ref(x, **LAYER))


def test_the_gain_of_none(ops):
    x = rand(1, 2, 9, 8).float()
    ours, theirs = (filtered_lrelu(x, **LAYER, gain=gain) for gain in (None, 2**0.5))
    assert torch.equal(ours, theirs)
    assert filtered_lrelu(x.to("meta"), **LAYER).shape == ours.shape


def test_no_warning_on_the_fused_path(ops):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for dtype in DTYPES:
            filtered_lrelu(rand(1, 2, 9, 8).to(dtype), **LAYER)
