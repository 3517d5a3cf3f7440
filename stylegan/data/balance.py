# SPDX-License-Identifier: Apache-2.0
"""Training that sees every class equally often, however many images it has."""

from __future__ import annotations

import numpy as np
import torch

from stylegan.data.dataset import ImageDataset, ImageStream
from stylegan.errors import LabelError
from stylegan.words import printable

UNEQUAL = 10  # times as many images in one class as in another are worth a warning


class BalancedStream(ImageStream):
    """Endless (index, flip); of C classes, every C images from the beginning on hold one of each.

    The images of a class come in a new order when all were used, and at least in every epoch. A
    pure function of seed and position, as every `ImageStream`.

    Args:
        classes: int64 [images], the class of every image. Classes without images do not count.
        seed, mirror, position: of the `ImageStream`.
    """

    def __init__(
        self, classes: np.ndarray, seed: int, mirror: bool = False, position: int = 0
    ) -> None:
        super().__init__(len(classes), seed, mirror, position)
        order = np.argsort(classes, kind="stable")
        starts = np.flatnonzero(np.diff(classes[order])) + 1
        self.members = np.split(order, starts)  # indices of the images of each class
        self.rounds = -(-len(classes) // len(self.members))
        self.length = self.rounds * len(self.members)

    def epoch(self, number: int) -> tuple[list[int], list[bool]]:
        """(order, flips) of an epoch: as many indices of every class, and a bool for each."""
        draw = self.generator(number)
        columns = [self._of_class(members, draw) for members in self.members]
        order = torch.stack(columns, dim=1)  # [rounds, classes]
        places = torch.rand(order.shape, generator=draw).argsort(dim=1)
        return order.gather(1, places).flatten().tolist(), self.flips(draw)

    def _of_class(self, members: np.ndarray, draw: torch.Generator) -> torch.Tensor:
        """Indices [rounds] of a class: all of its images in a random order, again and again."""
        times = -(-self.rounds // len(members))
        orders = [torch.randperm(len(members), generator=draw) for _ in range(times)]
        return torch.from_numpy(members)[torch.cat(orders)[: self.rounds]]


def stream_of(
    dataset: ImageDataset, seed: int, mirror: bool, position: int, balance: bool = False
) -> ImageStream:
    """The images of a run from `position` on; `balance` shows every class equally often."""
    if balance:
        return BalancedStream(_classes(dataset), seed, mirror, position)
    return ImageStream(len(dataset), seed, mirror, position)


def check_balance(dataset: ImageDataset) -> None:
    """Raises: LabelError if the images have no classes."""
    _classes(dataset)


def labels_to_draw(dataset: ImageDataset, balance: bool = False) -> np.ndarray | None:
    """What the labels of generated images are drawn from, each entry equally often: class numbers
    int64 [N], or vectors float32 [N, c_dim]; None without labels. They are the labels of the
    images, or with `balance` the classes that have images."""
    if balance:
        return np.unique(_classes(dataset))
    return dataset.labels.values if dataset.labels else None


def balance_words(dataset: ImageDataset) -> str:
    """What balancing does to these images."""
    counts = [n for n in dataset.class_counts if n]
    if len(counts) < 2 or max(counts) == min(counts):
        return "each class has equally many images"
    times = len(dataset) / (len(counts) * min(counts))
    of = f"{min(counts)} of {len(dataset):,} images"
    often = f"{times:.0f}" if times >= 10 else f"{times:.1f}"
    return f"balanced: class {_rarest(dataset)} has {of} and is shown {often} times as often"


def imbalance(dataset: ImageDataset) -> str | None:
    """A warning if some class has many times the images of another; None otherwise."""
    counts = [n for n in dataset.class_counts if n]
    if not counts or max(counts) < UNEQUAL * min(counts):
        return None
    common = printable(dataset.class_names[dataset.class_counts.index(max(counts))])
    few = "1 image" if min(counts) == 1 else f"{min(counts)} images"
    return (
        f"class {_rarest(dataset)} has {few}, class {common} {max(counts):,}; --balance-classes "
        "shows every class equally often"
    )


def _rarest(dataset: ImageDataset) -> str:
    """The name of the class with the fewest images."""
    counts = dataset.class_counts
    return printable(dataset.class_names[counts.index(min(n for n in counts if n))])


def _classes(dataset: ImageDataset) -> np.ndarray:
    labels = dataset.labels
    if labels is None:
        why = "has no classes to balance (--balance-classes): no dataset.json, no folder per class"
        raise LabelError(dataset.path, "; ".join([why, *dataset.label_notes]))
    if labels.values.ndim == 2:
        raise LabelError(
            dataset.path,
            "its labels are lists of numbers, and --balance-classes needs classes; leave it out",
        )
    return labels.values
