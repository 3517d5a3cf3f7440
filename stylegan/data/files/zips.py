# SPDX-License-Identifier: Apache-2.0
"""Files in a zip archive."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from stylegan.data.files.listing import Stored, list_files
from stylegan.data.files.problem import MAX_BYTES, Problem, too_large
from stylegan.errors import UserError

UTF8_FLAG = 0x800  # of an entry whose name is UTF-8
UTF8_FIELD = 0x7075  # of an entry that has its name in UTF-8 as well
UNIX = 3  # `create_system`
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, struct.error)


class ZipSource:
    """A `Source` of the files in a zip archive, without unpacking it."""

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._pid: int | None = None
        try:
            entries = self._open().infolist()
        except DAMAGE as e:
            raise UserError(path, f"not a readable zip archive ({e})") from e
        files = [(i, e) for i, e in enumerate(entries) if not e.orig_filename.endswith(("/", "\\"))]
        links = [e for _, e in files if _is_link(e)]
        stored = [Stored(_name(e), i) for i, e in files if not _is_link(e)]
        found = list_files(stored, encoding, "archive")
        why = "a link; make the archive without links (zip without -y)"
        self.problems = [*(Problem(e.filename, why) for e in links), *found.problems]
        self.notes = found.notes
        self.names = sorted(found.files)
        self._places = found.files  # in the archive's list

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises: UserError that names it."""
        try:
            archive = self._open()
            entry = archive.infolist()[self._places[name]]
            if entry.file_size > MAX_BYTES:
                raise too_large(f"{self.path}/{name}")
            return archive.read(entry)
        except UserError:
            raise
        except DAMAGE as e:
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


def _name(entry: zipfile.ZipInfo) -> str | bytes:
    """The name of an entry; bytes if nothing says their encoding."""
    name = entry.orig_filename
    if name.isascii() or entry.flag_bits & UTF8_FLAG:
        return name.split("\0")[0]
    raw = name.encode("cp437")  # as which zipfile decodes any bytes
    return _utf8_field(entry.extra, raw) or raw.split(b"\0")[0]


def _utf8_field(extra: bytes, raw: bytes) -> str | None:
    """The name in the field UTF8_FIELD, if that belongs to the name `raw`."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        data = extra[at + 4 : at + 4 + size]
        if kind == UTF8_FIELD and len(data) > 5 and data[0] == 1:
            if int.from_bytes(data[1:5], "little") == zlib.crc32(raw):
                try:
                    return data[5:].decode("utf-8")
                except UnicodeDecodeError:
                    return None
        at += 4 + size
    return None


def _is_link(entry: zipfile.ZipInfo) -> bool:
    return entry.create_system == UNIX and stat.S_ISLNK(entry.external_attr >> 16)
