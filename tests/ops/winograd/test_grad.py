# SPDX-License-Identifier: Apache-2.0
"""Gradients of Winograd convolutions by the weight, by themselves, against PyTorch's in float64."""

import pytest
import torch
from ops.winograd.cases import BOUND, LAST, NORM, has_isa, images, threads
from support.cases import by_pairs
from support.checks import layouts_of, rand
from support.native import needs_native
from torch.nn.grad import conv2d_weight

from stylegan_ops.layer.winograd import weight_grad

pytestmark = needs_native
OP = torch.ops.stylegan_ops.winograd_grad.default
FORMS = ["tile2", "tile4", "down"]
ISAS = [isa for isa in range(3) if has_isa(isa)]
SIZES = [  # size, padding (y, x)
    *[((1, 1), (1, 1)), ((3, 3), (0, 0)), ((1, 5), (2, 0)), ((4, 4), (1, 1)), ((6, 7), (0, 0))],
    *[
        ((3, 9), (2, 0)),
        ((9, 9), (0, 0)),
        ((10, 12), (1, 1)),
        ((13, 6), (1, 2)),
        ((18, 25), (1, 0)),
    ],
]


def case(form, samples, channels, size, padding):
    """x, dy, what PyTorch makes of them: (x, dy) -> dw"""
    (i, o), stride = channels, 2 if form == "down" else 1
    out = [(n + 2 * p - 3) // stride + 1 for n, p in zip(size, padding)]

    def plain(x, dy):
        return conv2d_weight(x, (o, i, 3, 3), dy, stride=stride, padding=padding)

    return images(samples, i, *size), images(samples, o, *out, seed=3), plain


def check(dw, x, dy, plain):
    """Within the bound; long sums err as those of PyTorch."""
    exact = plain(x.double(), dy.double())
    own, error = plain(x, dy) - exact, dw - exact
    assert dw.shape == exact.shape and dw.dtype == torch.float32 and dw.is_contiguous()
    assert error.abs().max() <= BOUND * exact.abs().max()
    assert error.norm() <= 2 * own.norm() + NORM * exact.norm()


CHANNELS = [(16, 16), (48, 32), (64, 80), (16, 96), (80, 16)]
CHANNELS += [(1, 1), (18, 3), (5, 17), (33, 24), (64, 91), (91, 40)]  # parts of vectors


@by_pairs(given=SIZES, form=FORMS, isa=ISAS)
def test_sizes(form, given, isa):
    size, padding = given
    x, dy, plain = case(form, 2, (32, 48), size, padding)
    check(weight_grad(x, dy, form, padding, isa), x, dy, plain)


@by_pairs(channels=CHANNELS, form=FORMS, isa=ISAS)
def test_channels(form, channels, isa):
    x, dy, plain = case(form, 1, channels, (7, 10), (1, 1))
    check(weight_grad(x, dy, form, (1, 1), isa), x, dy, plain)


@pytest.mark.parametrize(
    "form, samples, channels, size",
    [  # more than one round of tiles, the last of them smaller; and one
        *[("tile2", 3, (16, 16), (72, 71)), ("tile4", 2, (48, 16), (111, 113))],
        *[("down", 2, (32, 48), (131, 133)), ("tile4", 1, (16, 80), (25, 26))],
    ],
)
def test_many_tiles_by_any_number_of_threads(form, samples, channels, size):
    """Right, and the same bits, in every run."""
    x, dy, plain = case(form, samples, channels, size, (1, 1))
    results = []
    for count in (1, 2, 3, 3):
        with threads(count):
            results.append(weight_grad(x, dy, form, (1, 1)))
    check(results[0], x, dy, plain)
    assert all(torch.equal(dw, results[0]) for dw in results)


@pytest.mark.parametrize("form", FORMS)
def test_any_layout(form):
    x, dy, _ = case(form, 3, (32, 48), (8, 9), (1, 1))
    for given in (x, dy):
        for name, view in layouts_of(given):
            pair = (view, dy) if given is x else (x, view)
            dense = [t.contiguous(memory_format=LAST).clone() for t in pair]
            expected = weight_grad(*dense, form, (1, 1))
            assert torch.equal(weight_grad(*pair, form, (1, 1)), expected), name
    moved = [
        t.new_empty(t.numel() + 1)[1:].as_strided(t.shape, t.stride(), 1).copy_(t) for t in (x, dy)
    ]
    assert torch.equal(weight_grad(*moved, form, (1, 1)), weight_grad(x, dy, form, (1, 1)))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("form", FORMS)
def test_where_what_is_not_finite_goes(form, value):
    """To the filters of its channel."""
    x, dy, plain = case(form, 2, (16, 32), (9, 9), (1, 1))
    x[1, 3, 8, 8] = value
    finite = weight_grad(x, dy, form, (1, 1)).isfinite()
    assert not (finite & ~plain(x, dy).isfinite()).any()
    assert finite[:, :3].all() and finite[:, 4:].all()
    x, dy, plain = case(form, 2, (16, 32), (9, 9), (1, 1))
    dy[0, 20, 0, 2] = value
    finite = weight_grad(x, dy, form, (1, 1)).isfinite()
    assert not (finite & ~plain(x, dy).isfinite()).any()
    assert finite[:20].all() and finite[21:].all()


def test_nothing_to_do():
    for form in FORMS:
        x, dy, _ = case(form, 0, (16, 32), (9, 9), (1, 1))
        assert torch.equal(weight_grad(x, dy, form, (1, 1)), torch.zeros(32, 16, 3, 3))
        x, dy, _ = case(form, 1, (16, 0), (9, 9), (1, 1))
        assert weight_grad(x, dy, form, (1, 1)).shape == (0, 16, 3, 3)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"x": torch.zeros(2, 16, 6, 6).double()}, "expected float32"),
        ({"dy": torch.zeros(2, 32, 6, 6).double()}, r"dy must be \[N, C, H, W\], float32"),
        ({"dy": torch.zeros(32, 6, 6)}, r"dy must be \[N, C, H, W\], float32"),
        ({"dy": torch.zeros(1, 32, 6, 6)}, "dy does not belong to x"),
        ({"dy": torch.zeros(2, 32, 6, 5)}, "dy does not belong to x"),
        ({"dy": torch.zeros(2, 32, 5, 6)}, "dy does not belong to x"),
        ({"form": 3}, "dy does not belong to x"),
        ({"form": 2, "padding": [0, 0]}, "take `down` with x and dy exchanged"),
        ({"padding": [1, -1]}, r"padding \(y, x\)"),
        ({"x": torch.zeros(2, 16, 6, 2), "padding": [1, 0]}, "x is smaller than the kernel"),
    ],
    ids=lambda v: v if isinstance(v, str) else " ".join(v),
)
def test_rejects(changed, message):
    given = {"x": torch.zeros(2, 16, 6, 6), "dy": torch.zeros(2, 32, 6, 6), "form": 0}
    with pytest.raises(RuntimeError, match=message):
        OP(*{**given, "padding": [1, 1], "isa": 2, **changed}.values())


def test_registered():
    x, dy = rand(2, 16, 6, 9).float(), rand(2, 48, 6, 9).float()
    torch.library.opcheck(OP, (x, dy, 1, [1, 1], 2))
    torch.library.opcheck(OP, (x, dy[:, :, ::2, :5], 3, [1, 1], 2))


@pytest.mark.thorough
@pytest.mark.parametrize("form", ["tile4"])
def test_sums_over_many_tiles_keep_their_digits(form):
    """As one chain of additions they would lose ten times what a direct sum does."""
    x, dy, plain = case(form, 1, (16, 16), (1024, 1024), (1, 1))
    exact = plain(x.double(), dy.double())
    error = weight_grad(x, dy, form, (1, 1)) - exact
    assert error.abs().max() <= BOUND / 2 * exact.abs().max()
