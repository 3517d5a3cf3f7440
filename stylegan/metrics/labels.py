# SPDX-License-Identifier: Apache-2.0
"""Labels of generated images that follow those of the training set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from stylegan.errors import UserError
from stylegan.inference.labels import LabelSpace
from stylegan.networks import Networks


@dataclass(frozen=True)
class TrainingLabels:
    """Where the labels of measured images are drawn from."""

    c_dim: int  # length of a label; 0 without classes
    counts: tuple[
        int, ...
    ] = ()  # training images of every class; empty: classes are equally likely
    vectors: torch.Tensor | None = None  # [K, c_dim] labels of training images that are no classes

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

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One label, float32 [c_dim]: that of a training image, or a one-hot class."""
        if self.vectors is not None:
            return self.vectors[int(rng.integers(len(self.vectors)))].numpy()
        label = np.zeros(self.c_dim, np.float32)
        if any(self.counts):
            image = int(rng.integers(sum(self.counts)))
            label[int(np.searchsorted(np.cumsum(self.counts), image, "right"))] = 1
        else:
            label[int(rng.integers(self.c_dim))] = 1
        return label
