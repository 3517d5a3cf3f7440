# SPDX-License-Identifier: Apache-2.0
"""Files in a folder or a zip, nested ones too, read by name."""

import os
import re
import zipfile
import zlib
from collections import Counter
from pathlib import Path

from stylegan.errors import UserError

LARGEST = 1 << 30  # bytes of one file; no image has more, but what a small zip entry unpacks to may


class FolderSource:
    """The files below a folder, through links too. Attributes: path; names, relative, with forward
    slashes, sorted; problems, [(name, why)] of what cannot be read."""

    def __init__(self, path):
        self.path, self.problems = Path(path), []
        self.names = sorted(self._walk(str(self.path), "", ()))

    def read(self, name):
        """The bytes of a file. Raises: UserError that names it."""
        path = self.path / name
        try:
            with path.open("rb") as f:
                data = f.read(LARGEST + 1)
        except OSError as e:
            raise UserError(path, f"cannot be read ({e.strerror})") from e
        if len(data) > LARGEST:
            raise _too_large(path)
        return data

    def _walk(self, folder, prefix, above):
        """Names below `folder`; `above` are the folders around it, to notice a loop of links."""
        try:
            with os.scandir(folder) as found:
                entries = [e for e in found if _visible(e.name)]
            here = (*above, os.path.realpath(folder))
        except OSError as e:
            self.problems.append((prefix.rstrip("/") or ".", f"cannot be read ({e.strerror})"))
            return
        for entry in entries:
            name = prefix + entry.name
            try:
                folder, file = entry.is_dir(), entry.is_file()
            except OSError:  # a link to itself
                folder = file = False
            if folder and entry.is_symlink() and os.path.realpath(entry.path) in here:
                self.problems.append((name, "a link to a folder that it is in"))
            elif folder:
                yield from self._walk(entry.path, name + "/", here)
            elif file:
                yield name
            elif entry.is_symlink():
                self.problems.append((name, "a link to nothing"))


class ZipSource:
    """The files in a zip archive, without unpacking it. Attributes as of `FolderSource`."""

    def __init__(self, path):
        self.path = Path(path)
        self._zip, self._pid = None, None
        try:
            entries = [e.filename for e in self._open().infolist() if not e.is_dir()]
        except (zipfile.BadZipFile, OSError, NotImplementedError) as e:
            raise UserError(path, f"not a readable zip archive ({e})") from e
        self.problems = [(e, "its name leads out of the archive") for e in entries if _leads_out(e)]
        entries = Counter(e for e in entries if all(map(_visible, e.split("/"))))
        self.names = sorted(e for e in entries if not _leads_out(e))
        self.problems += [
            (name, f"is in the archive {count} times; the last one counts")
            for name, count in entries.items()
            if count > 1
        ]

    def read(self, name):
        """The bytes of a file. Raises: UserError that names it."""
        try:
            archive = self._open()
            if archive.getinfo(name).file_size > LARGEST:
                raise _too_large(f"{self.path}/{name}")
            return archive.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as e:
            raise UserError(self.path, f"cannot read {name} ({e})") from e

    def _open(self):
        if self._zip is None:
            self._zip = zipfile.ZipFile(self.path)
        elif self._pid != os.getpid():
            # Loader processes are forked: they share the list of files, which takes a second to
            # read where there are 100,000, but must not share one file position.
            self._zip.fp = open(self.path, "rb")
        self._pid = os.getpid()
        return self._zip

    def __getstate__(self):
        return {**self.__dict__, "_zip": None, "_pid": None}


def open_source(path):
    """A folder or a zip as a source. Raises: UserError for anything else."""
    path = Path(path)
    try:
        if path.is_dir():
            return FolderSource(path)
        if not path.exists():
            raise UserError(path, "there is no such folder or zip")
        if not zipfile.is_zipfile(path):
            raise UserError(path, "expected a folder or a zip archive of images")
    except OSError as e:
        raise UserError(path, f"cannot be read ({e.strerror})") from e
    return ZipSource(path)


def _too_large(name):
    return UserError(name, f"larger than {LARGEST >> 30} GiB, not read")


def _leads_out(name):
    return ".." in re.split(r"[/\\]", name)


def _visible(name):
    return not name.startswith(".") and name != "__MACOSX"
