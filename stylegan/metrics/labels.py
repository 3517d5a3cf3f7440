# SPDX-License-Identifier: Apache-2.0
"""Labels of generated images that follow those of the training set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stylegan.errors import UserError
from stylegan.inference.labels import Label, LabelSpace, find_labels
from stylegan.networks import Networks


@dataclass(frozen=True)
class TrainingLabels:
    """Where the labels of measured images are drawn from."""

    c_dim: int  # length of a label; 0 without classes
    counts: tuple[
        int, ...
    ] = ()  # training images of every class; empty: classes are equally likely
    vectors: torch.Tensor | None = None  # [K, c_dim] labels of training images that are no classes
    asked: tuple[torch.Tensor, ...] = ()  # [K, c_dim] each; instead of those of the training set

    @classmethod
    def of(cls, networks: Networks) -> TrainingLabels:
        """Those that the networks were trained on, as far as it is known.

        Raises: UserError if labels are no classes and none are known.
        """
        space = LabelSpace.of(networks, networks.config.G.c_dim)
        if space.c_dim and space.vectors is None and not space.has_classes:
            raise UserError(
                networks.path or "network",
                f"its labels are lists of {space.c_dim} numbers, and the file keeps none of them",
            )
        return cls(networks.config.G.c_dim, networks.class_counts, networks.label_vectors)

    @classmethod
    def asked_for(cls, networks: Networks, labels: Sequence[Label]) -> TrainingLabels:
        """`labels`, each equally often, as a `Pipeline` takes them for one image. Of labels by name
        the numbers that are not named are those of training images that have the named ones.

        Raises: UserError for a label that the network does not have.
        """
        c_dim, vectors = networks.config.G.c_dim, networks.label_vectors
        space = LabelSpace.of(networks, c_dim)
        seeds = range(1 if vectors is None else len(vectors))
        rows = [find_labels(label, seeds, space).c for label in labels]
        return cls(c_dim, asked=tuple(row for row in rows if row is not None))

    @property
    def known(self) -> bool:
        """Whether anything is known of the labels, so that they need not be drawn by seed."""
        return self.vectors is not None or bool(any(self.counts) or self.asked)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One label, float32 [c_dim]: that of a training image, or a one-hot class."""
        if self.asked:
            rows = self.asked[int(rng.integers(len(self.asked)))]
            return rows[int(rng.integers(len(rows)))].numpy()
        if self.vectors is not None:
            return self.vectors[int(rng.integers(len(self.vectors)))].numpy()
        label = np.zeros(self.c_dim, np.float32)
        if any(self.counts):
            image = int(rng.integers(sum(self.counts)))
            label[int(np.searchsorted(np.cumsum(self.counts), image, "right"))] = 1
        else:
            label[int(rng.integers(self.c_dim))] = 1
        return label
