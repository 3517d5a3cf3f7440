# SPDX-License-Identifier: Apache-2.0
"""Convolutions of training by Winograd's method: all their derivatives, and where others serve."""

import pytest
import torch
import torch.nn.functional as F
from ops.winograd.cases import BOUND, logged, rule
from support.cases import by_pairs
from support.checks import LAYOUTS, rand
from support.native import needs_native

from stylegan_ops import backend
from stylegan_ops.layer import winograd
from stylegan_ops.layer.convolution import conv2d, conv_transpose2d

pytestmark = needs_native

CASES = {  # size, stride, padding; what y, dx, dw take
    "1": ((9, 7), 1, (1, 1), ["tile", "tile"], ["tile"]),
    "1, valid": ((6, 11), 1, (0, 0), ["tile", "tile"], ["tile"]),
    "1, wide": ((3, 5), 1, (2, 1), ["tile", "tile"], ["tile"]),
    "1, too wide": ((5, 6), 1, (1, 3), ["tile"], ["tile"]),
    "2, odd": ((9, 11), 2, (0, 0), ["down", "up"], ["down"]),
    "2, even": ((10, 9), 2, (0, 0), ["down"], ["down"]),  # pixels that no result is made of
    "2, padded": ((9, 7), 2, (1, 1), ["down"], ["down"]),
    "2, padded, even": ((8, 10), 2, (1, 1), ["down"], ["down"]),
    "3": ((9, 9), 3, (0, 0), [], []),
    "transposed, 1": ((5, 6), 1, None, ["tile", "tile"], ["tile"]),
    "transposed, 2": ((5, 6), 2, None, ["up", "down"], ["down"]),
    "transposed, 3": ((5, 6), 3, None, [], []),
}


@pytest.fixture
def calls(monkeypatch):
    return logged(monkeypatch)


TILES = ["tile2", "tile4"]
of_tile4 = pytest.mark.parametrize("always", ["tile4"], indirect=True)  # where none is taken


@pytest.fixture(params=TILES)
def always(request, monkeypatch):
    """The rule takes this form at stride 1, and that of stride 2, however small the images are."""
    rule(monkeypatch, request.param, "up", "down")
    return request.param


def pair(stride, padding):
    """Ours and PyTorch's: functions of x and weight."""
    if padding is None:
        ours, theirs = conv_transpose2d, F.conv_transpose2d
        return lambda x, w: ours(x, w, stride), lambda x, w: theirs(x, w, stride=stride)
    return (
        lambda x, w: conv2d(x, w, stride, padding),
        lambda x, w: F.conv2d(x, w, stride=stride, padding=padding),
    )


def first(op, x, w):
    """y, dx, dw, with a graph."""
    y = op(x, w)
    dy = torch.empty_like(y).copy_(rand(*y.shape, seed=2))
    return y, *torch.autograd.grad(y, (x, w), dy, create_graph=True)


def second(values, x, w):
    """The derivatives of what `first` gave."""
    total = sum((v**2 * rand(*v.shape, seed=4).to(v)).sum() for v in values)
    return torch.autograd.grad(total, (x, w))


def leaves(size, padding, layout=torch.contiguous_format, channels=(32, 48)):
    i, o = channels
    x = rand(2, i, *size).float().contiguous(memory_format=layout)
    w = rand(*((i, o) if padding is None else (o, i)), 3, 3, seed=1).float() / 17
    return x.requires_grad_(), w.contiguous(memory_format=layout).requires_grad_()


def check(values, exact):
    for number, (v, e) in enumerate(zip(values, exact, strict=True)):
        assert v.shape == e.shape and v.dtype == torch.float32
        error = ((v.double() - e).norm() / e.norm()).item()
        assert error <= BOUND, f"value {number}: error {error:.3g}"


@by_pairs(("always",), case=CASES, always=TILES, layout=LAYOUTS)
def test_derivatives(case, layout, always, calls):
    size, stride, padding, images, weights = CASES[case]
    ours, theirs = pair(stride, padding)
    x, w = leaves(size, padding, layout)
    values = first(ours, x, w)
    assert calls["convolve"] == [always if form == "tile" else form for form in images]
    assert calls["weight_grad"] == [always if form == "tile" else form for form in weights]
    assert all(v.is_contiguous(memory_format=layout) for v in values[:2])
    wide = [t.detach().double().requires_grad_() for t in (x, w)]
    exact = first(theirs, *wide)
    check(values, exact)
    check(second(values, x, w), second(exact, *wide))


@pytest.mark.parametrize("case", ["1", "2, odd", "transposed, 2"])
def test_without_gradient(case, always, calls):
    size, stride, padding, images, _ = CASES[case]
    ours, theirs = pair(stride, padding)
    x, w = leaves(size, padding)
    with torch.no_grad():
        check([ours(x, w)], [theirs(x.double(), w.double())])
    x, w = x.detach(), w.detach()
    check([ours(x, w)], [theirs(x.double(), w.double())])
    assert len(calls["convolve"]) == 2


@by_pairs(
    ("always",),
    case=["1", "2, odd", "transposed, 1", "transposed, 2"],
    channels=[(24, 32), (32, 24), (8, 8), (3, 5)],
    always=TILES,
)
def test_other_channels(case, channels, always, calls):
    size, stride, padding, *_ = CASES[case]
    ours, theirs = pair(stride, padding)
    x, w = leaves(size, padding, channels=channels)
    wide = [t.detach().double().requires_grad_() for t in (x, w)]
    check(first(ours, x, w), first(theirs, *wide))
    assert calls["convolve"]


@of_tile4
@pytest.mark.parametrize("case", ["1", "2, odd", "transposed, 1", "transposed, 2"])
def test_where_pytorch_serves(case, always, calls):
    size, stride, padding, *_ = CASES[case]
    ours, theirs = pair(stride, padding)
    x, w = leaves(size, padding)
    with backend("reference"):
        assert torch.equal(first(ours, x, w)[0], theirs(x, w))
    with torch.autocast("cpu", torch.bfloat16):
        y = ours(x, w)
        assert y.dtype == torch.bfloat16 and torch.equal(y, theirs(x, w))
    for dtype in (torch.float64, torch.bfloat16):
        narrow = x.to(dtype), w.to(dtype)
        torch.testing.assert_close(ours(*narrow), theirs(*narrow))
    compiled = torch.compile(ours, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x, w), theirs(x, w))
    x, w = x.detach(), w.detach()
    for transformed in (
        lambda op: torch.func.vmap(lambda x: op(x, w))(x[None])[0],
        lambda op: torch.func.jvp(lambda w: op(x, w), (w,), (w,))[1],
        lambda op: torch.func.grad(lambda w: op(x, w).square().sum())(w),
    ):
        torch.testing.assert_close(transformed(ours), transformed(theirs))
    assert not any(calls.values())


@of_tile4
@pytest.mark.parametrize("kernel", [(5, 5), (3, 1), (1, 3), (1, 1), (2, 2)])
def test_other_kernels(kernel, always, calls):
    x = rand(2, 32, 9, 8).float().requires_grad_()
    for op, plain in ((conv2d, F.conv2d), (conv_transpose2d, F.conv_transpose2d)):
        w = rand(32, 32, *kernel).float().requires_grad_()
        wide = [t.detach().double().requires_grad_() for t in (x, w)]
        check(first(lambda x, w, op=op: op(x, w, 1), x, w), first(plain, *wide))
    assert not any(calls.values())


@pytest.mark.parametrize("samples, size", [(2, (2, 9)), (2, (9, 1)), (0, (9, 9))])
def test_small_images_and_none(samples, size, always, calls):
    """Right, whatever is taken."""
    x = rand(samples, 32, *size).float().requires_grad_()
    w = rand(48, 32, 3, 3).float().requires_grad_()
    wide = [t.detach().double().requires_grad_() for t in (x, w)]
    ours, theirs = pair(1, (1, 1))
    values, exact = first(ours, x, w), first(theirs, *wide)
    if samples:
        check(values, exact)
    else:
        assert [v.shape for v in values] == [v.shape for v in exact] and not values[2].any()
        assert not any(calls.values())


@of_tile4
@pytest.mark.parametrize("stride", [1, 2])
def test_groups(stride, always, calls):
    x, w = rand(2, 64, 9, 9).float().requires_grad_(), rand(64, 32, 3, 3).float().requires_grad_()
    wide = [t.detach().double().requires_grad_() for t in (x, w)]
    for op, plain in ((conv2d, F.conv2d), (conv_transpose2d, F.conv_transpose2d)):
        values = first(lambda x, w, op=op: op(x, w, stride, groups=2), x, w)
        exact = first(lambda x, w, op=plain: op(x, w, stride=stride, groups=2), *wide)
        check(values, exact)
    assert not any(calls.values())


def test_by_rule(calls, monkeypatch):
    """Large layers take tiles, small ones the library's convolution; as do those of few channels
    that would be copied to channels_last and back."""
    monkeypatch.setattr(winograd, "ISA", 2)
    large, small = (64, 64, torch.channels_last), (16, 4, torch.channels_last)
    for channels, size, layout in (large, small, (64, 64, torch.contiguous_format)):
        x = rand(1, channels, size, size).float().contiguous(memory_format=layout)
        w = rand(channels, channels, 3, 3).float().requires_grad_()
        exact = w.detach().double().requires_grad_()
        ours, theirs = pair(1, (1, 1))
        calls["convolve"].clear(), calls["weight_grad"].clear()
        y, y_exact = ours(x, w), theirs(x.double(), exact)
        dw = torch.autograd.grad(y, w, y.detach())[0]
        check([y, dw], [y_exact, torch.autograd.grad(y_exact, exact, y_exact.detach())[0]])
        taken = channels == 64 and layout == torch.channels_last
        assert calls["convolve"] == (["tile4"] if taken else [])
        assert len(calls["weight_grad"]) <= taken


@pytest.mark.parametrize("least, taken", [(32, True), (33, False)])
def test_contiguous_images_of_few_channels(least, taken, always, calls, monkeypatch):
    """Nor are they copied for a gradient."""
    monkeypatch.setattr(winograd, "MIN_CONTIGUOUS", least)
    ours, _ = pair(1, (1, 1))
    first(ours, *leaves((9, 7), (1, 1)))
    assert bool(calls["convolve"]) == bool(calls["weight_grad"]) == taken
    first(ours, *leaves((9, 7), (1, 1), torch.channels_last))
    assert calls["weight_grad"][-1:] == [always]


def test_the_rule_of_weight_gradients():
    best = winograd.best_grad_form
    assert best(("tile2", "tile4"), 4, (512, 512), (64, 64), isa=2) == "tile4"
    assert best(("down",), 4, (512, 512), (64, 64), isa=2) == "down"
    assert best(("down",), 4, (64, 64), (4, 4), isa=2) is None
