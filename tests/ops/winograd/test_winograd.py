# SPDX-License-Identifier: Apache-2.0
"""Winograd convolutions by themselves, against PyTorch's in float64."""

from dataclasses import replace

import pytest
import torch
from ops.winograd.cases import FORMS, LAST, check, convolve, has_isa, images, plain, threads
from support.cases import by_pairs
from support.checks import layouts_of, rand
from support.native import needs_native

from stylegan_ops.layer import winograd
from stylegan_ops.layer.records import Epilogue
from stylegan_ops.layer.scale_act import scale_act_ref
from stylegan_ops.layer.winograd import tiles

pytestmark = needs_native
WEIGHTS = torch.ops.stylegan_ops.winograd_weights.default
OP = torch.ops.stylegan_ops.winograd.default

STRIDE1 = [  # size, padding (y, x)
    *[((1, 1), (1, 1)), ((3, 3), (0, 0)), ((1, 5), (2, 0)), ((5, 1), (0, 2))],
    *[((4, 4), (1, 1)), ((6, 7), (0, 0)), ((3, 9), (2, 0)), ((8, 12), (1, 1)), ((13, 6), (1, 2))],
]
STRIDE2 = [
    *[((1, 1), (1, 1)), ((3, 3), (0, 0)), ((4, 4), (0, 0)), ((9, 9), (0, 0)), ((10, 11), (0, 1))],
    *[((8, 8), (1, 1)), ((5, 16), (2, 1)), ((17, 3), (0, 2)), ((18, 25), (1, 0))],
]
UP = [((h, w), (0, 0)) for h, w in [(1, 1), (1, 4), (4, 1), (3, 3), (5, 7), (8, 12), (9, 2)]]
SIZES = {"tile2": STRIDE1, "tile4": STRIDE1, "up": UP, "down": STRIDE2}
CHANNELS = [(16, 16), (32, 48), (48, 32), (64, 80), (16, 96), (80, 16)]
CHANNELS += [(1, 1), (3, 18), (17, 5), (24, 33), (91, 64), (40, 91)]  # parts of vectors
ISAS = [isa for isa in range(3) if has_isa(isa)]


def padding_of(form):
    return (0, 0) if form == "up" else (1, 1)


@by_pairs(number=range(9), form=FORMS, isa=ISAS)
def test_sizes(form, number, isa):
    """One pixel, one tile, parts of tiles; every padding up to 2, other ones in y than in x."""
    size, padding = SIZES[form][number % len(SIZES[form])]
    x, w = images(2, 32, *size), rand(48, 32, 3, 3).float()
    y = convolve(x, w, form, padding, isa=isa)
    check(y, plain(x.double(), w, form, padding))
    assert y.is_contiguous(memory_format=LAST)


@by_pairs(channels=CHANNELS, form=FORMS, isa=ISAS)
def test_channels(form, channels, isa):
    """Also parts of a panel of 32; the weight as it is and turned."""
    i, o = channels
    x, w = images(1, i, 7, 10), rand(o, i, 3, 3).float()
    for flip in (False, True):
        y = convolve(x, w, form, padding_of(form), flip, isa)
        check(y, plain(x.double(), w, form, padding_of(form), flip))


@pytest.mark.parametrize(
    "form, channels, samples, size",
    [
        # A task makes its own tiles, for 1 and 2 threads; for 3 they are made once for all tasks.
        ("tile2", (16, 16), 1, (63, 69)),
        ("tile4", (32, 80), 1, (68, 66)),
        ("up", (32, 48), 1, (40, 39)),
        ("down", (48, 32), 1, (83, 85)),
        # Shared tiles, some at a time; the last time fewer.
        ("tile2", (512, 16), 2, (30, 27)),
        ("tile4", (512, 48), 1, (57, 51)),
        ("up", (256, 16), 1, (40, 39)),
        ("down", (64, 144), 2, (71, 80)),
        ("tile4", (64, 160), 3, (12, 13)),  # all at a time
    ],
)
def test_many_tiles_by_any_number_of_threads(form, channels, samples, size):
    """Right, and the same bits."""
    i, o = channels
    x, w, padding = images(samples, i, *size), rand(o, i, 3, 3).float(), padding_of(form)
    styles = rand(samples, i).float()
    results, transformed = [], []
    for count in (1, 2, 3):
        with threads(count):
            transformed.append(tiles(w, form))
            results.append(winograd.convolve(x, transformed[-1], padding, styles))
    check(results[0], plain((x * styles[:, :, None, None]).double(), w, form, padding))
    assert all(torch.equal(y, results[0]) for y in results)
    assert all(torch.equal(t.u, transformed[0].u) for t in transformed)


ENDS = [  # act, clamp, samples of the noise, whether there are styles, scale, bias
    *[("linear", None, None, True, False, False), ("linear", 0.7, 1, False, True, False)],
    *[("relu", None, 3, True, True, True), ("relu", 0.9, None, False, False, True)],
    *[("lrelu", None, 1, False, True, True), ("lrelu", 0.8, 3, True, True, True)],
]


@by_pairs(end=ENDS, form=FORMS, isa=ISAS)
def test_styles_scale_noise_bias_and_activation(end, form, isa):
    act, clamp, noise, *others = end
    x, w = images(3, 32, 9, 6), rand(80, 32, 3, 3).float() / 17
    exact = plain(x.double(), w, form, padding_of(form))
    noise = noise and rand(noise, 1, *exact.shape[2:], seed=4).float()
    styles, scale, b = (
        rand(*shape, seed=5).float() + 1 if given else None
        for shape, given in zip([(3, 32), (3, 80), (80,)], others)
    )
    end = act, 0.3, 1.3, clamp
    given = {"styles": styles, "scale": scale, "noise": noise, "end": Epilogue(b, *end)}
    y = convolve(x, w, form, padding_of(form), isa=isa, **given)
    wide = [v if v is None else v.double() for v in (styles, scale, noise, b)]
    if styles is not None:
        exact = plain(x.double() * wide[0][:, :, None, None], w, form, padding_of(form))
    check(y, scale_act_ref(exact, *wide[1:], *end))


@pytest.mark.parametrize("form", FORMS)
def test_weights_of_any_strides(form):
    w = rand(48, 32, 3, 3).float()
    views = dict(layouts_of(w))
    views["transposed"] = w.transpose(0, 1).contiguous().transpose(0, 1)
    views["transposed taps"] = w.mT.contiguous().mT
    views["part"] = torch.cat([w, w], 1)[:, :32]
    views["one for all"] = w[:, :1, :1].expand(w.shape)
    for name, view in views.items():
        for flip in (False, True):
            expected = tiles(view.flip([2, 3]).contiguous() if flip else view.contiguous(), form)
            assert torch.equal(tiles(view, form, flip).u, expected.u), (name, flip)


@pytest.mark.parametrize("form", FORMS)
def test_images_of_any_layout(form):
    base, w = rand(3, 32, 6, 7).float(), rand(32, 32, 3, 3).float()
    t = tiles(w, form)
    views = dict(layouts_of(base))
    views["channels_last, misaligned"] = misaligned(base.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    views["part"] = images(3, 48, 9, 7)[:, 8:40, 1:7]
    views["rows"] = images(3, 32, 12, 7)[:, :, ::2]
    views["one row"] = images(1, 32, 4, 7)[:, :, 1:2]
    views["one column"] = images(2, 32, 4, 5)[..., 2:3]
    for name, view in views.items():
        before, padding = view.clone(), padding_of(form)
        y = winograd.convolve(view, t, padding)
        expected = winograd.convolve(view.contiguous(memory_format=LAST).clone(), t, padding)
        assert torch.equal(y, expected), name
        assert torch.equal(view, before), name


def misaligned(t):
    """The same, 4 bytes behind where it was allocated."""
    return t.new_empty(t.numel() + 1)[1:].view(t.shape).copy_(t)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("form", FORMS)
def test_nothing_need_be_aligned(form, isa):
    """Nor dense, nor float32."""
    x, w = images(2, 32, 9, 7), misaligned(rand(48, 32, 3, 3).float())
    size = plain(x, w, form, padding_of(form)).shape[2:]
    given = {"styles": rand(2, 32), "scale": rand(2, 48), "noise": rand(2, 1, *size)}
    given, b = {k: v.float() for k, v in given.items()}, rand(48).float()
    t = tiles(w, form, isa=isa)
    run = lambda t, given, b: winograd.convolve(
        x, t, padding_of(form), **given, end=Epilogue(b, "lrelu", clamp=1), isa=isa
    )
    expected = run(t, given, b)
    for change in (misaligned, torch.Tensor.double, lambda v: torch.stack([v, v], -1)[..., 0]):
        changed = replace(t, u=misaligned(t.u))
        y = run(changed, {k: change(v) for k, v in given.items()}, change(b))
        assert torch.equal(y, expected)
    shared = {**given, "noise": given["noise"][:1].expand(2, -1, -1, -1)}
    assert torch.equal(run(t, shared, b)[:1], expected[:1])


SIDES = {"tile2": (4, 2, 2, 0), "tile4": (6, 4, 4, 0), "up": (5, 4, 8, 1), "down": (9, 8, 4, 0)}


def reached(form, at, padding, size):
    """Where outputs are of an axis whose tile contains input `at`."""
    inputs, step, outputs, before = SIDES[form]
    first = [o // outputs * step - before - padding for o in range(size)]
    return torch.tensor([f <= at < f + inputs for f in first])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("form", FORMS)
def test_where_what_is_not_finite_goes(form, value):
    """As far as by a direct convolution, and not farther than its tiles; in one sample."""
    (py, px), w = padding_of(form), rand(32, 16, 3, 3).float()
    for row, column in ((0, 16), (7, 8), (8, 7), (16, 0)):
        x = images(3, 16, 17, 17)
        x[1, 3, row, column] = value
        finite = convolve(x, w, form, (py, px)).isfinite()
        must = plain(x, w, form, (py, px)).isfinite()
        height, width = must.shape[2:]
        may = reached(form, row, py, height)[:, None] & reached(form, column, px, width)
        assert not (finite & ~must).any()
        assert finite[[0, 2]].all() and finite[1][:, ~may].all()


@by_pairs(act=["linear", "relu", "lrelu"], isa=ISAS, clamp=[None, 0.7])
def test_special_values(act, clamp, isa):
    """NaN stays NaN, through activation and clamp; infinity becomes the clamp."""
    x, w = images(1, 16, 6, 8), rand(48, 16, 3, 3).float()
    noise, b = torch.zeros(1, 1, 6, 8), torch.zeros(48)
    noise[0, 0, 2] = torch.tensor([torch.inf, -torch.inf, torch.nan, 3e38, -3e38, 1e-40, 0.0, -0.0])
    b[40] = torch.nan
    end = act, 0.2, 1.0, clamp
    for form in ("tile2", "tile4"):
        y = convolve(x, w, form, (1, 1), isa=isa, noise=noise, end=Epilogue(b, *end))
        linear = convolve(x, w, form, (1, 1), isa=isa)
        expected = scale_act_ref(linear, None, noise, b, *end)
        torch.testing.assert_close(y, expected, equal_nan=True)


def test_nothing_to_do():
    w = rand(32, 16, 3, 3).float()
    for form in FORMS:
        y = convolve(images(0, 16, 5, 5), w, form, padding_of(form))
        assert y.shape == plain(torch.zeros(0, 16, 5, 5), w, form, padding_of(form)).shape
        assert convolve(images(2, 16, 5, 5), w[:0], form, padding_of(form)).numel() == 0
    assert not convolve(images(1, 16, 5, 5), w, "tile4", end=Epilogue(clamp=0)).any()


def arguments(**changed):
    """Of the op, in order; some replaced."""
    given = {
        "x": images(2, 16, 6, 6),
        "u": tiles(rand(32, 16, 3, 3).float(), "tile2").u,
        "out_channels": 32,
        **dict.fromkeys(["styles", "scale", "noise", "b"]),
        **{"form": 0, "padding": [1, 1], "negative": 0.2, "positive": 1.4, "clamp": 1, "isa": 2},
    }
    return tuple({**given, **changed}.values())


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"x": torch.zeros(2, 24, 6, 6)}, "u does not belong"),
        ({"out_channels": 33}, "u does not belong"),
        ({"out_channels": -16}, r"x must be \[N, C, H, W\]"),
        ({"x": torch.zeros(16, 6, 6)}, r"x must be \[N, C, H, W\]"),
        ({"x": torch.zeros(2, 16, 6, 6, dtype=torch.float64)}, "expected float32"),
        ({"u": torch.zeros(32 * 16 * 16, dtype=torch.float64)}, "u does not belong"),
        ({"u": torch.zeros(64 * 16 * 16)}, "u does not belong"),
        ({"u": torch.zeros(2 * 32 * 16 * 16)[::2]}, "u does not belong"),
        ({"form": 1}, "u does not belong"),
        ({"x": torch.zeros(2, 0, 6, 6), "u": torch.zeros(0)}, "x is empty"),
        ({"form": 4}, "form must be 0 to 3"),
        ({"form": -1}, "form must be 0 to 3"),
        ({"padding": [1, -1]}, r"padding \(y, x\)"),
        ({"padding": [1]}, r"padding \(y, x\)"),
        ({"form": 2}, "up takes no padding"),
        ({"x": torch.zeros(2, 16, 6, 2), "padding": [1, 0]}, "x is smaller than the kernel"),
        ({"x": torch.zeros(2, 16, 0, 6)}, "x is smaller than the kernel"),
        ({"styles": torch.zeros(2, 32)}, r"styles must be \[N, C\]"),
        ({"scale": torch.zeros(1, 32)}, r"scale must be \[N, C\]"),
        ({"b": torch.zeros(16)}, "b does not fit"),
        ({"noise": torch.zeros(2, 1, 6, 1)}, "noise must be"),
        ({"noise": torch.zeros(3, 1, 6, 6)}, "noise must be"),
    ],
    ids=lambda v: v if isinstance(v, str) else " ".join(v),
)
def test_rejects(changed, message):
    with pytest.raises(RuntimeError, match=message):
        OP(*arguments(**changed))


def test_instructions_beyond_those_that_there_are():
    """The best or the least."""
    for number in (-7, 3, 99):
        y = OP(*arguments(isa=number, b=torch.ones(32)))
        torch.testing.assert_close(y, OP(*arguments(b=torch.ones(32))), atol=1e-5, rtol=1e-5)


def test_rejects_weights():
    for shape in ((32, 16, 3, 2), (32, 16, 9), (32, 16, 1, 3)):
        with pytest.raises(RuntimeError, match=r"w must be \[O, I, 3, 3\]"):
            WEIGHTS(torch.zeros(shape), 0, False, 0)
    with pytest.raises(RuntimeError, match="expected float32"):
        WEIGHTS(torch.zeros(32, 16, 3, 3, dtype=torch.float64), 0, False, 0)
    with pytest.raises(RuntimeError, match="form must be 0 to 3"):
        WEIGHTS(torch.zeros(32, 16, 3, 3), 4, False, 0)


@pytest.mark.parametrize("form", FORMS)
def test_registered(form):
    number, padding = FORMS.index(form), list(padding_of(form))
    x, w = rand(2, 16, 6, 9).float(), rand(48, 16, 3, 3).float()
    torch.library.opcheck(WEIGHTS, (w, number, True, 2))
    t = tiles(w, form)
    noise = torch.zeros_like(plain(x, w, form, padding)[:1, :1])
    given = [rand(2, 16).float(), rand(2, 48).float(), noise, rand(48).float()]
    torch.library.opcheck(OP, (x, t.u, 48, *given, number, padding, 0.2, 1.0, -1, 2))
