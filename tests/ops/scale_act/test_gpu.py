# SPDX-License-Identifier: Apache-2.0
"""scale_act on a GPU: the five tests of every op, two streams, a graph, over 2^31 elements."""

import pytest
import torch
from ops.scale_act.cases import INPUTS, arguments, check, derivatives
from support.checks import DTYPES, LAYOUTS, rand
from support.gpu import check_graph, check_two_streams, on_gpu, pytestmark  # noqa: F401

import stylegan_ops
from stylegan_ops import backend
from stylegan_ops.layer.fir_act import fir_act, fir_act_out
from stylegan_ops.layer.records import Epilogue
from stylegan_ops.layer.scale_act import scale_act, scale_act_out, scale_act_ref

ENDS = [("lrelu", 1.5), ("relu", None), ("linear", 1.5), ("linear", None), ("swish", 1.5)]
# Bytes of a mask in no layout, in channels_last alone, in contiguous alone, in both; several tiles
# of channels, several slices, images of one pixel.
SHAPES = [
    *[(2, 3, 5, 7), (2, 24, 9, 7), (3, 9, 16, 24), (2, 264, 12, 16), (2, 520, 7, 5)],
    *[(1, 40, 96, 64), (1, 3, 131, 129), (2, 1, 40, 200), (2, 16, 1, 1), (1, 5, 1, 1)],
]
# The last two have several slices, in channels_last and in contiguous.
SANITIZED = [(2, 3, 5, 7), (1, 264, 7, 5), (2, 9, 8, 8), (1, 8, 72, 64), (1, 1, 67, 65)]


@pytest.fixture(autouse=True)
def native():
    assert stylegan_ops.load("cuda") is None
    with backend("native"):
        yield


def cuda_arguments(shape, dtype=torch.float32, layout=torch.contiguous_format, **options):
    given = {k: v.to(dtype).cuda() for k, v in arguments(shape, **options).items()}
    given["x"] = given["x"].contiguous(memory_format=layout)
    return given


@pytest.mark.sanitizer
@pytest.mark.parametrize("shape", SANITIZED, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("act", ["lrelu", "linear", "swish"])
def test_small_set_for_the_sanitizer(act, dtype, shape):
    for layout in LAYOUTS:
        given = cuda_arguments(shape, dtype, layout, samples=1)
        leaves = {k: v.requires_grad_() for k, v in given.items()}
        y = scale_act(**leaves, act=act, clamp=1)
        values = list(leaves.values())
        first = torch.autograd.grad(y.double().square().mean(), values, create_graph=True)
        second = torch.autograd.grad(sum(g.double().square().mean() for g in first), values)
        assert all(t.isfinite().all() for t in (y, *first, *second))
        if act != "swish":
            x, scale, noise, b = (v.detach() for v in values)
            expected = scale_act(x, scale, noise, b, act=act, clamp=1)
            scale_act_out(x, x, scale, noise, Epilogue(b, act, clamp=1))
            assert torch.equal(x, expected)


@pytest.mark.parametrize("shape", SHAPES[:7], ids=str)  # of the others the sums are a few numbers
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_and_layouts(dtype, layout, shape):
    for i, (act, clamp) in enumerate(ENDS):
        inputs = arguments(shape, samples=1 if i % 2 else None)
        check(on_gpu(scale_act), on_gpu(scale_act_ref), inputs, dtype, layout, act=act, clamp=clamp)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_float64_and_every_order(layout, shape):
    """Second derivatives too, which go through the parts of a sum over many channels."""
    for i, (act, clamp) in enumerate(ENDS):
        given = cuda_arguments(shape, torch.float64, layout, samples=1 if i % 2 else None)
        ours = derivatives(scale_act, given, act=act, clamp=clamp)
        theirs = derivatives(scale_act_ref, given, act=act, clamp=clamp)
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("names", [[], ["scale"], ["noise"], ["b"], ["scale", "b"]], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_some_of_scale_noise_and_bias(layout, names):
    for dtype, size in ((torch.float32, 7), (torch.float16, 7), (torch.float16, 16)):
        for act, clamp in ENDS[:4]:
            inputs = arguments((2, 8, size, size), names)
            check(
                on_gpu(scale_act),
                on_gpu(scale_act_ref),
                inputs,
                dtype,
                layout,
                act=act,
                clamp=clamp,
            )


@pytest.mark.parametrize("names", [["x"], ["scale"], ["noise"], ["b"], ["noise", "b"]], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_of_some(layout, names):
    for shape in ((2, 8, 5, 7), (2, 264, 16, 16)):
        given = cuda_arguments(shape, torch.float64, layout)
        ours, theirs = (
            derivatives(op, given, 1, names, act="lrelu", clamp=1.5)
            for op in (scale_act, scale_act_ref)
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("act", ["linear", "relu", "lrelu", "swish"])
@pytest.mark.parametrize(
    "shape, layout",
    [
        ((2, 2, 3, 3), torch.contiguous_format),
        ((2, 2, 2, 8), torch.contiguous_format),
        ((2, 8, 2, 2), torch.channels_last),
    ],
)
def test_gradgradcheck(shape, layout, act):
    given = cuda_arguments(shape, torch.float64, layout, samples=1)

    def op(*values):
        return scale_act(**dict(zip(INPUTS, values)), act=act, clamp=1.1, gain=1.3)

    values = [v.requires_grad_() for v in given.values()]
    assert torch.autograd.gradcheck(op, values)
    assert torch.autograd.gradgradcheck(op, values)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("planes", [0, 2])
def test_opcheck(planes, layout):
    given = cuda_arguments((2, 8, 8, 8), layout=layout)
    tensors = [v.requires_grad_() for v in given.values()]
    ops, clamp = torch.ops.stylegan_ops, 0.9 if planes else -1.0
    args = *tensors, 0.28, 1.4, clamp, planes
    torch.library.opcheck(ops.scale_act.default, args, atol=1e-3, rtol=1e-4)
    x, scale, mask = tensors[0], tensors[1], ops.scale_act(*args)[1]
    dy, slopes = torch.randn_like(x).requires_grad_(), (0.28, 1.4) if planes else (1.4, 1.4)
    sums_channels = layout == torch.channels_last
    args = dy, mask, x, scale, list(x.stride()), *slopes, planes == 2, sums_channels, True
    torch.library.opcheck(ops.scale_act_grad.default, args, atol=1e-3, rtol=1e-4)
    detached = [t.detach() for t in tensors]
    args = *detached, 0.28, 1.4, clamp, torch.zeros_like(detached[0])
    torch.library.opcheck(ops.scale_act_out.default, args)


def test_compiles_without_a_break():
    def layer(x, scale, noise, b):
        return scale_act(x * 2, scale, noise, b, act="lrelu", clamp=1).square()

    leaves = [v.requires_grad_() for v in cuda_arguments((2, 8, 16, 16)).values()]
    y, expected = torch.compile(layer, fullgraph=True)(*leaves), layer(*leaves)
    torch.testing.assert_close(y, expected)
    ours, theirs = (torch.autograd.grad(v.sum(), leaves) for v in (y, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", INPUTS[1:])
def test_rejects_what_is_elsewhere(name):
    given = cuda_arguments((2, 8, 16, 16))
    given[name] = given[name].cpu()
    with pytest.raises((RuntimeError, ValueError)):
        scale_act(**given, act="lrelu")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_empty_batch(layout):
    given = cuda_arguments((0, 8, 9, 9), layout=layout, samples=1)
    leaves = [v.requires_grad_() for v in given.values()]
    grads = torch.autograd.grad(scale_act(*leaves, act="lrelu", clamp=1).sum(), leaves)
    assert [g.shape for g in grads] == [t.shape for t in leaves]
    assert not any(g.any() for g in grads)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 9, 6, 7), (3, 24, 48, 64), (2, 5, 1, 1)])
def test_out_is_the_same_in_place_and_in_a_slice(shape, layout):
    """Of fir_act in a slice."""
    for dtype in (*DTYPES, torch.float64):
        x, scale, noise, b = cuda_arguments(shape, dtype, layout).values()
        ends = scale, noise, b, "lrelu", None, 1.3, 0.9
        given = scale, noise, Epilogue(b, "lrelu", None, 1.3, 0.9)
        filtered = fir_act(x, None, 0, False, 1.7, *ends)
        expected, batch = scale_act(x, *ends), torch.cat([x, x, x]).fill_(7)
        batch, n = batch.contiguous(memory_format=layout), len(x)
        scale_act_out(batch[n:-n], x, *given)
        assert torch.equal(batch[n:-n], expected)
        fir_act_out(batch[n:-n], x, None, [0] * 4, 1.7, *given)
        assert torch.equal(batch[n:-n], filtered)
        assert (batch[:n] == 7).all() and (batch[-n:] == 7).all()
        scale_act_out(x, x, *given)
        assert torch.equal(x, expected)


def _both(x, scale, noise, b, dy):
    y = scale_act(x, scale, noise, b, act="lrelu", clamp=1)
    return [y, *torch.autograd.grad(y, (x, scale, noise, b), dy)]


def _inputs(seed=0, layout=torch.contiguous_format, shape=(4, 264, 64, 64)):
    torch.manual_seed(seed)
    given = {k: torch.randn(v.shape).cuda() for k, v in arguments(shape, samples=1).items()}
    given["x"] = given["x"].contiguous(memory_format=layout)
    return *(v.requires_grad_() for v in given.values()), torch.randn(shape).cuda()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_streams_at_once(layout):
    check_two_streams(_both, [_inputs(1, layout), _inputs(2, layout)])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_graph_capture(layout):
    check_graph(_both, _inputs(layout=layout))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_bits_every_time(layout):
    given = _inputs(layout=layout)
    results = [_both(*given) for _ in range(5)]
    assert all(torch.equal(a, b) for r in results for a, b in zip(r, results[0]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_special_values(layout):
    values = [float("inf"), float("-inf"), float("nan"), 3e38, -3e38, 1e-40, 0.0, -0.0]
    for act, clamp in ENDS[:4]:
        x, dy = rand(1, 16, 8, 8).float(), rand(1, 16, 8, 8, seed=1).float()
        x[0, :, 2], dy[0, :, 3] = torch.tensor(values), torch.tensor(values)
        dy[0, :, 2] = torch.inf
        dy[0, :, 2, 2] = 0  # where x is NaN nothing says what its gradient is
        x, results = x.cuda().contiguous(memory_format=layout).requires_grad_(), []
        for run in (scale_act, scale_act_ref):
            y = run(x, act=act, clamp=clamp, gain=1.0)
            results.append([y, *torch.autograd.grad(y, x, dy.cuda())])
        torch.testing.assert_close(*results, equal_nan=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_more_than_two_to_the_31_elements(layout):
    torch.cuda.empty_cache()
    if torch.cuda.mem_get_info()[0] < 40e9:
        pytest.skip("needs 40 GB of free GPU memory")
    c, h, w = (8, 16384, 16400) if layout == torch.channels_last else (1, 46336, 46400)
    x = torch.empty((1, c, h, w), device="cuda", dtype=torch.bfloat16, memory_format=layout)
    x.zero_()[:, :, -32:, -32:] = torch.arange(32.0, device="cuda") - 10
    scale, b = torch.full((1, c), 0.5).cuda(), torch.arange(float(c), device="cuda")
    noise = torch.arange(w, device="cuda").remainder(7.0).expand(1, 1, h, w)
    kwargs = dict(b=b, act="lrelu", clamp=5.0)
    corner = x[:, :, -32:, -32:].clone().requires_grad_()
    x.requires_grad_(), scale.requires_grad_()
    y = scale_act(x, scale, noise, **kwargs)
    expected = scale_act(corner, scale, noise[:, :, -32:, -32:], **kwargs)
    assert y.numel() > 2**31
    assert torch.equal(y[:, :, -32:, -32:], expected)
    dx, dscale = torch.autograd.grad(y, (x, scale), torch.ones_like(y))
    d_corner, d_scale = torch.autograd.grad(expected, (corner, scale), torch.ones_like(expected))
    assert torch.equal(dx[:, :, -32:, -32:], d_corner)
    torch.testing.assert_close(dscale, d_scale, rtol=1e-5, atol=0)  # x is 0 elsewhere


def test_views_that_are_not_aligned():
    for dtype, layout in ((d, layout) for d in DTYPES for layout in LAYOUTS):
        given = cuda_arguments((2, 24, 16, 16), dtype, layout)
        x = given["x"]
        beyond = x.new_empty(x.numel() + 1)[1:].as_strided(x.shape, x.stride(), 1).copy_(x)
        views = given | {"x": beyond}
        ours, theirs = (derivatives(scale_act, g, 1, act="lrelu") for g in (views, given))
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
