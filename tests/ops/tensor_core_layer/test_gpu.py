# SPDX-License-Identifier: Apache-2.0
"""A layer's convolution by tensor cores, on a GPU: dtypes, every tile and split of a sum, four
phases, masks, two streams, a graph, over 2^31 elements."""

import itertools

import pytest
import torch
from support.checks import LAYOUTS, rand
from support.gpu import check_graph, check_two_streams, pytestmark  # noqa: F401

import stylegan_ops
from stylegan_ops import backend, setup_filter
from stylegan_ops.layer import tensor_core_layer
from stylegan_ops.layer.tensor_core_layer import adjoint, arranged, composite
from stylegan_ops.layer.tensor_core_layer import tensor_core_layer as op
from stylegan_ops.layer.tensor_core_layer import tensor_core_layer_ref as own
from stylegan_ops.ops.bias_act import mask_grad
from stylegan_ops.ops.conv2d_resample import conv2d_resample
from stylegan_ops.runtime.activation import slopes_of

DTYPES = [torch.float16, torch.bfloat16, torch.float32]  # float32 by TF32
VARIANTS = {torch.float16: 4, torch.bfloat16: 4, torch.float32: 3}
ENDS = [("lrelu", 1.5), ("relu", None), ("linear", 1.5), ("linear", None)]
VECTORS = ["styles", "scale", "noise", "b"]
OP = torch.ops.stylegan_ops.tensor_core_layer.default
# x [N, I, H, W], O, kernel, padding: layers of networks, then what comes out even nowhere.
SHAPES = [
    *[((4, 512, 4, 4), 512, 3, 1), ((2, 256, 32, 32), 128, 3, 1), ((1, 64, 128, 128), 32, 3, 1)],
    *[((4, 512, 16, 16), 3, 1, 0), ((2, 96, 64, 64), 64, 1, 0), ((17, 40, 8, 8), 72, 3, 1)],
    *[((2, 72, 17, 19), 200, 3, 2), ((3, 24, 1, 1), 13, 3, 1), ((1, 8, 3, 300), 8, 3, 0)],
]
SANITIZED = [((3, 40, 4, 5), 24, 3, 1), ((1, 72, 9, 17), 13, 3, 2), ((2, 64, 7, 8), 72, 1, 0)]


@pytest.fixture(autouse=True)
def native():
    assert stylegan_ops.load("cuda") is None
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("needs a GPU of compute capability 8.0 or more")
    before = torch.backends.cudnn.conv.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    with backend("native"):
        yield
    torch.backends.cudnn.conv.fp32_precision = before


def arguments(shape, out, kernel, padding, names=VECTORS, up=1, samples=None):
    """{name: float64} of the op, w as it takes it; noise has those `samples`, or as x."""
    n, i, h, w = shape
    size = [up * (s + 2 * padding - kernel + 1) for s in (h, w)]
    made = {
        "styles": 1 + 0.5 * rand(n, i, seed=1),
        "scale": 1 + 0.3 * rand(n, out, seed=2),
        "noise": 0.5 * rand(samples or n, 1, *size, seed=3),
        "b": 0.5 * rand(out, seed=4),
    }
    weight = rand(out, i, kernel, kernel, seed=5) / (i * kernel**2) ** 0.5
    return {"x": rand(*shape), "w": arranged(weight), **{name: made[name] for name in names}}


def on_gpu(given, dtype):
    """x and w in a dtype, the vectors in float32."""
    given = {k: v.to(dtype if k in "xw" else torch.float32).cuda() for k, v in given.items()}
    given["x"] = given["x"].contiguous(memory_format=torch.channels_last)
    return given


def rms(x):
    return x.square().mean().sqrt().item()


def check(given, dtype, **kwargs):
    """The 2x rule, and the largest error by four times that."""
    tile = {k: kwargs.pop(k) for k in ("variant", "split") if k in kwargs}
    given = on_gpu(given, dtype)
    exact = own(**{k: v.double() for k, v in given.items()}, **kwargs)
    theirs = own(**given, **kwargs).double() - exact
    y = op(**given, **kwargs, **tile)
    assert y.dtype == dtype and y.shape == exact.shape
    assert y.is_contiguous(memory_format=torch.channels_last)
    ours, eps = y.double() - exact, torch.finfo(dtype).eps
    for size, luck in ((rms, 1), (lambda t: t.abs().max().item(), 4)):
        allowed = luck * (2 * size(theirs) + eps * size(exact))
        assert size(ours) <= allowed, f"{tile}: error {size(ours):.3g}, allowed {allowed:.3g}"
    return y


@pytest.mark.sanitizer
@pytest.mark.parametrize("shape", SANITIZED, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_small_set_for_the_sanitizer(dtype, shape):
    given = on_gpu(arguments(*shape), dtype)
    for variant, split in itertools.product(range(VARIANTS[dtype]), (1, 2)):
        tile = {"variant": variant, "split": split}
        end = dict(act="lrelu", clamp=1, padding=shape[3], **tile)
        y = op(**given, **end)
        if shape[1] % 8 == 0:
            assert torch.equal(op(**given, **end, mask=True)[0], y)
            w = given["w"].repeat(4, 1, 1, 1)
            numbers = [1, 1], [7, 8], 2, 1.0, 1.0, -1.0, 0, variant, split
            y = OP(given["x"], w, None, None, None, None, *numbers)[0]
        assert y.isfinite().all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_and_epilogues(dtype, shape):
    for i, (act, clamp) in enumerate(ENDS):
        given = arguments(*shape, samples=1 if i % 2 else None)
        check(given, dtype, act=act, clamp=clamp, padding=shape[3])


@pytest.mark.parametrize("names", [[], *[[n] for n in VECTORS], VECTORS[:2]], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_some_of_the_vectors(dtype, names):
    for shape in SHAPES[-4:]:
        check(arguments(*shape, names), dtype, act="lrelu", padding=shape[3])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_tile_and_split(dtype, shape):
    given, end = arguments(*shape), dict(act="lrelu", clamp=1.5, padding=shape[3])
    for variant, split in itertools.product(range(VARIANTS[dtype]), (1, 2, 5, 64)):
        check(given, dtype, **end, variant=variant, split=split)
    given = on_gpu(given, dtype)
    with pytest.raises(RuntimeError, match="variant must be less than"):
        op(**given, **end, variant=VARIANTS[dtype])


@pytest.mark.parametrize("taps", [[1, 3, 3, 1], [1, 2, 1], None], ids=str)
@pytest.mark.parametrize("size", [(8, 8), (5, 33), (64, 64)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_four_phases(dtype, size, taps):
    """As an up-sampling convolution and its filter, one after the other, in float64."""
    f = None if taps is None else setup_filter(taps)
    x, weight = rand(2, 40, *size), rand(24, 40, 3, 3, seed=5) / 360**0.5
    for flip, padding in ((True, 1), (False, 1), (True, 0)):
        if tensor_core_layer._phases(padding, f) is None:
            continue
        y = conv2d_resample(x, weight, f, 2, 1, padding, flip_weight=flip)
        w = arranged(composite(weight, f, padding, flip), up=2)
        place = dict(up=2, padding=padding, f=f)
        torch.testing.assert_close(own(x, w, **place), y, rtol=1e-9, atol=1e-9)
        ends = dict(act="lrelu", clamp=1.5, **place)
        vectors = {"scale": 1 + 0.3 * rand(2, 24), "b": rand(24), "styles": 1 + 0.3 * rand(2, 40)}
        vectors["noise"] = rand(2, 1, *y.shape[2:])
        for variant in range(VARIANTS[dtype]):
            check({"x": x, "w": w, **vectors}, dtype, **ends, variant=variant, split=1 + variant)


@pytest.mark.parametrize("shape", [s for s in SHAPES if s[2] == 3], ids=str)
def test_the_gradient_by_x(shape):
    """It is the same op."""
    (n, i, h, w), o, _, padding = shape
    o = o + -o % 8
    weight, x = rand(o, i, 3, 3) / i**0.5, rand(n, i, h, w).requires_grad_()
    y = torch.nn.functional.conv2d(x, weight, padding=padding)
    dy = rand(*y.shape, seed=1)
    (dx,) = torch.autograd.grad(y, x, dy)
    given = {"x": dy, "w": adjoint(weight)}
    end = {"padding": 2 - padding}
    torch.testing.assert_close(own(**given, **end), dx, rtol=1e-9, atol=1e-9)
    for dtype in DTYPES:
        check(given, dtype, **end)


@pytest.mark.parametrize("act, clamp", ENDS[:3])
@pytest.mark.parametrize("split", [1, 3])
def test_masks(split, act, clamp):
    """Slopes as the gradient takes them from the mask."""
    given = on_gpu(arguments((3, 96, 9, 12), 40, 3, 1), torch.float16)
    end = dict(act=act, alpha=0.3, gain=1.3, padding=1)
    y, mask = op(**given, **end, clamp=clamp, mask=True, split=split)
    wide = {k: v.double() for k, v in given.items()}
    wide["x"] = (given["x"].float() * given["styles"][:, :, None, None]).half().double()
    del wide["styles"]
    u = own(**wide, padding=1)
    v = own(**wide, **end)
    slopes = slopes_of(act, 0.3, 1.3)
    args = list(y.stride()), 1, slopes.negative, slopes.positive, clamp is not None, False
    found = mask_grad(torch.ones_like(y), None, mask, *args)[0].double()
    expected = torch.where(u > 0, slopes.positive, slopes.negative).double()
    expected = expected if clamp is None else torch.where(v.abs() <= clamp, expected, 0)
    sure = (u.abs() > 1e-4) & ((v.abs() - (clamp or 99)).abs() > 1e-4)
    assert sure.float().mean() > 0.99
    torch.testing.assert_close(found[sure], expected[sure], rtol=1e-3, atol=0)
    assert torch.equal(y, op(**given, **end, clamp=clamp, split=split))


def _inputs(seed=0, shape=(4, 96, 31, 33), dtype=torch.float16):
    torch.manual_seed(seed)
    given = on_gpu(arguments(shape, 72, 3, 1), dtype)
    return [v.copy_(torch.randn(v.shape)) for v in given.values()]


def _run(split):
    def run(x, w, *vectors):
        return [op(x, w, *vectors, "lrelu", clamp=9.0, padding=1, split=split)]

    return run


@pytest.mark.parametrize("split", [1, 3])
def test_two_streams_at_once(split):
    check_two_streams(_run(split), [_inputs(1), _inputs(2)])


@pytest.mark.parametrize("split", [1, 3])
def test_graph_capture(split):
    check_graph(_run(split), _inputs())


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_every_time(dtype):
    given = _inputs(dtype=dtype)
    for variant, split in itertools.product(range(VARIANTS[dtype]), (1, 3)):
        end = dict(act="lrelu", padding=1, variant=variant, split=split)
        first, *others = (op(*given, **end) for _ in range(5))
        assert all(torch.equal(y, first) for y in others)


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_that_are_not_finite_stay_where_they_belong(dtype):
    given = on_gpu(arguments((9, 40, 5, 4), 72, 3, 1, []), dtype)
    for variant, split in itertools.product(range(VARIANTS[dtype]), (1, 2)):
        tile = dict(padding=1, variant=variant, split=split)
        expected, changed = op(**given, **tile), {k: v.clone() for k, v in given.items()}
        changed["x"][2, 7, 1, 3] = torch.nan
        changed["x"][4, 39, 4, 0] = torch.inf
        changed["w"][11, 1, 1, 0] = torch.nan
        y, reached = op(**changed, **tile), torch.zeros_like(expected).bool()
        reached[2, :, :3, 2:] = True
        reached[4, :, 3:, :2] = True
        reached[:, 11] = True
        assert torch.equal(~y.isfinite(), reached)
        assert torch.equal(y[~reached], expected[~reached])


@pytest.mark.parametrize("kernel, up", [(1, 1), (3, 1), (3, 2)])
def test_more_than_two_to_the_31_elements(kernel, up):
    """The last corner has the same bits as that of a small image."""
    torch.cuda.empty_cache()
    if torch.cuda.mem_get_info()[0] < 20e9:
        pytest.skip("needs 20 GB of free GPU memory")
    h, w = 16384 // up, 16400 // up
    x = torch.zeros(1, h, w, 8, device="cuda", dtype=torch.bfloat16).permute(0, 3, 1, 2)
    x[:, :, -32:, -32:] = rand(1, 8, 32, 32).to(x)
    weight = (rand(8 * up**2, kernel, kernel, 8) / 5).to(x)
    noise = torch.arange(w * up, device="cuda").remainder(7.0).expand(1, 1, h * up, w * up)
    origin = [kernel // 2] * 2

    def run(x, noise):
        size = list(noise.shape[2:])
        vectors = torch.full((1, 8), 0.5).cuda(), None, noise.contiguous(), None
        return OP(x, weight, *vectors, origin, size, up, 0.2, 1.0, 5.0, 0, 1, 1)[0]

    y, last = run(x, noise), 30 * up
    assert y.numel() > 2**31
    corner = run(x[:, :, -32:, -32:], noise[:, :, -32 * up :, -32 * up :])
    assert torch.equal(y[:, :, -last:, -last:], corner[:, :, -last:, -last:])
    assert y[:, :, -last:, -last:].any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_and_address(layout):
    for dtype in DTYPES:
        given = on_gpu(arguments((3, 40, 9, 7), 24, 3, 1), dtype)
        expected = op(**given, padding=1)
        for name, value in given.items():
            room = value.new_empty(value.numel() + 1)[1:]
            value = value.contiguous(memory_format=layout) if value.ndim == 4 else value
            beyond = room.as_strided(value.shape, value.stride(), 1).copy_(value)
            assert torch.equal(op(**given | {name: beyond}, padding=1), expected)
        wide = {k: v if k in "xw" else v.double() for k, v in given.items()}
        assert torch.equal(op(**wide, padding=1), expected)


@pytest.mark.parametrize("planes", [0, 2])
def test_opcheck_and_a_compiled_graph(planes):
    given = on_gpu(arguments((2, 8, 8, 8), 16, 3, 1), torch.float16)
    numbers = [1, 1], [8, 8], 1, 0.28, 1.4, 0.9 if planes else -1.0, planes, -1, 0
    args = *given.values(), *numbers
    torch.library.opcheck(OP, args, test_utils=("test_schema", "test_faketensor"))

    def layer(x, *rest):
        return op(x * 2, *rest, act="lrelu", padding=1).square()

    values = list(given.values())
    assert torch.equal(torch.compile(layer, fullgraph=True)(*values), layer(*values))


def test_an_empty_batch():
    given = on_gpu(arguments((0, 8, 9, 9), 24, 3, 1, samples=1), torch.float16)
    assert op(**given, padding=1).shape == (0, 24, 9, 9)


@pytest.mark.parametrize("name", ["w", *VECTORS])
def test_rejects_what_is_elsewhere_or_of_another_shape(name):
    given = on_gpu(arguments((2, 8, 8, 8), 16, 3, 1), torch.float16)
    for wrong in (given[name].cpu(), given[name][:, None], given[name][..., 1:]):
        with pytest.raises((RuntimeError, ValueError)):
            op(**given | {name: wrong}, padding=1)


def test_rejects_what_the_kernel_does_not_take():
    given = on_gpu(arguments((2, 8, 8, 8), 16, 3, 1, []), torch.float16)
    narrow = on_gpu(arguments((2, 12, 8, 8), 16, 3, 1, []), torch.float16)
    wide = {k: v.double() for k, v in given.items()}
    for wrong in (narrow, wide, given | {"w": given["w"].float()}):
        with pytest.raises(RuntimeError, match="tensor_core_layer"):
            op(**wrong, padding=1)
