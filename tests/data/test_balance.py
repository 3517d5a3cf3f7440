# SPDX-License-Identifier: Apache-2.0
"""Class-balanced sampling."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from support.pictures import encoded, picture

from stylegan import UserError
from stylegan.data.balance import (
    BalancedStream,
    balance_words,
    check_balance,
    imbalance,
    labels_to_draw,
)
from stylegan.data.dataset import ImageDataset
from stylegan.data.loader import Batches

CLASSES = np.array([0] * 23 + [2] * 3 + [3] * 9)  # none of class 1


def first(stream, count):
    return list(itertools.islice(stream, count))


def test_every_class_equally_often_and_every_image_of_it():
    drawn = first(BalancedStream(CLASSES, seed=4), 3 * 60)
    indices = [index for index, _ in drawn]
    rounds = CLASSES[indices].reshape(-1, 3)
    assert all(sorted(r) == [0, 2, 3] for r in rounds.tolist())
    assert len({tuple(r) for r in rounds.tolist()}) == 6  # in every order
    counts = Counter(indices)
    assert set(counts) == set(range(len(CLASSES)))
    assert [counts[i] for i in (23, 24, 25)] == [20, 20, 20]
    assert {flip for _, flip in drawn} == {False}


@pytest.mark.parametrize("position", [0, 1, 35, 36, 100])
def test_a_pure_function_of_seed_and_position(position):
    whole = first(BalancedStream(CLASSES, 7, mirror=True), 200)
    rest = first(BalancedStream(CLASSES, 7, mirror=True, position=position), 200 - position)
    assert rest == whole[position:]
    assert first(BalancedStream(CLASSES, 8, mirror=True), 200) != whole
    assert {flip for _, flip in whole} == {False, True}


@pytest.fixture
def unequal(tmp_path):
    """A folder of 24 images of cats and 2 of dogs."""
    for name, count in (("cat", 24), ("dog", 2)):
        (tmp_path / name).mkdir()
        for i in range(count):
            (tmp_path / name / f"{i}.png").write_bytes(encoded(picture(seed=i)))
    return ImageDataset(tmp_path)


def batches(data, workers=0, position=0):
    stream = Batches(data, 4, 1, True, position, workers, False, print, balance=True)
    taken = [next(stream) for _ in range(8)]
    stream.close()
    return torch.cat([x for x, _ in taken]), torch.cat([c for _, c in taken])


def test_batches_with_and_without_workers_and_after_a_break(unequal):
    images, labels = batches(unequal)
    assert labels.sum(dim=0).tolist() == [16, 16]
    others, other_labels = batches(unequal, workers=2)
    assert torch.equal(others, images) and torch.equal(other_labels, labels)
    later, _ = batches(unequal, position=12)
    assert torch.equal(later[:20], images[12:])


def test_generated_images_have_the_same_labels(unequal):
    assert labels_to_draw(unequal).tolist() == [0] * 24 + [1] * 2
    assert labels_to_draw(unequal, balance=True).tolist() == [0, 1]


def test_a_subset_is_balanced_by_its_own_images(unequal):
    small = ImageDataset(unequal.path, max_images=18, seed=1)
    assert min(small.class_counts) >= 1
    _, labels = batches(small)
    assert labels.sum(dim=0).tolist() == [16, 16]


def test_what_the_header_says(unequal):
    assert balance_words(unequal) == (
        "balanced: class dog has 2 of 26 images and is shown 6.5 times as often"
    )
    assert imbalance(unequal) == (
        "class dog has 2 images, class cat 24; --balance-classes shows every class equally often"
    )
    (unequal.path / "dog" / "9.png").write_bytes(encoded(picture(seed=9)))
    assert imbalance(ImageDataset(unequal.path)) is None  # 8 times as many


@pytest.mark.parametrize(
    "label, why",
    [
        (None, "has no classes to balance .--balance-classes.: no dataset.json, no folder per"),
        ([0.5, 1], "its labels are lists of numbers, and --balance-classes needs classes"),
    ],
)
def test_images_without_classes_are_refused(tmp_path, label, why):
    (tmp_path / "a.png").write_bytes(encoded(picture()))
    if label:
        (tmp_path / "dataset.json").write_text(f'{{"labels": [["a.png", {label}]]}}')
    with pytest.raises(UserError, match=why):
        check_balance(ImageDataset(tmp_path))
