# SPDX-License-Identifier: Apache-2.0
"""Files in a folder or a zip, also nested ones, read by name."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from stylegan.errors import UserError
from stylegan.identify import KINDS, identify, is_address, is_network_folder, not_images

_EMBEDDED = Path(__file__).parent / "demo"
DEMOS = {  # names of data sets that come with the package
    "emoji": _EMBEDDED / "fluent-emoji-64.zip",
    "faces": _EMBEDDED / "faces-64.zip",
}
DEFAULT_DEMO = "emoji"
INCOMPLETE = "is a zip archive whose end is missing; copy or download it again"
MAX_BYTES = 1 << 30  # of one file; no image has more, but a small zip entry may unpack to more


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used, or not fully."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


class Source(Protocol):
    """Files of a data set. Names are relative to `path`, with forward slashes, sorted."""

    path: Path
    names: list[str]
    problems: list[Problem]  # with files that cannot be read

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises: UserError that names it."""


class FolderSource:
    """A `Source` of the files in a folder and its subfolders, also through links."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.names = sorted(self._walk(str(self.path), "", ()))

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises: UserError that names it."""
        path = self.path / name
        try:
            with path.open("rb") as f:
                data = f.read(MAX_BYTES + 1)
        except OSError as e:
            raise UserError(path, f"cannot be read ({e.strerror})") from e
        if len(data) > MAX_BYTES:
            raise _too_large(path)
        return data

    def _walk(self, path: str, prefix: str, above: tuple[str, ...]) -> Iterator[str]:
        """Names below `path`; `above` are the folders around it, to notice a loop of links."""
        try:
            with os.scandir(path) as found:
                entries = [e for e in found if _visible(e.name)]
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


class ZipSource:
    """A `Source` of the files in a zip archive, without unpacking it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._pid: int | None = None
        try:
            entries = [e.filename for e in self._open().infolist() if not e.is_dir()]
        except (zipfile.BadZipFile, OSError, NotImplementedError) as e:
            raise UserError(path, f"not a readable zip archive ({e})") from e
        self.problems = [
            Problem(e, "its name leads out of the archive") for e in entries if _leads_out(e)
        ]
        counts = Counter(e for e in entries if all(map(_visible, e.split("/"))))
        self.names = sorted(e for e in counts if not _leads_out(e))
        self.problems += [
            Problem(name, f"is in the archive {count} times; the last one counts")
            for name, count in counts.items()
            if count > 1
        ]

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises: UserError that names it."""
        try:
            archive = self._open()
            if archive.getinfo(name).file_size > MAX_BYTES:
                raise _too_large(f"{self.path}/{name}")
            return archive.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as e:
            raise UserError(self.path, f"cannot read {name} ({e})") from e

    def _open(self) -> zipfile.ZipFile:
        if self._zip is None:
            self._zip = zipfile.ZipFile(self.path)
        elif self._pid != os.getpid():
            # Forked loader processes share the list of files, which takes a second to read for
            # 100,000 files, but must not share one file position.
            self._zip.fp = open(self.path, "rb")
        self._pid = os.getpid()
        return self._zip

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_zip": None, "_pid": None}


def is_embedded(path: str | Path) -> bool:
    """Whether this names an embedded data set. A file or folder of that name comes first."""
    return str(path) in DEMOS and not Path(path).exists()


def open_source(path: str | Path) -> Source:
    """A folder, a zip or an embedded data set as a source. Raises: UserError for anything else."""
    if is_address(path):
        raise UserError(path, not_images(path))
    path = DEMOS[str(path)] if is_embedded(path) else Path(path)
    try:
        if path.is_dir():
            if is_network_folder(path):
                raise UserError(path, not_images(path))
            return FolderSource(path)
        if not path.is_file():
            raise UserError(path, not_images(path))
        if not zipfile.is_zipfile(path):
            cut = identify(path) is KINDS["zip"]
            raise UserError(path, INCOMPLETE if cut else not_images(path))
    except OSError as e:
        raise UserError(path, f"cannot be read ({e.strerror})") from e
    return ZipSource(path)


def _too_large(name: str | Path) -> UserError:
    return UserError(name, f"larger than {MAX_BYTES >> 30} GiB, not read")


def _leads_out(name: str) -> bool:
    return ".." in re.split(r"[/\\]", name)


def _visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"
