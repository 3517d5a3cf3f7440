# SPDX-License-Identifier: Apache-2.0
"""Files in a folder and its subfolders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from stylegan.data.files.listing import Stored, list_files
from stylegan.data.files.names import clean_name, is_junk
from stylegan.data.files.problem import MAX_BYTES, Problem, too_large
from stylegan.errors import UserError


class FolderSource:
    """A `Source` of the files in a folder and its subfolders, also through links."""

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self.path = path
        self.problems: list[Problem] = []
        # Of files with one clean name, the last one counts: the one with that name on the disk.
        paths = sorted(self._walk(str(path), "", ()), key=lambda p: (p == clean_name(p), p))
        found = list_files([Stored(_name(p), p) for p in paths], encoding, "folder")
        self.names = sorted(found.files)
        self.problems += found.problems
        self.notes = found.notes
        self._paths = {name: path for name, path in found.files.items() if name != path}

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises: UserError that names it."""
        path = self.path / self._paths.get(name, name)
        try:
            with path.open("rb") as f:
                data = f.read(MAX_BYTES + 1)
        except OSError as e:
            raise UserError(path, f"cannot be read ({e.strerror})") from e
        if len(data) > MAX_BYTES:
            raise too_large(path)
        return data

    def _walk(self, path: str, prefix: str, above: tuple[str, ...]) -> Iterator[str]:
        """Names below `path`; `above` are the folders around it, to notice a loop of links."""
        try:
            with os.scandir(path) as found:
                entries = [e for e in found if not is_junk(e.name)]
            here = (*above, os.path.realpath(path))
        except OSError as e:
            name = prefix.rstrip("/") or "."
            self.problems.append(Problem(name, f"cannot be read ({e.strerror})"))
            return
        for entry in entries:
            name = prefix + entry.name
            try:
                folder, file = entry.is_dir(), entry.is_file()
            except OSError:  # a link to itself
                folder = file = False
            if folder and entry.is_symlink() and os.path.realpath(entry.path) in here:
                self.problems.append(Problem(name, "a link to a folder that it is in"))
            elif folder:
                yield from self._walk(entry.path, name + "/", here)
            elif file:
                yield name
            elif entry.is_symlink():
                self.problems.append(Problem(name, "a link to nothing"))


def _name(path: str) -> str | bytes:
    """A path as the system gave it; bytes if they are not valid in the encoding of the system."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path
