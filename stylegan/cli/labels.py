# SPDX-License-Identifier: Apache-2.0
"""--class and --label: the labels that a command draws with."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylegan.errors import UserError
from stylegan.words import one_line

if TYPE_CHECKING:
    from stylegan.inference.labels import Label, Labels
    from stylegan.networks import Networks

MAX_NAME = 24  # characters of a label in a file name; a longer one is a hash
MAX_NAMES = 48  # the same, of a label by name
FILES = (".npy", ".csv", ".json")
_SAFE = re.compile(r"[\w+.,=-]+")  # what a file name may say on every system
MAX_FILE = 64 << 20  # bytes of a file of labels


@dataclass(frozen=True)
class Choice:
    """A label to draw with."""

    # As `Pipeline` takes it; None: by seed.
    value: str | tuple[float, ...] | Mapping[str, float] | None = field(default=None, hash=False)
    name: str = ""  # what a file name says of it
    text: str = ""  # as the option takes it

    @property
    def kind(self) -> str:
        """What the metadata calls it."""
        return "label" if isinstance(self.value, (tuple, Mapping)) else "class"


def choices_of(
    networks: Networks, network: str, classes: Sequence[str], labels: Sequence[str]
) -> list[Choice]:
    """The labels of --class and --label in their order; a single default without any.

    Args:
        network: as the user named it, for messages.
        classes: numbers or names.
        labels: numbers with commas, names of labels with commas, or names of files.
    Raises: UserError for a label that the network does not have.
    """
    c_dim = networks.config.G.c_dim
    if not classes and not labels:
        _check_default(networks, network, c_dim)
        return [Choice()]
    if not c_dim:
        option = "--class" if classes else "--label"
        raise UserError(
            network,
            f"this network was trained without classes, so {option} does not apply; stylegan info "
            f"{network} shows what it has",
        )
    found = [_class(networks, network, name) for name in classes]
    for text in labels:
        named = _named(networks, text)
        found += [named] if named else [_vector(row) for row in _rows(text, c_dim)]
    return list({choice.name: choice for choice in found}.values())


def untrained(networks: Networks, choices: Sequence[Choice]) -> list[str]:
    """The classes among `choices` that no training image had."""
    counts = networks.class_counts
    if not counts:
        return []
    asked = [c for c in choices if c.kind == "class"]
    numbers = {c.text: _find(networks, c.value).numbers for c in asked}
    return [text for text, found in numbers.items() if text and found and not counts[found[0]]]


def rare(networks: Networks, choices: Sequence[Choice]) -> list[str]:
    """The labels by name among `choices` that no training image has, as far as it is known. Those
    that name every number do not count."""
    from stylegan.inference.named import Names, fitting

    named = {c.text: c.value for c in choices if isinstance(c.value, Mapping)}
    names, vectors = Names(networks.label_names), networks.label_vectors
    if not named or vectors is None:
        return []
    asked = {text: names.values(value) for text, value in named.items()}
    open_ones = {text: v for text, v in asked.items() if len(v) < len(names.names)}
    return [text for text, v in open_ones.items() if fitting(v, vectors) is None]


def _named(networks: Networks, text: str) -> Choice | None:
    """A label by name. None for numbers, for a file and if the labels of the network have no names.

    Raises: UserError for a name that the network does not have, or that of a class.
    """
    from stylegan.inference.named import Names

    names = Names(networks.label_names)
    if _is_row(text):
        return None
    if "=" in text and networks.class_names and not names.names:
        return _mixture(networks, text)
    if Names(networks.class_names).index(text) is not None:
        raise UserError(f"--label {text}", f"is a class of this network; give --class {text}")
    if not names.names:
        return None
    if Path(text).suffix.lower() in FILES and names.index(text) is None:
        return None
    values = names.values(text)
    own = names.text(values)
    short = own if len(own) <= MAX_NAMES and _SAFE.fullmatch(own) else _hash(own)
    return Choice({names.names[i]: v for i, v in values.items()}, f"label-{short}", own)


def _mixture(networks: Networks, text: str) -> Choice:
    """Classes by name with a share of each: cat=0.5,dog=0.5. Raises: UserError."""
    from stylegan.inference.named import Names

    names = Names(networks.class_names)
    shares = names.values(text)
    row = tuple(float(shares.get(i, 0)) for i in range(networks.config.G.c_dim))
    own = names.text(shares)
    short = own if len(own) <= MAX_NAMES and _SAFE.fullmatch(own) else _hash(own)
    return Choice(row, f"label-{short}", own)


def _check_default(networks: Networks, network: str, c_dim: int) -> None:
    """Raises: UserError if there are no labels to draw with by default."""
    try:
        _find(networks, None)
    except UserError as e:
        raise UserError(
            network,
            f"its labels are lists of {c_dim} numbers, and the file keeps none of them; give "
            f"--label {_example(networks)}",
        ) from e


def _example(networks: Networks, given: str = "") -> str:
    """A label that fits the network; `given`, if that is one of its names."""
    from stylegan.inference.named import Names

    names, c_dim = Names(networks.label_names), networks.config.G.c_dim
    if names.names:
        return names.names[names.index(given) or 0]
    return ",".join(["0.5"] * c_dim) if c_dim < 4 else "0.5,0.5,..."


def _class(networks: Networks, network: str, text: str) -> Choice:
    from stylegan.inference.labels import LabelSpace

    c_dim = networks.config.G.c_dim
    if not LabelSpace.of(networks, c_dim).has_classes:
        raise UserError(
            network,
            f"its labels are lists of {c_dim} numbers, not classes; give "
            f"--label {_example(networks, text)} in place of --class {text}",
        )
    numbers = _find(networks, text).numbers
    return Choice(text, f"class{numbers[0] if numbers else text}", text)


def _find(networks: Networks, label: Label | None) -> Labels:
    """The label of seed 0. Raises: UserError for a label that the network does not have."""
    from stylegan.inference.labels import LabelSpace, find_labels

    return find_labels(label, [0], LabelSpace.of(networks, networks.config.G.c_dim))


def label_text(row: Sequence[float]) -> str:
    """A label as --label takes it."""
    from stylegan.inference.named import number_text

    return ",".join(map(number_text, row))


def _vector(row: tuple[float, ...]) -> Choice:
    text = label_text(row)
    short = text if len(text) <= MAX_NAME else f"-{_hash(text)}"
    return Choice(row, f"label{short}", text)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _is_row(text: str) -> bool:
    return all(map(_is_number, text.split(",")))


def _rows(text: str, c_dim: int) -> list[tuple[float, ...]]:
    """The labels of --label. Raises: UserError."""
    try:
        rows: Any = [[float(part) for part in text.split(",")]]
    except ValueError:
        rows = _read(text)
    try:
        if rows and not isinstance(rows[0], (list, tuple)):
            rows = [rows]
        labels = [tuple(float(x) for x in row) for row in rows]
    except (TypeError, ValueError, KeyError, OverflowError) as e:
        raise UserError(text, "expected rows of numbers, one row for a label") from e
    if not labels:
        raise UserError(text, "holds no labels")
    for i, label in enumerate(labels):
        which = f"label {i + 1}: " if len(labels) > 1 else ""
        if len(label) != c_dim:
            why = f"{which}this network takes labels of {c_dim} numbers, got {len(label)}"
            raise UserError(f"--label {text}", why)
        if not all(map(math.isfinite, label)):
            raise UserError(f"--label {text}", f"{which}expected finite numbers")
    return labels


def _read(text: str) -> Any:
    """The rows of a file: lists of numbers, or text that may be numbers."""
    path = Path(text)
    suffix = path.suffix.lower()
    if suffix not in FILES:
        raise UserError(
            f"--label {text or repr(text)}",
            "expected numbers like 0.2,1,0, or a file that ends in .npy, .csv or .json; this "
            "network has no names of labels",
        )
    try:
        if path.stat().st_size > MAX_FILE:
            raise UserError(path, "is too large for a file of labels")
        if suffix == ".npy":
            import numpy as np

            return np.atleast_2d(np.load(path, allow_pickle=False)).tolist()
        text = path.read_text("utf-8-sig")
        if suffix == ".csv":
            return _table(text)
        content = json.loads(text)
    except OSError as e:
        raise UserError(path, f"cannot be read ({e.strerror or e})") from e
    except (ValueError, RecursionError) as e:
        if isinstance(e, UserError):
            raise
        raise UserError(path, f"cannot be read ({one_line(e, 200)})") from e
    if isinstance(content, dict):  # a dataset.json: [[file name, label], ...], or by file name
        labels = content.get("labels", content)
        rows = labels.items() if isinstance(labels, dict) else labels or []
        content = [row[1] for row in rows if len(row) == 2]
    return content


def _table(text: str) -> list[list[str]]:
    """Rows of a table, without the first if that is names of columns.

    Columns are separated by commas, semicolons, tabs or spaces. With semicolons, a comma is a
    decimal point, as spreadsheets of some languages write it.
    """
    if ";" in text:
        text = text.replace(",", ".").replace(";", ",")
    rows = [re.split(r"\s*,\s*|\s+", line.strip()) for line in text.splitlines() if line.strip()]
    if len(rows) > 1 and not any(map(_is_number, rows[0])):
        return rows[1:]
    return rows


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
