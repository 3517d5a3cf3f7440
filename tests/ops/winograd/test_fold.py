# SPDX-License-Identifier: Apache-2.0
"""Folded weights with tiles, in eager mode, in layers of the generator and under the compiler."""

from dataclasses import replace

import pytest
import torch
from ops.winograd.cases import logged, rule
from ops.winograd.layers import F, check, expected, forced, inputs
from support.cases import by_pairs, mostly_thorough
from support.checks import LAYOUTS, rand
from support.native import needs_native
from support.tiny import tiny

from stylegan.models.stylegan2 import SynthesisLayer
from stylegan_ops import backend, fold_weight, modulated_conv2d, planning
from stylegan_ops.layer import winograd
from stylegan_ops.layer.choose import candidates
from stylegan_ops.layer.fold import MAX_FOLDED_TIME
from stylegan_ops.layer.records import Resampling

pytestmark = needs_native


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    return logged(monkeypatch)


@pytest.mark.parametrize("up", [1, 2])
def test_fold_weight(up, monkeypatch):
    """Tiles where they are faster than a direct convolution, for images of that size, and worth
    their memory."""
    weight, best = rand(48, 32, 3, 3).float(), "up" if up == 2 else "tile2"
    rule(monkeypatch, best, once=400)
    asked = []
    own = winograd.best_form
    monkeypatch.setattr(winograd, "best_form", lambda *a, **k: asked.append((a, k)) or own(*a, **k))
    for flip in (True, False):
        t = fold_weight(weight, up=up, size=(40, 33), flip_weight=flip).tiles
        same = winograd.tiles(weight, best, flip == (up == 2))
        assert torch.equal(t.u, same.u) and same == replace(t, u=same.u)
        assert (t.out_channels, t.form, t.flip) == (48, best, flip == (up == 2))
    forms = ("up",) if up == 2 else ("tile2", "tile4")
    shape = (32, 48), (81, 67) if up == 2 else (40, 33)
    assert asked[0] == ((forms, 1, *shape), {"folded": True, "below": MAX_FOLDED_TIME})
    assert fold_weight(weight, up=up, size=(8, 4)).tiles is None
    monkeypatch.setattr(winograd, "worth_folding", lambda *args: False)
    assert fold_weight(weight, up=up, size=(40, 33)).tiles is None


def test_fold_weight_without_tiles(monkeypatch):
    rule(monkeypatch, "tile4", "up")
    weight, known = rand(64, 64, 3, 3).float(), {"size": (16, 16)}
    assert fold_weight(weight, **known).tiles is not None
    assert fold_weight(weight.bfloat16(), **known).tiles is not None  # for images in float32
    assert fold_weight(weight).tiles is None
    assert fold_weight(weight, up=3, **known).tiles is None
    assert fold_weight(weight[:24, :23], padding=2, **known).tiles is not None
    assert fold_weight(weight[..., :1, :1], **known).tiles is None
    assert fold_weight(weight[..., :2], **known).tiles is None
    assert fold_weight(weight.double(), **known).tiles is None
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert fold_weight(weight, dtype, **known).tiles is None
    with backend("reference"):
        assert fold_weight(weight, **known).tiles is None


@by_pairs(case=["3x3", "up"], flip=[True, False], layout=LAYOUTS)
def test_folded_weights(case, flip, layout, calls, monkeypatch):
    """Its tiles are taken, by images of any size. Where they do not fit, others are made."""
    rule(monkeypatch, "tile2", "up")
    given, kwargs = inputs(case, flip_weight=flip)
    up = kwargs.get("up", 1)
    folded = fold_weight(
        given["weight"], up=up, memory_format=layout, size=(40, 33), flip_weight=flip
    )
    calls["tiles"].clear()
    for n, size in ((1, (12, 7)), (2, (9, 11))):
        given["x"] = rand(n, 32, *size).float().contiguous(memory_format=layout)
        given["styles"] = rand(n, 32, seed=4).float() + 1
        check(forced({**given, "weight": folded}, kwargs), expected(given, kwargs))
    assert len(calls["convolve"]) == 2 and not calls["tiles"]
    up = {"up": 3 - up, "resample_filter": F}
    for other in ({"flip_weight": not flip}, up, {**up, "flip_weight": not flip}):
        changed = {**kwargs, **other}
        check(forced({**given, "weight": folded}, changed), expected(given, changed))
    assert len(calls["convolve"]) == 5 and len(calls["tiles"]) == 3


def test_by_rule(monkeypatch):
    """Whether the tiles that there are beat a direct convolution, for the size of the image."""
    rule(monkeypatch, "tile4", once=400)
    weight = rand(48, 48, 3, 3).float()
    folded = fold_weight(weight, size=(64, 64))
    assert folded.tiles.form == "tile4"
    smaller = replace(folded, tiles=winograd.tiles(weight, "tile2"))
    for size, given, best in ((64, folded, True), (4, folded, False), (64, smaller, False)):
        x = rand(1, 48, size, size).float()
        assert (candidates(x, given, Resampling(padding=1)).names[0] == "winograd") == best


def test_tiles_that_there_are_need_not_be_made(monkeypatch):
    rule(monkeypatch, "tile4")
    cost = replace(winograd.COSTS["tile4"], weights=1e9)
    monkeypatch.setitem(winograd.COSTS, "tile4", cost)
    x, weight = rand(1, 48, 16, 16).float(), rand(48, 48, 3, 3).float()
    folded = fold_weight(weight, size=(16, 16))
    best = [candidates(x, given, Resampling(padding=1)).names[0] for given in (folded, weight)]
    assert best[0] == "winograd" != best[1]


@pytest.mark.parametrize("up", [1, 2])
def test_layers_of_the_generator(up, calls, monkeypatch):
    """Folding a layer makes the tiles that it meets, once."""
    rule(monkeypatch, "tile4", "up")
    sizes = []
    own = winograd.best_form
    monkeypatch.setattr(winograd, "best_form", lambda *a, **k: sizes.append(a[3]) or own(*a, **k))
    torch.manual_seed(0)
    layer = SynthesisLayer(32, 48, (16, 24), tiny().G, up).eval()
    x, w = rand(1, 32, 16 // up, 24 // up).float(), rand(1, 8).float()
    with torch.no_grad():
        plain = layer.double()(x.double(), w.double(), "const")
        layer.float().fold(torch.float32)
        made = len(calls["tiles"])
        with planning("fixed"):
            check(layer(x, w, "const"), plain)
    assert calls["tiles"] == ["up" if up == 2 else "tile4"] and made == 1
    assert len(calls["convolve"]) == 1
    assert sizes and set(map(tuple, sizes)) == {(17, 25) if up == 2 else (16, 24)}


def compiled(op):
    """(op compiled without breaks, the graphs that it has made)"""
    graphs = []

    def keep(graph, _):
        graphs.append(graph)
        return graph

    torch.compiler.reset()
    return torch.compile(op, fullgraph=True, backend=keep), graphs


def ours(graph):
    """The names of our ops in a graph."""
    names = [str(node.target).split(".") for node in graph.graph.nodes]
    return {name[1] for name in names if name[0] == "stylegan_ops"}


@mostly_thorough("case", ["3x3", "up"], ["3x3"])
@pytest.mark.filterwarnings("error:.*lru_cache")
def test_compiled(case, monkeypatch):
    """Folded tiles are taken; others would be transformed in every call. Without a break, and at
    other sizes, too."""
    rule(monkeypatch, "tile4", "up", once=10)
    size = (10, 8)
    given, kwargs = inputs(case, 1, size=size)
    del given["x"]
    up = kwargs.get("up", 1)
    flip = kwargs["flip_weight"] = up == 1
    folded = fold_weight(given["weight"], up=up, size=size, flip_weight=flip)
    for weight, taken in ((folded, {"winograd"}), (given["weight"], set())):
        run, graphs = compiled(
            lambda x, w=weight: modulated_conv2d(x, **{**given, "weight": w}, **kwargs),
        )
        for other in (size, (12, 7), (11, 9)):
            x = rand(1, 32, *other).float()
            with torch.no_grad():
                check(run(x), expected({"x": x, **given}, kwargs))
        for graph in graphs:
            assert {op for op in ours(graph) if op.startswith("winograd")} == taken


@pytest.mark.thorough
def test_compiled_to_the_end(monkeypatch):
    rule(monkeypatch, "tile4")
    given, kwargs = inputs("3x3", 1)
    exact = expected(given, kwargs)
    given["weight"] = fold_weight(given["weight"], size=(9, 7))
    x = given.pop("x")
    run = torch.compile(
        lambda x: modulated_conv2d(x, **given, **kwargs), fullgraph=True, backend="aot_eager"
    )
    with torch.no_grad():
        check(run(x), exact)
