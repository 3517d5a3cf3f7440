# SPDX-License-Identifier: Apache-2.0
"""Snapshots of untrained tiny networks."""

import torch

from stylegan import Networks, build_generator
from support.tiny import tiny, with_contrast


def snapshot(folder, meta=None, vectors=None, name="stylegan2", **fields):
    """Write a snapshot whose images differ, and return its folder.

    Args:
        meta: of `Networks`; kimg 1 by default.
        vectors: labels of training images.
        name, fields: as for `tiny`.
    """
    folder.mkdir(parents=True)
    config = tiny(name, **fields)
    torch.manual_seed(0)
    G = with_contrast(build_generator(config))
    for name, p in G.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(p, 0.3)
    vectors = None if vectors is None else torch.tensor(vectors)
    Networks(config, {"kimg": 1, **(meta or {})}, G_ema=G, label_vectors=vectors).save(folder)
    return folder


def classes(folder, names=("cat", "dog", "é"), counts=(3, 0, 9)):
    """A snapshot of a network with classes; the second has no images."""
    data = {"name": "x", "class_names": list(names), "class_counts": list(counts)}
    return snapshot(folder, {"dataset": data}, c_dim=len(names))


def vectors(folder, labels=((0.2, 1.0, 0.0), (0.5, 0.5, 1.0))):
    """A snapshot of a network whose labels are lists of numbers."""
    data = {"name": "x", "class_names": []}
    return snapshot(folder, {"dataset": data}, labels, c_dim=3)


NAMES = ("glasses", "Hat", "é")
ROWS = ((1.0, 1.0, 0.5), (1.0, 0.0, 0.0), (0.0, 1.0, 0.25), (1.0, 1.0, 0.0))


def named(folder, names=NAMES, labels=ROWS):
    """A snapshot of a network whose labels are numbers with names."""
    data = {"name": "x", "class_names": [], "label_names": list(names)}
    return snapshot(folder, {"dataset": data}, labels, c_dim=len(names))
