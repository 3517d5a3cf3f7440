# SPDX-License-Identifier: Apache-2.0
"""Where modulated_conv2d takes Winograd's method, and that nothing but time changes."""

import pytest
import torch
from ops.winograd.cases import logged, rule
from ops.winograd.layers import CASES, check, expected, forced, inputs
from support.cases import by_pairs
from support.checks import LAYOUTS, rand
from support.native import needs_native

from stylegan_ops import backend, modulated_conv2d, planning
from stylegan_ops.layer import strategies, winograd
from stylegan_ops.layer.choose import candidates
from stylegan_ops.layer.records import Resampling
from stylegan_ops.layer.winograd import Cost
from stylegan_ops.ops.modulated_conv2d import modulated_conv2d_ref
from stylegan_ops.runtime import plan

pytestmark = needs_native


@pytest.fixture
def calls(monkeypatch):
    return logged(monkeypatch)


@by_pairs(case=CASES, flip=[True, False], layout=LAYOUTS)
def test_layers(case, flip, layout, calls, monkeypatch):
    """All that a layer may have, samples by themselves or together; inputs are not written to."""
    form = "up" if "up" in case else "tile2" if flip else "tile4"
    rule(monkeypatch, form)
    monkeypatch.setattr(strategies, "MIN_SAMPLE", 0 if flip else 1 << 19)
    for n, noise, demodulate in ((1, 1, True), (3, 3, True), (3, 1, False), (2, None, True)):
        given, kwargs = inputs(case, n, flip_weight=flip, demodulate=demodulate)
        given["styles"] *= 1 if demodulate else 0.05
        size = expected(given, kwargs).shape[2:]
        given["noise"] = noise and rand(noise, 1, *size).float()
        given["x"] = given["x"].contiguous(memory_format=layout)
        before = {k: v.clone() for k, v in given.items() if v is not None}
        y = forced(given, kwargs)
        check(y, expected(given, kwargs))
        assert y.is_contiguous(memory_format=layout)
        assert all(torch.equal(given[k], v) for k, v in before.items())
    assert set(calls["convolve"]) == {form} and len(calls["tiles"]) == 4
    assert len(calls["convolve"]) == (9 if form == "up" and flip else 4)


@pytest.mark.parametrize("samples", ["together", "apart"])
@pytest.mark.parametrize("case", ["3x3", "up"])
def test_noise_that_broadcasts(case, samples, calls, monkeypatch):
    monkeypatch.setattr(strategies, "MIN_SAMPLE", 0 if samples == "apart" else 1 << 19)
    given, kwargs = inputs(case)
    h, w = expected(given, kwargs).shape[2:]
    for shape in ((1, 1, 1, 1), (2, 1, 1, w), (1, 1, h, 1)):
        given["noise"] = rand(*shape).float()
        check(forced(given, kwargs), expected(given, kwargs))
    assert len(calls["convolve"]) == (6 if case == "up" and samples == "apart" else 3)


@pytest.mark.parametrize(
    "changed",
    [
        *[dict(padding=[1, 0, 1, 1]), dict(padding=[1, 1, 2, 1]), dict(padding=-1)],
        *[dict(act="swish"), dict(down=2), dict(up=3), dict(up=2, down=2), dict(n=0)],
    ],
    ids=str,
)
def test_layers_that_fall_to_others(changed, calls):
    """Without a word, and right."""
    given, kwargs = inputs("3x3", **changed)
    if changed.get("n") == 0:
        assert forced(given, kwargs).shape == (0, 48, 9, 7)
    else:
        check(forced(given, kwargs), expected(given, kwargs))
    assert not any(calls.values())


def test_others_that_fall_to_others(calls):
    given, kwargs = inputs("3x3")
    dense = {**given, "noise": rand(2, 48, 9, 7).float()}
    check(forced(dense, kwargs), expected(dense, kwargs))
    with backend("reference"):
        check(forced(given, kwargs), expected(given, kwargs))
    with torch.autocast("cpu", torch.bfloat16):
        y = forced(given, kwargs)
        assert y.dtype == torch.bfloat16 and (y - expected(given, kwargs)).abs().max() < 0.05
    for kernel in (1, 5):
        other = {**given, "weight": rand(48, 32, kernel, kernel).float()}
        check(forced(other, kwargs), expected(other, kwargs))
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        other = {**given, "x": given["x"].to(dtype)}
        if dtype == torch.float64:
            other = {k: v.double() for k, v in given.items()}
        y = forced(other, kwargs)
        error = (y.double() - expected(given, kwargs)).abs().max()
        assert y.dtype == dtype and error < 0.05
    assert not any(calls.values())


def test_gradients_do_not_see_it(calls, monkeypatch):
    """It has none; a convolution of another strategy may take its kernels."""
    rule(monkeypatch)
    given, kwargs = inputs("3x3", act="linear", clamp=None)
    for name in given:
        leaf = given[name].clone().requires_grad_()
        with plan.forced("winograd"):
            y = modulated_conv2d(**{**given, name: leaf}, **kwargs)
        wide = {k: v.double() for k, v in given.items()}
        wide[name].requires_grad_()
        exact = modulated_conv2d_ref(**wide, **kwargs)
        check(
            torch.autograd.grad(y.square().sum(), leaf)[0],
            torch.autograd.grad(exact.square().sum(), wide[name])[0],
        )
    assert not any(calls.values())


def test_function_transforms(calls):
    given, kwargs = inputs("3x3", n=1)
    styles = given.pop("styles")

    def op(s):
        return modulated_conv2d(**given, styles=s, **kwargs)

    with torch.no_grad(), plan.forced("winograd"):
        check(torch.func.vmap(op)(styles[None])[0], op(styles).double())
        tangent = torch.func.jvp(op, (styles,), (styles,))[1]
    assert tangent.isfinite().all() and len(calls["convolve"]) == 1


@pytest.mark.parametrize("case", ["3x3", "up"])
def test_by_rule(case, calls, monkeypatch):
    """The first candidate is the one of `planning("fixed")`: Winograd where it is said to win."""
    best = "up" if case == "up" else "tile4"
    for forms, once, size in (((best,), 0, 4), ((), 0, 4), ((best,), 400, 4), ((best,), 400, 33)):
        taken = [best] if forms and size**2 > once else []
        with monkeypatch.context() as patch:
            rule(patch, *forms, once=once)
            given, kwargs = inputs(case, 1, size=(size, size))
            resampling = Resampling(kwargs.get("up", 1), padding=kwargs["padding"])
            found = candidates(given["x"], given["weight"], resampling)
            assert (found.names[0] == "winograd") == bool(taken) and "winograd" in found.others
            calls["convolve"].clear()
            with torch.no_grad(), planning("fixed"):
                check(modulated_conv2d(**given, **kwargs), expected(given, kwargs))
            assert calls["convolve"] == taken


def test_images_of_few_channels_are_not_copied():
    """To channels_last and back, which takes as long as is gained."""
    for channels, size in ((64, 64), (512, 32)):
        x, weight = rand(1, channels, size, size).float(), torch.zeros(channels, channels, 3, 3)
        last = x.contiguous(memory_format=torch.channels_last)
        found = [
            candidates(x, weight, Resampling(padding=1)).names[0] == "winograd" for x in (x, last)
        ]
        best = winograd.best_form(("tile2", "tile4"), 1, (channels,) * 2, (size,) * 2)
        assert found == [best is not None and channels == 512, best is not None]


def test_the_form_that_costs_least(monkeypatch):
    for costs, best in (((1, 1), "tile4"), ((1, 9), "tile2"), ((40, 150), None)):
        both = {"tile2": Cost(2, costs[0], 0, 0, 0), "tile4": Cost(4, costs[1], 0, 0, 0)}
        monkeypatch.setattr(winograd, "COSTS", both)
        for forms in (("tile2", "tile4"), ("tile4", "tile2")):
            assert winograd.best_form(forms, 1, (32, 32), (64, 64), isa=2) == best


def test_the_rule():
    """A form is taken where one is faster than a direct convolution, the fastest of them; not with
    few pixels, whose weights cost too much unless they are transformed already."""
    both = ("tile2", "tile4")
    for size in ((4, 4), (9, 9), (16, 16), (64, 65)):
        for channels in ((16, 16), (64, 64), (512, 64)):
            for n, folded, isa in ((1, True, 2), (1, False, 0), (8, False, 2)):
                args = n, channels, size, folded
                alone = {winograd.best_form((form,), *args, isa=isa) for form in both}
                found = winograd.best_form(both, *args, isa=isa)
                assert found in alone and (found is None) == (alone == {None})
    best, many = winograd.best_form, (512, 512)
    assert best(both, 1, many, (64, 64), isa=2) == "tile4"
    assert best(("up",), 1, many, (129, 129), isa=2) == "up"
    assert best(("down",), 1, many, (64, 64), isa=2) == "down"
    assert best(both, 1, many, (4, 4), isa=2) is None
    assert best(both, 1, many, (16, 16), True, isa=2) == "tile4"
    assert best(both, 1, (16, 16), (8, 8), isa=2) is None
    portable = [best(both, 1, (c, c), (32, 32), isa=0) for c in (16, 32, 64)]
    vectors = [best(both, 1, (c, c), (32, 32), isa=2) for c in (16, 32, 64)]
    assert portable.count(None) > vectors.count(None)  # slower against the library
    assert winograd.worth_folding("tile4", many, (16, 16))
    assert not winograd.worth_folding("tile4", many, (256, 256))
