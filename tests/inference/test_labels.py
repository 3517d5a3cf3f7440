# SPDX-License-Identifier: Apache-2.0
"""Labels in every form that callers give them in, and truncation towards the mean of a class."""

import unicodedata

import numpy as np
import pytest
import torch
from support.pipelines import arrays
from support.tiny import tiny

from stylegan import Networks, Pipeline, UserError, build_generator
from stylegan.inference.labels import LabelSpace, find_labels

NAMES = ("café", "dog", "7")
CLASSES = LabelSpace(3, NAMES, (5, 0, 2))
VECTORS = LabelSpace(3, vectors=torch.tensor([[0.2, 1, 0], [0.9, 0, 0.5]]), has_classes=False)
UNKNOWN = LabelSpace(3, has_classes=False)


def conditional(meta, center="all", c_dim=3, **more):
    config = tiny(c_dim=c_dim)
    torch.manual_seed(0)
    G = build_generator(config)
    return Pipeline(Networks(config, meta, G_ema=G, **more), truncation_center=center)


@pytest.mark.parametrize(
    "label, number",
    [
        ("café", 0),
        (unicodedata.normalize("NFD", "CAFÉ"), 0),
        (np.int64(1), 1),
        (np.array(1), 1),
        (torch.tensor(1), 1),
        ("1", 1),
        ("7", 2),
    ],
    ids=str,
)
def test_a_class_is_a_number_or_a_name(label, number):
    found = find_labels(label, [4, 5], CLASSES)
    assert found.numbers == [number, number]
    assert found.c.argmax(1).tolist() == [number, number] and found.c.sum() == 2


def test_by_default_a_class_has_images():
    assert find_labels(None, range(4), CLASSES).numbers == [0, 2, 0, 2]
    assert find_labels(None, range(4), LabelSpace(3, NAMES)).numbers == [0, 1, 2, 0]
    assert find_labels(None, range(4), LabelSpace(3, NAMES, (0, 0, 0))).numbers == [0, 1, 2, 0]


def test_by_default_vectors_are_those_of_the_training_set():
    found = find_labels(None, [0, 1, 4], VECTORS)
    assert found.numbers is None
    assert torch.equal(found.c, VECTORS.vectors[[0, 1, 0]])
    found.c.zero_()
    assert VECTORS.vectors.any()  # not the snapshot's own memory


@pytest.mark.parametrize("space", [CLASSES, VECTORS])
@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, tuple])
def test_a_vector_for_all_and_one_for_each(space, kind):
    one, two = [0.5, 0, 0.25], [1, 0, 0]
    assert find_labels(kind(one), [0, 1], space).c.tolist() == [one, one]
    assert find_labels(kind([one, two]), [0, 1], space).c.tolist() == [one, two]
    assert find_labels([torch.tensor(one), torch.tensor(two)], [0, 1], space).c.tolist()[1] == two


@pytest.mark.parametrize(
    "label, numbers",
    [
        ([0, 2], [0, 2]),
        ((1, 1), [1, 1]),
        (["dog", "CAFÉ"], [1, 0]),
        (["dog", 0], [1, 0]),
        (["7", 1], [2, 1]),
        (np.array([2, 0], np.uint8), [2, 0]),
        (np.array(["dog", "7"]), [1, 2]),
        (torch.tensor([1, 0]), [1, 0]),
        ([np.int64(2), torch.tensor(1)], [2, 1]),
        (range(2), [0, 1]),
    ],
    ids=str,
)
def test_a_class_for_each_image(label, numbers):
    found = find_labels(label, [7, 7], CLASSES)
    assert found.numbers == numbers
    assert found.c.argmax(1).tolist() == numbers and found.c.sum() == 2


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_as_many_images_as_classes(kind):
    """Integers are classes, numbers with a decimal point a vector for all."""
    two = LabelSpace(2, ("cat", "dog"))
    assert find_labels(kind([0, 1]), [5, 6], two).c.tolist() == [[1, 0], [0, 1]]
    assert find_labels(kind([0.0, 1.0]), [5, 6], two).c.tolist() == [[0, 1], [0, 1]]
    numbers = LabelSpace(2, vectors=torch.zeros(1, 2), has_classes=False)
    assert find_labels(kind([0, 1]), [5, 6], numbers).c.tolist() == [[0, 1], [0, 1]]


def test_a_pipeline_draws_a_class_for_each_image():
    pipe = conditional({"dataset": {"class_names": list(NAMES)}})
    out = pipe(seeds=[4, 4, 9], label=["dog", 0, "7"])
    assert out.labels == [1, 0, 2]
    alone = [pipe(seeds=s, label=c).images[0] for s, c in ((4, 1), (4, 0), (9, 2))]
    assert np.abs(arrays(out.images) - arrays(alone)).max() <= 1
    assert pipe.map(seeds=[4, 9], label=[2, 1]).labels == [2, 1]


@pytest.mark.parametrize(
    "label, space, message",
    [
        (1, VECTORS, "class '1': the labels of this network are vectors, not classes; give 3"),
        ("dog", UNKNOWN, "are vectors, not classes"),
        (None, UNKNOWN, "label: this network takes a vector of 3 numbers; give one"),
        (3, CLASSES, "class '3': expected a number from 0 to 2 or one of café, dog, 7"),
        (-1, CLASSES, "class '-1': expected"),
        (1.0, CLASSES, "label: expected the number or the name of a class, or a vector, got 1.0"),
        (True, CLASSES, "label: expected the number or the name"),
        (np.float32(1), CLASSES, "label: expected the number or the name"),
        (torch.tensor(True), CLASSES, "label: expected the number or the name"),
        ([1.0, 0], CLASSES, r"label: expected \[3\], got \[2\]"),
        (np.zeros((4, 3)), CLASSES, r"label: expected \[3\] or \[2, 3\], got \[4, 3\]"),
        ([0, np.nan, 0], CLASSES, "label: expected finite numbers"),
        (np.zeros(3, complex), VECTORS, "label: expected real numbers, got torch.complex128"),
        (["dog"], CLASSES, "label: expected 2 classes, one for each image, got 1"),
        (["dog"] * 3, CLASSES, "label: expected 2 classes, one for each image, got 3$"),
        ([0, 1, 0], CLASSES, "for each image, got 3; a vector needs decimal points, as in 1.0"),
        (["dog", "fish"], CLASSES, "class 'fish': expected a number from 0 to 2 or one of"),
        ([0, 3], CLASSES, "class '3': expected"),
        (["dog", 1.0], CLASSES, "label: expected the number or the name of a class, or a vector"),
        (["dog", [0, 1, 0]], CLASSES, "label: expected classes or vectors, got a mixture of both"),
        (["dog", "dog"], VECTORS, "are vectors, not classes; give 3 numbers"),
        ([0, 1], VECTORS, r"label: expected \[3\], got \[2\]"),
        ([], CLASSES, r"label: expected \[3\], got \[0\]"),
        ([[1, 0, 0], [1]], VECTORS, "label: expected 3 numbers, got"),
        ((i for i in range(3)), VECTORS, "label: expected the number or the name"),
        (0, LabelSpace(0), "class 0: this network has no classes"),
    ],
)
def test_refused(label, space, message):
    with pytest.raises(UserError, match=message) as caught:
        find_labels(label, [0, 1], space)
    assert "\n" not in str(caught.value)


def test_many_classes_do_not_make_a_square_matrix(monkeypatch):
    monkeypatch.setattr(torch, "eye", lambda *a: pytest.fail("c_dim^2 numbers"))
    found = find_labels(None, [19_999, 20_001], LabelSpace(20_000, [str(i) for i in range(20_000)]))
    assert found.numbers == [19_999, 1] and found.c.sum() == 2


def test_pipelines_know_what_their_networks_were_trained_on():
    data = {"dataset": {"class_names": list(NAMES), "class_counts": [5, 0, 2]}}
    assert conditional(data)(seeds=range(4)).labels == [0, 2, 0, 2]
    vectors = torch.tensor([[0.2, 1, 0]])
    pipe = conditional({"dataset": {}}, label_vectors=vectors)
    given = pipe.map(seeds=[3], label=vectors[0]).ws
    assert torch.equal(pipe.map(seeds=[3]).ws, given)
    with pytest.raises(UserError, match="are vectors"):
        conditional({"dataset": {"images": 3}})(seeds=[0], label=1)
    assert conditional({})(seeds=[0], label=1).labels == [1]  # nothing is known of the data


def test_truncation_towards_the_class():
    meta = {"dataset": {"class_names": list(NAMES)}}
    by_class, by_all = conditional(meta, "class"), conditional(meta)
    first, second = (by_class.map(seeds=[0, 1], label=i, truncation_psi=0).ws for i in (0, 1))
    assert torch.equal(first[0], first[1])  # psi 0 is the mean,
    assert (first - second).abs().max() > 0.05  # of the class
    for label in (0, 1):
        w = by_class.map(seeds=range(2000), label=label).ws[:, 0]
        mean = by_class.map(seeds=[0], label=label, truncation_psi=0).ws[0, 0]
        assert (mean - w.mean(0)).norm() < 0.2 * w.std(0).norm()
    same = [p.map(seeds=[3], label=1).ws for p in (by_class, by_all)]
    assert torch.equal(*same)  # psi 1
    assert torch.equal(*(by_all.map(seeds=[0], label=i, truncation_psi=0).ws for i in (0, 1)))
    again = conditional(meta, "class").map(seeds=[0], label=0, truncation_psi=0).ws
    assert torch.equal(again, first[:1])  # in another process too: always the same latents
    cut = by_class.map(seeds=[3], label=1, truncation_psi=0.5, truncation_cutoff=2).ws
    assert torch.equal(cut[:, 2:], same[0][:, 2:]) and not torch.equal(cut[:, :2], same[0][:, :2])


def test_images_of_several_classes_have_their_own_mean_each():
    pipe = conditional({"dataset": {"class_names": list(NAMES)}}, "class")
    each = [arrays(pipe(seeds=[9], label=i, truncation_psi=0).images)[0] for i in range(3)]
    together = arrays(pipe(seeds=[0, 1, 2], truncation_psi=0).images)
    assert np.abs(together - np.stack(each)).max() <= 1


def test_a_center_that_does_not_exist():
    with pytest.raises(UserError, match="truncation_center: expected all or class, got 'mean'"):
        conditional({}, "mean")
    with pytest.raises(UserError, match="truncation_center: this network has no classes"):
        conditional({}, "class", c_dim=0)
