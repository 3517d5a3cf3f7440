# SPDX-License-Identifier: Apache-2.0
"""Files of a data set that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stylegan.errors import UserError
from stylegan.words import printable

MAX_BYTES = 1 << 30  # of one file; no image has more, but a small zip entry may unpack to more


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used, or not fully."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{printable(self.name)}: {self.why}"


def too_large(name: str | Path) -> UserError:
    """The error of a file that has more than MAX_BYTES."""
    return UserError(name, f"larger than {MAX_BYTES >> 30} GiB, not read")
