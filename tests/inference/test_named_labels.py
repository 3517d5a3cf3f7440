# SPDX-License-Identifier: Apache-2.0
"""Labels by name, of networks whose labels are vectors with names."""

import unicodedata

import numpy as np
import pytest
import torch
from support.snapshots import NAMES, ROWS
from support.tiny import tiny

from stylegan import Networks, Pipeline, UserError, build_generator
from stylegan.inference.labels import LabelSpace, find_labels
from stylegan.inference.named import Names

SPACE = LabelSpace(3, (), (), torch.tensor(ROWS), False, NAMES)
ALL = (0, 1, 2, 3, 4)


def rows(label, seeds=ALL, space=SPACE):
    return [tuple(row) for row in find_labels(label, seeds, space).c.tolist()]


@pytest.mark.parametrize(
    "label, expected",
    [
        # Those that have it, in turn.
        ({"glasses": 1}, [ROWS[0], ROWS[1], ROWS[3], ROWS[0], ROWS[1]]),
        ({"glasses": 1, "Hat": 1}, [ROWS[0], ROWS[3]] * 2 + [ROWS[0]]),
        # 0 excludes it.
        ({"glasses": 1, "Hat": 0}, [ROWS[1]] * 5),
        ({"glasses": 0}, [ROWS[2]] * 5),
        # Another number chooses alike, and is set.
        ({"glasses": 0.5, "Hat": 0}, [(0.5, 0, 0)] * 5),
        ({"é": 2}, [(1, 1, 2), (0, 1, 2)] * 2 + [(1, 1, 2)]),
        ({"glasses": -1}, [(-1, 1, 0.25)] * 5),
        # No image has both.
        ({"glasses": 0, "Hat": 0}, [(0, 0, 0)] * 5),
        ({"Hat": 0, "é": 0.5}, [(0, 0, 0.5)] * 5),
        # Nothing is named.
        ({}, [*ROWS, ROWS[0]]),
        ({"glasses": True, "Hat": np.float32(0)}, [ROWS[1]] * 5),
        ("glasses,hat=0", [ROWS[1]] * 5),
    ],
    ids=str,
)
def test_other_labels_are_those_of_training_images(label, expected):
    assert rows(label) == expected
    assert rows(label, [4, 0]) == [expected[4], expected[0]]  # by seed, not by place
    found = find_labels(label, [0], SPACE)
    found.c.fill_(9)
    assert SPACE.vectors.tolist() == torch.tensor(ROWS).tolist() and found.numbers is None


def test_without_kept_labels_the_others_are_0():
    assert rows({"hat": 1}, [3], LabelSpace(3, (), (), None, False, NAMES)) == [(0, 1, 0)]


@pytest.mark.parametrize("kind", [list, tuple, lambda v: np.array(v, object)])
def test_a_label_for_each_image(kind):
    both = kind([{"hat": 0}, {"glasses": 0}])
    assert rows(both, [5, 9]) == [ROWS[1], ROWS[2]]
    assert rows(kind(["hat=0", {"glasses": 0}]), [5, 9]) == [ROWS[1], ROWS[2]]


@pytest.mark.parametrize(
    "text, values",
    [
        ("glasses", {0: 1}),
        (" GLASSES , hat ", {0: 1, 1: 1}),
        ("hat=0.5,glasses=-1e-1", {1: 0.5, 0: -0.1}),
        (unicodedata.normalize("NFD", "É") + "=2", {2: 2}),
        ("hat = 1", {1: 1}),
    ],
)
def test_text(text, values):
    assert Names(NAMES).values(text) == values
    assert Names(NAMES).values(Names(NAMES).text(values)) == values


def test_odd_names():
    names = Names(["a", "A", "a,b", "x=1", "1", "a"])
    assert names.values("a,A,a,b,x=1,1=0.5") == {0: 1, 1: 1, 2: 1, 3: 1, 4: 0.5}
    assert names.values("x=1=3") == {3: 3} and names.index("B") is None
    assert Names(NAMES).words([0, 1, 0.5]) == "Hat, é=0.5" and Names(NAMES).words([0] * 3) == "none"
    assert Names(NAMES).all([0, 1, 0.5]) == "glasses=0,Hat=1,é=0.5"


@pytest.mark.parametrize(
    "label, message",
    [
        ("glases", "label 'glases': expected one of glasses, Hat, é"),
        ("hat,glases=3", "label 'glases': expected one of"),
        ("", "label '': expected one of"),
        ({1: 1}, "label 1: expected one of"),
        ("hat,HAT=0", "label 'HAT': is given twice"),
        ("hat=", "label 'hat': expected a number, got ''"),
        ("hat=nan", "label 'hat': expected a number, got 'nan'"),
        ({"hat": 1e39}, "label 'hat': expected a number, got 1e+39"),
        ({"hat": None}, "label 'hat': expected a number, got None"),
        ({"hat": torch.zeros(2)}, "label 'hat': expected a number, got Tensor of shape"),
        ([{"hat": 1}], "label: expected 2 labels, one for each image, got 1"),
        ([{"hat": 1}, [1, 0, 0]], "label: expected labels by name or vectors, got a mixture of b"),
    ],
    ids=str,
)
def test_wrong_labels(label, message):
    with pytest.raises(UserError) as e:
        find_labels(label, [0, 1], SPACE)
    assert str(e.value).startswith(message), e.value


@pytest.mark.parametrize(
    "space, needed",
    [
        (LabelSpace(3, ("a", "b", "c")), "give a class"),
        (LabelSpace(3, has_classes=False), "give 3 numbers"),
    ],
)
def test_networks_without_names(space, needed):
    with pytest.raises(UserError, match=f"labels of this network have no names; {needed}"):
        find_labels({"a": 1}, [0], space)


@pytest.mark.parametrize(
    "given, found",
    [
        (list(NAMES), NAMES),
        (["a", "b"], ()),
        (["a", "b", 3], ()),
        ("abc", ()),
        (None, ()),
    ],
)
def test_names_of_a_pipeline(given, found):
    config = tiny(c_dim=3)
    meta = {"dataset": {"name": "x", "class_names": [], "label_names": given}}
    nets = Networks(config, meta, G_ema=build_generator(config), label_vectors=torch.tensor(ROWS))
    assert nets.label_names == found
    assert ("3 labels (glasses, Hat, é)" in repr(nets)) == bool(found)
    if found:
        pipe = Pipeline(nets)
        one = pipe(seeds=[1, 2], label=[{"glasses": 1}, {"hat": 0}], output_type="pt").images
        same = pipe(seeds=[1, 2], label=[list(ROWS[1]), list(ROWS[1])], output_type="pt").images
        assert torch.equal(one, same)
