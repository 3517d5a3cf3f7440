# SPDX-License-Identifier: Apache-2.0
"""Files in a folder or a zip, nested ones too, read by name."""

import os
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from stylegan.errors import UserError


class FolderSource:
    """The files below a folder. Names are relative, with forward slashes, sorted."""

    def __init__(self, path):
        self.path = Path(path)
        found = (f for f in self.path.rglob("*") if f.is_file() and _visible(f, self.path))
        self.names = sorted(f.relative_to(self.path).as_posix() for f in found)

    def read(self, name):
        """The bytes of a file. Raises: UserError that names it."""
        try:
            return (self.path / name).read_bytes()
        except OSError as e:
            raise UserError(f"{self.path / name}: cannot be read ({e.strerror})") from e


class ZipSource:
    """The files in a zip archive, without unpacking it."""

    def __init__(self, path):
        self.path = Path(path)
        self._zip, self._pid = None, None
        try:
            entries = self._open().infolist()
        except (zipfile.BadZipFile, OSError) as e:
            raise UserError(f"{path}: not a readable zip archive ({e})") from e
        self.names = sorted(e.filename for e in entries if not e.is_dir() and _visible(e.filename))

    def read(self, name):
        """The bytes of a file. Raises: UserError that names it."""
        try:
            return self._open().read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as e:
            raise UserError(f"{self.path}: cannot read {name} ({e})") from e

    def _open(self):
        # Loader processes are forked; they must not share one file position.
        if self._pid != os.getpid():
            self._zip, self._pid = zipfile.ZipFile(self.path), os.getpid()
        return self._zip

    def __getstate__(self):
        return {**self.__dict__, "_zip": None, "_pid": None}


def open_source(path):
    """A folder or a zip as a source. Raises: UserError for anything else."""
    path = Path(path)
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise UserError(f"{path}: there is no such folder or zip")
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: expected a folder or a zip archive of images")
    return ZipSource(path)


def _visible(name, root=None):
    parts = PurePosixPath(name).parts if root is None else Path(name).relative_to(root).parts
    return not any(p.startswith(".") or p == "__MACOSX" for p in parts)
