# SPDX-License-Identifier: Apache-2.0
"""Labels in the forms that people write, and those that are refused with the right form."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from support.pictures import encoded, picture

from stylegan import UserError
from stylegan.data.dataset import ImageDataset
from stylegan.data.label_file import read_labels
from stylegan.data.labels import Labels, labels_of
from stylegan.data.preparation import prepare

IMAGE = encoded(picture())
NAMES = ("a.png", "b.png", "c.png", "d.png")


def data_of(store, content, names=NAMES, **options):
    text = content if isinstance(content, str) else json.dumps(content)
    return ImageDataset(
        store({**dict.fromkeys(names, IMAGE), "dataset.json": text.encode()}), **options
    )


def rows(*values):
    return {"labels": [[name, value] for name, value in zip(NAMES, values)]}


def names_for(count):
    return NAMES[:count]


@pytest.mark.parametrize(
    "values, numbers, names",
    [
        ((True, False), [1, 0], ("false", "true")),
        ((True, 2, 0), [1, 2, 0], ("0", "1", "2")),
        (("cat", "ant", "cat"), [1, 0, 1], ("ant", "cat")),
        (("b", "10", "9"), [2, 1, 0], ("9", "10", "b")),
        ((3.0, 0.0, 1), [3, 0, 1], ("0", "1", "2", "3")),
        (("3", "0"), [3, 0], ("0", "1", "2", "3")),
        (("3.0", " 1 "), [3, 1], ("0", "1", "2", "3")),
        (("3", 1, 2.0, True), [3, 1, 2, 1], ("0", "1", "2", "3")),
        ((" cat", "cat"), [0, 0], ("cat",)),
        (("No. 1", "1-2", "two words"), [1, 0, 2], ("1-2", "No. 1", "two words")),
        (([1, 0, 0], [0, 0, 1]), [0, 2], ("0", "1", "2")),
        (([False, True], [True, False]), [1, 0], ("0", "1")),
        (([1.0, 0], [1, 0.0]), [0, 0], ("0", "1")),
    ],
)
def test_what_counts_as_classes(store, tmp_path, values, numbers, names):
    data = data_of(store, rows(*values), names_for(len(values)))
    assert data.labels.values.tolist() == numbers and data.class_names == names
    assert data.class_counts == tuple(np.bincount(numbers, minlength=len(names)))
    done = prepare(data.path, tmp_path / "out", workers=0)
    assert done.class_names == names
    again = ImageDataset(tmp_path / "out")
    assert again.labels.values.tolist() == numbers and again.class_names == names


@pytest.mark.parametrize(
    "values",
    [
        ([0.2, 1, 0], [1, 0, 0]),
        ([True, True], [False, True]),
        ([1, 1, 0], [0, 0, 1]),
        ([0, 0], [1, 0]),
        ([1], [0]),
        ([2, 0], [0, 2]),
    ],
)
def test_what_counts_as_vectors(store, tmp_path, values):
    content = {**rows(*values), "label_names": [f"is_{i}" for i in range(len(values[0]))]}
    data = data_of(store, content, names_for(len(values)))
    assert data.class_names == () == data.class_counts and data.c_dim == len(values[0])
    assert (data.labels.values == np.array(values, np.float32)).all()
    prepare(data.path, tmp_path / "out", workers=0)
    again = ImageDataset(tmp_path / "out").labels
    assert again.attributes == data.labels.attributes == tuple(content["label_names"])
    assert (again.values == data.labels.values).all()


@pytest.mark.parametrize(
    "values, given, numbers, names",
    [
        (("cat", "dog"), ["dog", "cat"], [1, 0], ("dog", "cat")),
        (("7", "9"), ["9", "7", "8"], [1, 0], ("9", "7", "8")),
        ((0, 2), {"0": "cat", "2": "dog"}, [0, 2], ("cat", "1", "dog")),
        ((0, 1), {"cat": 1, "dog": 0}, [0, 1], ("dog", "cat")),
        (([0, 1], [1, 0]), ["cat", "dog"], [1, 0], ("cat", "dog")),
        ((True, False), ["no", "yes"], [1, 0], ("no", "yes")),
        ((0, 1), [10, 20], [0, 1], ("10", "20")),
        ((0, 1), ["\ud800x", "cat "], [0, 1], ("?x", "cat")),
        ((0, 1), ["cat", "dog", "ant"], [0, 1], ("cat", "dog", "ant")),
    ],
)
def test_label_names(store, values, given, numbers, names):
    data = data_of(store, {**rows(*values), "label_names": given}, names_for(len(values)))
    assert data.labels.values.tolist() == numbers and data.class_names == names


@pytest.mark.parametrize(
    "content, message",
    [
        (
            {"labels": [["a.png", 1, 0, 0]]},
            r'the row \["a.png", 1, 0, 0\] must have two parts, as ',
        ),
        ({"labels": [["a.png", 1, 0, 0]]}, r'as in \["a.png", \[1, 0, 0\]\]'),
        ({"labels": [["a.png"]]}, r'the row \["a.png"\] must have two parts, as in \["a.png", 3\]'),
        ({"labels": [[]]}, r"the row \[\] must have two parts"),
        ({"labels": ["a.png", "b.png"]}, 'must be a list of .*, but has "a.png"'),
        (
            {"labels": [{"file": "a.png", "label": 1}]},
            r"must be a list of .*, but has {",
        ),
        ({"a.png": 3, "b.png": 1}, r'not under "labels"; it must be like {"labels": {"a.png": 3}}'),
        ([["a.png", 3]], r'a list; it must be .*: {"labels": \[\["a.png", 3\]\]}'),
        ("3", r"3; it must be an object like"),
        (rows("[1. 0. 0.]"), "is .*, expected a list, which is written without quotes"),
        (rows("array([1, 0])"), "is .*, expected a list, which is written without quotes"),
        (rows("1 0 0"), "is .*, expected a list, which is written without quotes"),
        (rows("0,1"), "is .*, expected a list, which is written without quotes"),
        (rows("cat", 3), "b.png is 3, expected a class name"),
        (rows(3, "cat"), 'b.png is "cat", expected a class number'),
        (rows([1, 0], 1), "b.png is 1, expected a list of 2 numbers"),
        (rows([[1, 0]]), r"a.png is \[\[1, 0\]\], expected a list of numbers"),
        (rows(["cat"]), r'a.png is \["cat"\], expected a list of numbers'),
        (rows({"x": 1}), "expected a class number from 0 on, a class name or a list"),
        (rows(-1), "a.png is -1, expected a class number from 0 on"),
        (rows(1e300), "expected a class number from 0 on"),
        (rows(10**9), "class number 1000000000 is too large; number them from 0"),
        (rows(1e12), "class number 1000000000000 is too large"),
        (rows("2026113021"), "class number 2026113021 is too large"),
        (rows(123456), "class number 123456 is too large; number them from 0"),
        ({**rows("cat"), "label_names": ["dog"]}, 'label of a.png, "cat", is not in "label_names"'),
        ({**rows(0), "label_names": "cat"}, r'"label_names" must be a list of names, \["cat", "d'),
        ({**rows(0), "label_names": [{"id": 0}]}, '"label_names" must be a list of names'),
        ({**rows(0), "label_names": {"0": "x", "a": "b"}}, '"label_names" must be a list of names'),
        ({**rows(0), "label_names": {"999999999": "x"}}, '"label_names" must be a list of names'),
        ({**rows([0.5, 1]), "label_names": ["x"]}, "have 2 numbers, but label_names has 1 names"),
        (
            {"labels": [["x.png", 1]]},
            "no label for a.png.*; the first name in it is x.png",
        ),
        ('{"labels": [["a.png", %s]]}' % ("9" * 5000), "cannot be read|expected a class number"),
    ],
)
def test_what_is_refused_shows_the_right_form(store, content, message):
    with pytest.raises(UserError, match=message) as e:
        data_of(store, content)
    assert "\n" not in str(e.value)
    data = data_of(store, content, cond=False)
    (note,) = data.notes
    assert len(data) == 4 and data.labels is None
    assert note == f"labels are not used: {e.value}"


@pytest.mark.parametrize("null", [None, "", float("nan")])
def test_labels_that_are_null(store, null):
    content = rows(1, null, 0, null)
    data = data_of(store, content)
    assert data.files == ["a.png", "c.png"] and data.labels.values.tolist() == [1, 0]
    assert data.notes == ["b.png and 1 more: no label in dataset.json, so left out"]
    data = data_of(store, content, cond=False)
    assert len(data) == 4 and data.labels is None
    assert data.notes == ["b.png and 1 more: no label in dataset.json, so labels are not used"]
    assert data_of(store, rows(null, null, null, null)).labels is None


@pytest.mark.parametrize(
    "content", [{"labels": []}, {"labels": {}}, "", "{", {"labels": [["x", 1]]}]
)
def test_a_stale_file_without_cond(store, content):
    data = data_of(store, content, cond=False)
    assert len(data) == 4 and data.c_dim == 0 and data.class_counts == ()
    assert data.notes[0].startswith("labels are not used: ") and len(data.notes) == 1
    with pytest.raises(UserError):
        data_of(store, content)


def test_two_labels_for_one_file(store):
    content = {"labels": [["a.png", 0], ["a.png", 1], ["b.png", 0], ["./b.png", 1]]}
    data = data_of(store, content, NAMES[:2])
    why = "two labels in dataset.json; the last one counts"
    assert data.labels.values.tolist() == [1, 1]
    assert data.notes[:2] == [f"a.png: {why}", f"b.png: {why}"]


@pytest.mark.parametrize(
    "values, note",
    [
        ((1, 2, 2), "class 0 has no images: the class numbers begin with 1, not 0"),
        ((0, 2, 2), "class 1 has no images"),
        ((0, 5), "4 of 6 classes have no images: 1, 2, 3, 4"),
        ((0, 99), "98 of 100 classes have no images: 1, 2, 3, 4, 5, 6, 7, 8, ..."),
    ],
)
def test_classes_without_images(store, tmp_path, values, note):
    names = names_for(len(values))
    data = data_of(store, rows(*values), names)
    assert data.c_dim == max(values) + 1 and data.notes == [note]
    assert data_of(store, rows(*values), names, cond=False).notes == []
    done = prepare(data.path, tmp_path / "out", workers=0)
    assert done.notes == [note] and ImageDataset(tmp_path / "out").c_dim == data.c_dim


def test_counts_of_a_subset(store):
    data = data_of(store, rows(0, 1, 2, 3), max_images=2)
    assert sum(data.class_counts) == 2 and len(data.class_counts) == 4
    assert data.notes[0].startswith("2 of 4 classes have no images")


def test_vectors_of_many_classes():
    """Not a matrix of all classes: 100,000 x 100,000 floats are 40 GB."""
    labels = Labels(np.arange(90_000), 90_000, ())
    one, two = labels.vectors(7), labels.vectors(np.array([[3, 4]]))
    assert one.shape == (90_000,) and one[7] == 1 == one.sum() and one.dtype == np.float32
    assert two.shape == (1, 2, 90_000) and two[0, 1, 4] == 1 and two.sum() == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("name", ["dataset.json", "Dataset.JSON"])
def test_encodings_of_the_file(store, tmp_path, encoding, name):
    text = json.dumps(rows("é", "a"), ensure_ascii=False)
    text = "\ufeff" + text if encoding == "utf-16-be" else text
    data = ImageDataset(store({**dict.fromkeys(NAMES[:2], IMAGE), name: text.encode(encoding)}))
    assert data.class_names == ("a", "é") and data.labels.values.tolist() == [1, 0]
    assert prepare(data.path, tmp_path / "out", workers=0).ignored == {}


def test_json_without_labels_is_no_silence(store):
    data = data_of(store, {"name": "mine", "images": []})
    assert data.labels is None and data.notes == ['dataset.json: has no "labels", and is not used']
    assert data_of(store, {"labels": None}).notes == []


@pytest.mark.parametrize("name", ["labels.csv", "x/Labels.CSV", "metadata.jsonl", "a.cls"])
def test_other_files_of_labels_are_named(store, name):
    path = store({"a.png": IMAGE, name: b"a.png,3"})
    note = f'{name} is not read; labels come from a dataset.json like {{"labels": [["a.png", 3]]}}'
    assert ImageDataset(path).notes == [note]


def test_other_files_are_not_named_beside_classes(store):
    assert ImageDataset(store({"a/1.png": IMAGE, "b/1.png": IMAGE, "x.csv": b""})).notes == []
    assert ImageDataset(store({"a/1.png": IMAGE, "b/1.png": IMAGE, "labels.csv": b""})).c_dim == 2


class OneFile:
    """A source of three images and a dataset.json."""

    path, names, problems, notes = Path("x"), ["a.png", "b.png", "dataset.json", "x/c.png"], [], []

    def __init__(self, content):
        self.read = lambda name: json.dumps(content).encode()


VALUES = [None, True, False, 0, 1, 3, -1, 3.0, 0.5, 1e308, 10**400, float("nan"), float("inf")]
VALUES += ["3", "cat", "", "[1 0]", "é", "\ud800", "\0", "1" * 400, [0, 1], [1, 0], [0.5, 2]]


def any_value(rng, depth=0):
    kind = rng.randrange(len(VALUES) + 2 * (depth < 3))
    if kind < len(VALUES):
        return VALUES[kind]
    inner = [any_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return inner if kind == len(VALUES) else {str(i): v for i, v in enumerate(inner)}


@pytest.mark.parametrize("seed", range(8))
def test_any_json_is_labels_or_one_line(seed):
    rng = random.Random(seed)
    images = ["a.png", "b.png", "x/c.png"]
    for _ in range(300):
        value, mixed = any_value(rng), rng.random() < 0.5
        given = [[name, any_value(rng) if mixed else value] for name in images]
        if rng.random() < 0.2:
            given.append(any_value(rng))
        content = {"labels": given, "label_names": any_value(rng)}
        try:
            found = read_labels(OneFile(any_value(rng) if rng.random() < 0.05 else content), images)
        except UserError as e:
            assert "\n" not in str(e)
            continue
        if found.labels:
            assert len(found.labels.values) == 3 - len(found.unlabelled)
            assert np.isfinite(found.labels.vectors(0)).all()
            "".join(found.labels.names).encode()


def test_a_hundred_thousand_labels_are_quick():
    values = [f"class {i % 1000}" for i in range(100_000)]
    labels = labels_of(values, [""] * len(values), None, "x")
    assert labels.c_dim == 1000 and sum(labels.class_counts) == 100_000
