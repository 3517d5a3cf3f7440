# SPDX-License-Identifier: Apache-2.0
"""Label vectors whose numbers have names: {"glasses": 1, "hat": 0}, or "glasses,hat=0"."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from stylegan.errors import UserError
from stylegan.words import shown

Values = Mapping[int, float]  # numbers of a label vector by their index
MAX_LISTED = 60  # names in a message
MAX_VALUE = 1e38  # of a label
MIN_OTHERS = 3  # labels of the same number that a text calls "others"
OTHERS = "others"  # all labels that are not named; unless one has this name


class Names:
    """The names of the numbers of a label vector, for look-ups. They are compared in Unicode's
    normal form NFC; case matters only between two names that are alike without it."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        numbered = [(i, nfc(name)) for i, name in reversed([*enumerate(names)])]
        self._exact = {name: i for i, name in numbered}
        self._folded = {name.casefold(): i for i, name in numbered}

    def index(self, name: object) -> int | None:
        """The index of a name; None if there is no such name."""
        if not isinstance(name, str):
            return None
        text = nfc(name.strip())
        return self._exact.get(text, self._folded.get(text.casefold()))

    def values(self, label: str | Mapping[Any, Any]) -> dict[int, float]:
        """The numbers that a label gives, by their index, in its order.

        Args:
            label: {name: number}, or names with commas, each of them with "=" and a number or
                without, which is 1: "glasses,hat=0.5". A name may have commas and "=" in it.
                "others" are all that are not named: "glasses,others=0".
        Raises: UserError for an unknown name, one that is given twice, or what is no number.
        """
        found: dict[int, float] = {}
        others: float | None = None
        for name, value in self._parts(label) if isinstance(label, str) else label.items():
            index = self.index(name)
            if index is None and others is None and name == OTHERS:
                others = _number(name, value)
                continue
            if index is None:
                raise UserError(f"label {shown(name)}", f"expected one of {self._listed()}")
            if index in found:
                raise UserError(f"label {shown(name)}", "is given twice")
            found[index] = _number(name, value)
        if others is not None:
            found |= {i: others for i in range(len(self.names)) if i not in found}
        return found

    def text(self, values: Values) -> str:
        """A label as `values` takes it, with the names as the data set has them."""
        named, rest = dict(values), Counter(values.values()).most_common(1)
        common = rest[0] if rest and len(values) == len(self.names) else (0.0, 0)
        short = common[1] >= MIN_OTHERS and self.index(OTHERS) is None
        if short:
            named = {i: v for i, v in values.items() if v != common[0]}
        parts = [f"{self.names[i]}={number_text(v)}" for i, v in named.items()]
        parts += [f"{OTHERS}={number_text(common[0])}"] if short else []
        return ",".join(part.removesuffix("=1") for part in parts)

    def words(self, row: Sequence[float]) -> str:
        """What a person calls a label vector: the names of the numbers above 0."""
        return ", ".join(self.text({i: x}) for i, x in enumerate(row) if x > 0) or "none"

    def all(self, row: Sequence[float]) -> str:
        """Every name of a label vector with its number: "glasses=1,hat=0"."""
        return ",".join(f"{name}={number_text(x)}" for name, x in zip(self.names, row))

    def _parts(self, text: str) -> Iterator[tuple[str, str | float]]:
        """(name, number) of each part; the longest name that fits goes first."""
        parts = text.split(",")
        while parts:
            for end in range(len(parts), 0, -1):
                name, value = self._part(",".join(parts[:end]))
                if self.index(name) is not None:
                    break
            yield name, value
            parts = parts[end:]

    def _part(self, text: str) -> tuple[str, str | float]:
        name, equals, value = text.rpartition("=")
        if not equals or "," in value or self.index(text) is not None:
            return text.strip(), 1.0
        return name.strip(), value.strip()

    def _listed(self) -> str:
        more = ", ..." if len(self.names) > MAX_LISTED else ""
        return ", ".join(self.names[:MAX_LISTED]) + more


def fitting(values: Values, vectors: torch.Tensor | None) -> torch.Tensor | None:
    """The label vectors, of [K, c_dim], that have the labels in `values` above 0, and lack the
    others there; None if there are none."""
    if vectors is None:
        return None
    wanted = torch.tensor([value > 0 for value in values.values()], dtype=torch.bool)
    found = vectors[((vectors[:, [*values]] > 0) == wanted).all(1)]
    return found if len(found) else None


def row_of(values: Values, seed: int, c_dim: int, vectors: torch.Tensor | None) -> torch.Tensor:
    """The label vector [c_dim] of one image: the numbers in `values`; the others are those of the
    fitting label vectors of training images in turn by seed, or 0 if none fits."""
    found = fitting(values, vectors)
    row = torch.zeros(c_dim) if found is None else found[seed % len(found)].clone()
    for i, value in values.items():
        row[i] = value
    return row


def number_text(value: float) -> str:
    """The shortest number that is the same in float32."""
    return np.format_float_positional(np.float32(value), trim="-")


def nfc(text: str) -> str:
    """A text in Unicode's normal form NFC."""
    return unicodedata.normalize("NFC", text)


def _number(name: object, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        number = math.nan
    if not abs(number) < MAX_VALUE:
        raise UserError(f"label {shown(name)}", f"expected a number, got {shown(value)}")
    return number
