# SPDX-License-Identifier: Apache-2.0
"""What only a GPU can get wrong of filtered_lrelu: tiles, streams, a graph, over 2^31 elements."""

import pytest
import torch
from ops.filtered_lrelu.cases import F12, LAYERS, OTHERS, moved, taps
from support.checks import DTYPES, LAYOUTS, layouts_of, rand
from support.gpu import check_graph, check_two_streams, pytestmark  # noqa: F401

import stylegan_ops
from stylegan_ops import backend, filtered_lrelu
from stylegan_ops.ops.filtered_lrelu import filtered_lrelu_ref

CASES = LAYERS | OTHERS


@pytest.fixture(autouse=True)
def native():
    assert stylegan_ops.load("cuda") is None
    with backend("native"):
        yield


def cuda_arguments(case):
    return moved(CASES[case], "cuda")


def derivatives(x, b, kwargs, seed=0):
    """y, dx, db and the derivative of dx by dy, on random numbers."""
    generator = torch.Generator(x.device).manual_seed(seed)

    def like(t):
        v = torch.randn(t.shape, generator=generator, device=t.device, dtype=torch.float32)
        return v.to(t.dtype).contiguous(memory_format=torch.preserve_format)

    y = filtered_lrelu(x, b=b, **kwargs)
    dy = like(y).requires_grad_()
    dx, db = torch.autograd.grad(y, (x, b), dy, create_graph=True)
    return y, dx, db, *torch.autograd.grad(dx, dy, like(x))


def random_images(*shape, dtype=torch.float32, layout=torch.contiguous_format):
    return torch.randn(shape, device="cuda").to(dtype).to(memory_format=layout)


# Tiles that are whole and cut, smaller than the filters, a few channels and many; words of the mask
# that are shared by tiles if anything is.
@pytest.mark.sanitizer
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 24, 17, 15), (1, 2, 40, 70)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("case", [*LAYERS, "odd"])
def test_small_set_for_the_sanitizer(case, dtype, shape):
    kwargs = cuda_arguments(case)
    for layout in LAYOUTS:
        x = random_images(*shape, dtype=dtype, layout=layout).requires_grad_()
        b = random_images(shape[1], dtype=dtype).requires_grad_()
        if case == "up 4 down 2" and min(shape[2:]) < 9:
            continue  # cropped to nothing
        assert all(t.isfinite().all() for t in derivatives(x, b, kwargs))


@pytest.mark.parametrize("case", CASES)
def test_every_size_and_layout(case):
    kwargs = cuda_arguments(case)
    sizes = [13, 15, 16, 17, 31, 33, 64, 65, 130, 260]
    for i, width in enumerate(sizes):
        height, channels = sizes[(3 * i + 2) % len(sizes)], (1, 3, 8, 50)[i % 4]
        for layout, x in layouts_of(rand(2, channels, height, width).float().cuda()):
            y, expected = filtered_lrelu(x, **kwargs), filtered_lrelu_ref(x.double(), **kwargs)
            error = (y - expected).abs().max() / expected.abs().max()
            assert error < 4e-6, f"{layout}, {list(x.shape)}: {error:.3g}"


def _both(x, b, fu, fd, dy):
    y = filtered_lrelu(x, fu, fd, b, up=2, down=2, padding=[9, 8, 9, 8], clamp=0.8)
    return [y, *torch.autograd.grad(y, (x, b), dy)]


def _both_arguments(seed, layout=torch.contiguous_format):
    x = rand(4, 64, 64, 64, seed=seed).float().cuda().to(memory_format=layout)
    dy = rand(4, 64, 62, 62, seed=seed).float().cuda()
    b, filters = rand(64, seed=seed).float().cuda(), (taps(12, seed=seed + i) for i in (0, 1))
    return x.requires_grad_(), b.requires_grad_(), *(f.cuda() for f in filters), dy


def test_two_streams_at_once():
    check_two_streams(_both, [_both_arguments(1), _both_arguments(50)])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_graph_capture(layout):
    """The filters, too, are read when the graph is replayed, not when it is captured."""
    check_graph(_both, _both_arguments(3, layout))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CASES)
def test_the_same_bits_every_time(case, layout):
    kwargs, x = cuda_arguments(case), random_images(4, 32, 60, 90, layout=layout).requires_grad_()
    results = [derivatives(x, x.new_ones(32).requires_grad_(), kwargs) for _ in range(4)]
    assert all(torch.equal(a, b) for r in results for a, b in zip(r[:2], results[0]))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", ["up 2 down 2", "up 4 down 2", "odd"])
def test_more_than_two_to_the_31_elements(case, layout):
    """The last corner of a large image, and of its derivative, is that of a small one."""
    torch.cuda.empty_cache()
    if torch.cuda.mem_get_info()[0] < 40e9:
        pytest.skip("needs 40 GB of free GPU memory")
    kwargs = cuda_arguments(case) | {"padding": 0, "slope": 0.2}
    c, h, w = (8, 16384, 16400) if layout == torch.channels_last else (1, 46336, 46400)
    if case == "up 4 down 2":  # y is four times x
        h, w = h // 2, w // 2
    x = torch.zeros(1, c, h, w, device="cuda", dtype=torch.bfloat16).to(memory_format=layout)
    x[:, :, -64:, -64:] = torch.arange(64.0, device="cuda") - 20
    small = x[:, :, -64:, -64:].clone().requires_grad_()
    x.requires_grad_()
    y = filtered_lrelu(x, **kwargs)
    assert max(x.numel(), y.numel()) > 2**31
    corner = filtered_lrelu(small, **kwargs)
    rows, columns = corner.shape[2:]
    part = y[:, :, -rows:, -columns:]
    assert corner.any() and torch.equal(part, corner)
    (dx,) = torch.autograd.grad(part.sum(), x)
    (expected,) = torch.autograd.grad(corner.sum(), small)
    assert expected.any() and torch.equal(dx[:, :, -64:, -64:], expected)


def test_more_tiles_than_blocks():
    x = rand(1, 70000, 4, 4).float().cuda()
    for layout in LAYOUTS:
        for case in ("up 2 down 2", "odd"):
            for shape in ((1, 70000, 4, 4), (70000, 1, 4, 4)):
                given, kwargs = x.view(shape).to(memory_format=layout), cuda_arguments(case)
                y = filtered_lrelu(given, **kwargs)
                part = filtered_lrelu(given.flatten(0, 1)[-5:, None], **kwargs)
                torch.testing.assert_close(y.flatten(0, 1)[-5:, None], part)


def test_a_view_that_is_not_aligned():
    for dtype in DTYPES:
        for case in CASES:
            x = torch.randn(1 + 2 * 8 * 256, device="cuda").to(dtype)[1:].view(2, 8, 16, 16)
            for given in (x, x.view(2, 16, 16, 8).permute(0, 3, 1, 2)):
                kwargs = cuda_arguments(case)
                expected = filtered_lrelu_ref(given.double(), **kwargs).to(dtype)
                torch.testing.assert_close(
                    filtered_lrelu(given, **kwargs), expected, atol=1e-4, rtol=1.6e-2
                )


def test_rejects_a_filter_elsewhere():
    with pytest.raises((RuntimeError, ValueError), match="fu must be on the device of x"):
        filtered_lrelu(torch.ones(1, 3, 18, 18, device="cuda"), F12, up=2)
