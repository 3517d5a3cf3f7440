# SPDX-License-Identifier: Apache-2.0
"""What is stored under which names, in a folder or an archive, to files with names to compare."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from stylegan.data.files.encoding import TITLES, decode_names
from stylegan.data.files.names import clean_name, is_junk
from stylegan.data.files.problem import Problem

T = TypeVar("T")


@dataclass
class Listing(Generic[T]):
    """The files of a folder or an archive."""

    files: dict[str, T] = field(default_factory=dict)  # by clean name
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # on all of the names


@dataclass(frozen=True)
class Stored(Generic[T]):
    """A file under its own name."""

    name: str | bytes  # bytes if nothing says their encoding
    entry: T  # where to read it


def list_files(stored: list[Stored[T]], encoding: str | None, kind: str) -> Listing[T]:
    """Files by clean names (`clean_name`), without those of the system (`is_junk`).

    Args:
        stored: what is stored, in its order. Of two with one clean name the last counts.
        encoding: of names in bytes; None: a guess.
        kind: "archive" or "folder", for messages.
    Raises: UserError if names are not in `encoding`.
    """
    unknown = [s.name for s in stored if isinstance(s.name, bytes)]
    decoded = decode_names(unknown, encoding)
    texts = iter(decoded.names)
    found: Listing[T] = Listing()
    counts: Counter[str] = Counter()
    spelled: dict[str, str] = {}
    various = set()  # clean names that are spelled in several ways
    for s in stored:
        text = next(texts) if isinstance(s.name, bytes) else s.name
        name = clean_name(text)
        if name is None:
            found.problems.append(Problem(text, f"its name leads out of the {kind}"))
        elif name and not is_junk(name):
            if name in found.files:
                counts[name] += 1
            if spelled.setdefault(name, text) != text:
                various.add(name)
            found.files[name] = s.entry
    for name, more in counts.items():
        why = f"is in the {kind} {more + 1} times"
        if name in various:
            why += ", spelled in different ways"
        found.problems.append(Problem(name, f"{why}; the last one counts"))
    if decoded.guess:
        title = TITLES.get(decoded.guess, decoded.guess)
        found.notes.append(
            f"the file names do not say their encoding and are read as {title}, a guess; "
            "--zip-encoding sets another"
        )
    return found
