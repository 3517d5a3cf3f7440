# SPDX-License-Identifier: Apache-2.0
"""How a data set was made, as its dataset.json keeps it: figures depend on the filter."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import PIL

import stylegan
from stylegan.data.labels import FILE
from stylegan.data.pixels.encode import Encoding
from stylegan.data.pixels.ranges import number
from stylegan.data.source import Source
from stylegan.errors import UserError
from stylegan.words import one_line, pixels

KEY = "made"  # in dataset.json
FILTER = "Lanczos"
MAX_BYTES = 64 << 20  # of a dataset.json in which the record is looked for


@dataclass(frozen=True)
class Made:
    """The settings of `stylegan dataset`."""

    by: str  # program and version
    pillow: str  # version
    source: str  # name of the folder or archive, without its path
    size: tuple[int, int]  # height, width in px
    transform: str | None  # None: the images had the size
    filter: str | None
    channels: int
    colours: str
    value_range: tuple[float, float] | None  # black and white of images of more than 8 bits
    format: str

    @classmethod
    def now(
        cls,
        source: str,
        size: tuple[int, int],
        transform: str | None,
        channels: int,
        value_range: tuple[float, float] | None,
        encoding: Encoding,
    ) -> Made:
        """The record of a data set that is being made."""
        return cls(
            f"stylegan {stylegan.__version__}",
            PIL.__version__,
            source,
            size,
            transform,
            FILTER if transform else None,
            channels,
            "sRGB",
            value_range,
            str(encoding),
        )

    def to_json(self) -> dict[str, Any]:
        """As dataset.json has it."""
        return asdict(self)

    def __str__(self) -> str:
        how = f"{self.transform}, {self.filter}" if self.transform else "not resized"
        parts = [
            f"{self.by} (Pillow {self.pillow}) from {self.source}",
            f"{pixels(self.size)} px",
            how,
        ]
        if self.value_range:
            parts.append("{} to {} as black to white".format(*map(number, self.value_range)))
        return ", ".join(parts)


def read_made(source: Source) -> str | None:
    """How a data set was made, in a line; None if its dataset.json does not tell."""
    if FILE not in source.names:
        return None
    try:
        data = source.read(FILE)
        content = json.loads(data) if len(data) <= MAX_BYTES else None
        given = content.get(KEY) if isinstance(content, dict) else None
        if not isinstance(given, dict):
            return None
        known: dict[str, Any] = {f.name: given.get(f.name) for f in fields(Made)}
        known["size"] = tuple(map(int, known["size"]))
        return one_line(Made(**known), 200)
    except (UserError, ValueError, TypeError, RecursionError, IndexError, OverflowError):
        return None
