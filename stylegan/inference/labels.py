# SPDX-License-Identifier: Apache-2.0
"""Class labels as the user gives them, as vectors and as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from stylegan.config.numbers import as_int
from stylegan.errors import UserError
from stylegan.inference.inputs import floats_of
from stylegan.inference.named import Names, nfc, row_of
from stylegan.words import shown

Label = int | str | Mapping[str, float] | Sequence[Any] | np.ndarray | torch.Tensor


class Labels(NamedTuple):
    """The labels of a list of images."""

    c: torch.Tensor | None  # [N, c_dim] on the CPU; None for a network without classes
    numbers: list[int] | None  # class numbers; None without classes or if the label is a vector


@dataclass(frozen=True)
class LabelSpace:
    """The labels that a network takes."""

    c_dim: int  # length of a label; 0 without classes
    names: Sequence[str] = ()  # of the classes; empty if unknown
    counts: Sequence[int] = ()  # training images of every class; empty if unknown
    vectors: torch.Tensor | None = None  # [K, c_dim], labels of training images that are no classes
    has_classes: bool = True  # whether a class number means anything
    label_names: Sequence[str] = ()  # of the numbers of a vector; empty without

    @classmethod
    def of(cls, networks: Any, c_dim: int) -> LabelSpace:
        """That of the `Networks` of a pipeline. Without names of the classes, labels are vectors if
        anything is known of the data set."""
        if not c_dim:
            return cls(0)
        names, vectors = networks.class_names, networks.label_vectors
        has_classes = vectors is None and (bool(names) or not networks.meta.get("dataset"))
        label_names = () if has_classes else networks.label_names
        return cls(c_dim, names, networks.class_counts, vectors, has_classes, label_names)


def find_labels(label: Label | None, seeds: Sequence[int], space: LabelSpace) -> Labels:
    """The labels of one image for each seed.

    Args:
        label: for all images: the number or the name of a class, a vector [c_dim], or labels by
            name, as `Names.values` takes them. For each: a list of N classes, of N labels by name,
            or vectors [N, c_dim]. None: by seed, see `default_labels`.
            If the network has classes, integers in a list are classes: [0, 1] is class 0 and
            class 1, [0.0, 1.0] is a vector.
        seeds: integers, one for each image.
        space: the labels that the network takes.
    Raises: UserError for a label that the network does not have.
    """
    c_dim, n = space.c_dim, len(seeds)
    if not c_dim:
        if label is not None:
            raise UserError(f"class {shown(label)}", "this network has no classes")
        return Labels(None, None)
    if label is None:
        return default_labels(seeds, space)
    named = _named(label, space)
    if named is not None:
        one = isinstance(label, (str, Mapping))
        return _by_name(named * n if one else named, seeds, space)
    if _is_class(label):
        number = class_number(label, space)
        return Labels(one_hot([number] * n, c_dim), [number] * n)
    classes = _classes_of(label, space)
    if classes is not None:
        return _one_each(classes, n, space)
    expected = f"a class, or {c_dim} numbers" if space.has_classes else f"{c_dim} numbers"
    c = floats_of(label, "label", expected)
    if c.shape == (c_dim,):
        return Labels(c.cpu().repeat(n, 1), None)
    if c.shape != (n, c_dim):
        each = f" or [{n}, {c_dim}]" if c.ndim == 2 else ""
        raise UserError("label", f"expected [{c_dim}]{each}, got {list(c.shape)}")
    return Labels(c.cpu(), None)


def _named(label: Any, space: LabelSpace) -> list[Any] | None:
    """The labels by name in `label`, of each image or one in a list; None for other labels.

    Raises: UserError if the labels of this network have no names.
    """
    if isinstance(label, (str, Mapping)):
        items = [label]
    elif isinstance(label, (list, tuple)):
        items = [*label]
    else:
        items = label.tolist() if isinstance(label, np.ndarray) and label.ndim == 1 else []
    mappings = any(isinstance(item, Mapping) for item in items)
    if space.label_names and (mappings or any(isinstance(item, str) for item in items)):
        return items
    if mappings:
        kind = "a class" if space.has_classes else f"{space.c_dim} numbers"
        raise UserError("label", f"the labels of this network have no names; give {kind}")
    return None


def _by_name(items: list[Any], seeds: Sequence[int], space: LabelSpace) -> Labels:
    """A label by name for each image. Raises: UserError."""
    if len(items) != len(seeds):
        why = f"expected {len(seeds)} labels, one for each image, got {len(items)}"
        raise UserError("label", why)
    if not all(isinstance(item, (str, Mapping)) for item in items):
        raise UserError("label", "expected labels by name or vectors, got a mixture of both")
    names = Names(space.label_names)
    values = [names.values(item) for item in items]
    rows = [row_of(v, seed, space.c_dim, space.vectors) for v, seed in zip(values, seeds)]
    return Labels(torch.stack(rows), None)


def _classes_of(label: Any, space: LabelSpace) -> list[Any] | None:
    """The classes in a list, array or tensor of names or integers; None if it holds vectors.

    In a network whose labels are no classes, integers are the numbers of a vector.
    """
    if getattr(label, "ndim", 1) != 1:
        return None
    items = label.tolist() if hasattr(label, "tolist") else list(label)
    if any(isinstance(item, str) for item in items):
        return items
    integers = bool(items) and space.has_classes and all(map(_is_integer, items))
    return items if integers else None


def _one_each(classes: Sequence[Any], n: int, space: LabelSpace) -> Labels:
    """A class for each of n images. Raises: UserError."""
    if len(classes) != n:
        why = f"expected {n} classes, one for each image, got {len(classes)}"
        if len(classes) == space.c_dim and not any(isinstance(item, str) for item in classes):
            why += "; a vector needs decimal points, as in 1.0"
        raise UserError("label", why)
    numbers = [class_number(item, space) for item in classes if _is_class(item)]
    if len(numbers) < n:
        raise UserError("label", "expected classes or vectors, got a mixture of both")
    return Labels(one_hot(numbers, space.c_dim), numbers)


def default_labels(seeds: Sequence[int], space: LabelSpace) -> Labels:
    """Labels that the network was trained on, by seed: the classes in turn, without those that
    have no images; or the label vectors of training images in turn.

    Raises: UserError if labels are vectors and none are known.
    """
    if space.vectors is not None and len(space.vectors):
        return Labels(space.vectors[[s % len(space.vectors) for s in seeds]].clone(), None)
    if not space.names and not space.counts:
        raise UserError("label", f"this network takes a vector of {space.c_dim} numbers; give one")
    known = [i for i, count in enumerate(space.counts) if count]
    numbers = [known[s % len(known)] if known else s % space.c_dim for s in seeds]
    return Labels(one_hot(numbers, space.c_dim), numbers)


def one_hot(numbers: Sequence[int], c_dim: int) -> torch.Tensor:
    """[N, c_dim] float32 on the CPU, without the square matrix of all classes."""
    c = torch.zeros(len(numbers), c_dim)
    c[torch.arange(len(numbers)), torch.tensor(numbers, dtype=torch.long)] = 1
    return c


def class_number(label: object, space: LabelSpace) -> int:
    """The number of a class given by number or name. Names are compared in Unicode's normal form
    NFC; case does not matter. Raises: UserError."""
    text, c_dim = nfc(str(label if isinstance(label, str) else as_int(label))), space.c_dim
    if not space.has_classes:
        raise UserError(
            f"class {text!r}",
            f"the labels of this network are vectors, not classes; give {c_dim} numbers",
        )
    for same in (str, str.casefold):
        for i, name in enumerate(space.names):
            if same(nfc(name)) == same(text):
                return i
    if text.isdecimal() and int(text) < c_dim:
        return int(text)
    numbered = list(space.names) == [str(i) for i in range(c_dim)]
    names = [] if numbered else space.names
    choices = f" or one of {', '.join(names[:20])}" if names else ""
    raise UserError(f"class {text!r}", f"expected a number from 0 to {c_dim - 1}{choices}")


def _is_class(label: Any) -> bool:
    """Whether `label` is a name or an integer, and not a vector. Raises: UserError for a number
    that is no integer."""
    if isinstance(label, str):
        return True
    if isinstance(label, Sequence) or len(getattr(label, "shape", ())):
        return False
    try:
        as_int(label)
    except (TypeError, ValueError) as e:
        raise UserError(
            "label",
            f"expected the number or the name of a class, or a vector, got {shown(label)}",
        ) from e
    return True


def _is_integer(value: Any) -> bool:
    """Whether it is one integer of any library; True and False are none."""
    try:
        as_int(value)
    except (TypeError, ValueError):
        return False
    return True
