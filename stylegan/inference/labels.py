# SPDX-License-Identifier: Apache-2.0
"""Class labels as the user gives them, as vectors and as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch

from stylegan.errors import UserError

Label = int | str | Sequence[float] | np.ndarray | torch.Tensor


class Labels(NamedTuple):
    """The labels of a list of images."""

    c: torch.Tensor | None  # [N, c_dim] on the CPU; None for a network without classes
    numbers: list[int] | None  # class numbers; None without classes or if the label is a vector


def find_labels(
    label: Label | None, seeds: Sequence[int], c_dim: int, names: Sequence[str]
) -> Labels:
    """The labels of one image for each seed.

    Args:
        label: class number or name, or a vector [c_dim], for all images. None: seed modulo the
            number of classes.
        c_dim: length of a label of the network; 0 without classes.
        names: of the classes; empty if unknown.
    Raises: UserError for a label that the network does not have.
    """
    if not c_dim:
        if label is not None:
            raise UserError(f"class {label!r}", "this network has no classes")
        return Labels(None, None)
    if label is not None and not isinstance(label, (str, Integral)):
        c = torch.as_tensor(label, dtype=torch.float32)
        if c.shape != (c_dim,):
            raise UserError("label", f"expected [{c_dim}], got {list(c.shape)}")
        return Labels(c.expand(len(seeds), -1), None)
    if label is None and not names:
        raise UserError("label", f"this network takes a vector of {c_dim} numbers; give one")
    numbers = [int(s) % c_dim for s in seeds]
    if label is not None:
        numbers = [class_number(label, names, c_dim)] * len(seeds)
    return Labels(torch.eye(c_dim)[numbers], numbers)


def class_number(label: object, names: Sequence[str], c_dim: int) -> int:
    """The number of a class given by number or name (case does not matter). Raises: UserError."""
    text = str(label)
    for same in (str, str.casefold):
        for i, name in enumerate(names):
            if same(name) == same(text):
                return i
    if text.isdecimal() and int(text) < c_dim:
        return int(text)
    choices = ", ".join(names[:20]) if names else f"0 to {c_dim - 1}"
    raise UserError(
        f"class {text!r}", f"expected a number from 0 to {c_dim - 1} or one of {choices}"
    )
