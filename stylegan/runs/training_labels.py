# SPDX-License-Identifier: Apache-2.0
"""What a run keeps of the labels of its images, so that others can draw with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from stylegan.data.dataset import ImageDataset

MAX_VECTORS = 4096  # of label vectors,
MAX_BYTES = 4 << 20  # and of their size


def about_dataset(dataset: ImageDataset) -> dict[str, Any]:
    """What run.json and config.json hold on the images: name, images, class_names, class_counts
    (images of each class; left out if labels are not classes), label_names (of the numbers of
    label vectors; left out without)."""
    labels = dataset.labels
    about = {
        "name": dataset.name,
        "images": len(dataset),
        "class_names": list(dataset.class_names),
    }
    if labels is not None and labels.values.ndim == 1:
        about["class_counts"] = np.bincount(labels.values, minlength=labels.c_dim).tolist()
    if labels is not None and labels.values.ndim == 2 and labels.attributes:
        about["label_names"] = list(labels.attributes)
    return about


def label_vectors(dataset: ImageDataset) -> torch.Tensor | None:
    """Label vectors of the images, or of some: [K, c_dim] float32, the same ones at every call.

    Returns: None if labels are classes, or there are none.
    """
    labels = dataset.labels
    if labels is None or labels.values.ndim == 1:
        return None
    count = len(labels.values)
    fits = max(MAX_BYTES // (4 * labels.c_dim), 1)
    pick = np.random.default_rng(0).permutation(count)[: min(MAX_VECTORS, fits)]
    return torch.from_numpy(labels.vectors(pick).astype(np.float32))
