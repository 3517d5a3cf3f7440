# SPDX-License-Identifier: Apache-2.0
"""What a snapshot's config.json tells of the images that its networks were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stylegan.words import named_labels


def class_names_of(meta: Mapping[str, Any], c_dim: int) -> tuple[str, ...]:
    """Names of the classes in the order of their numbers; empty without classes."""
    data = meta.get("dataset")
    names = data.get("class_names") if isinstance(data, dict) else None
    return tuple(names) if names and c_dim else ()


def class_counts_of(meta: Mapping[str, Any], c_dim: int) -> tuple[int, ...]:
    """Training images of each class; empty if that is not known or labels are not classes."""
    data = meta.get("dataset")
    counts = data.get("class_counts") if isinstance(data, dict) else None
    if not isinstance(counts, list) or len(counts) != c_dim:
        return ()
    return tuple(counts) if all(type(n) is int for n in counts) else ()


def label_names_of(meta: Mapping[str, Any], c_dim: int) -> tuple[str, ...]:
    """Names of the numbers of a label vector; empty if they have none, or labels are classes."""
    data = meta.get("dataset")
    names = data.get("label_names") if isinstance(data, dict) else None
    if not isinstance(names, list) or len(names) != c_dim or class_names_of(meta, c_dim):
        return ()
    return tuple(names) if all(isinstance(name, str) for name in names) else ()


def label_words(meta: Mapping[str, Any], c_dim: int) -> str:
    """What labels are, in words: "10 classes", "2 labels (smile, hat)", "labels of
    40 numbers", or nothing."""
    if not c_dim:
        return ""
    if meta.get("dataset") and not class_names_of(meta, c_dim):
        names = label_names_of(meta, c_dim)
        return named_labels(names) if names else f"labels of {c_dim} numbers"
    return f"{c_dim} classes"
