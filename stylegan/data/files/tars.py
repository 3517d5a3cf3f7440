# SPDX-License-Identifier: Apache-2.0
"""Files in a tar archive that is not compressed, read in place.

`tarfile` is not used: it takes twice as long to open 100,000 files, and a hostile header can
make it compute for minutes (CVE-2024-6232). Here a header is read once, and is bounded.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import BinaryIO, NamedTuple

from stylegan.data.files.listing import Stored, list_files
from stylegan.data.files.problem import MAX_BYTES, Problem, too_large
from stylegan.errors import UserError

BLOCK = 512
MAX_HEADER = 16 << 20  # bytes of a long name or of a table of attributes
MAX_LINKS = 20  # from one link to the next
FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
LONG_NAME, LONG_LINK = tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
ATTRIBUTES = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)
LINKS = (tarfile.LNKTYPE, tarfile.SYMTYPE)
NODES = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)  # devices and pipes
SPARSE = tarfile.GNUTYPE_SPARSE
NO_DATA = (*LINKS, *NODES, tarfile.DIRTYPE)


class Member(NamedTuple):
    """An entry of a tar archive."""

    name: bytes
    kind: bytes  # the type flag of its header
    at: int  # of its content, in bytes
    size: int
    link: bytes
    utf8: bool = False  # whether the archive says that the name is UTF-8

    @property
    def key(self) -> bytes:
        """The name that a link to it has."""
        return normpath(self.name.lstrip(b"/"))


class Place(NamedTuple):
    """Where the content of a file is."""

    at: int
    size: int


class _Damaged(ValueError):
    """A header that does not parse."""


class TarSource:
    """A `Source` of the files in a tar archive, without unpacking it. Links within it are files."""

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self.path = path
        self.problems: list[Problem] = []
        members = self._members()
        by_key = {m.key: m for m in members} if any(m.kind in LINKS for m in members) else {}
        found_files: list[tuple[Member, Place]] = []
        for member in members:
            file = _file(member, by_key)
            if isinstance(file, str):
                self.problems.append(Problem(member.name.decode("utf-8", "replace"), file))
            elif file:
                found_files.append((member, file))
        # Unix writes UTF-8, so names that all are UTF-8 are; others are decoded alike.
        names = [_text(member, "utf-8") for member, _ in found_files]
        if encoding is not None or any(isinstance(name, bytes) for name in names):
            names = [_text(member, "ascii") for member, _ in found_files]
        stored = [Stored(name, file) for name, (_, file) in zip(names, found_files)]
        found = list_files(stored, encoding, "archive")
        self.problems += found.problems
        self.notes = found.notes
        self.names = sorted(found.files)
        self._files = found.files

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises: UserError that names it."""
        place = self._files[name]
        if place.size > MAX_BYTES:
            raise too_large(f"{self.path}/{name}")
        try:
            with open(self.path, "rb") as f:  # loader processes must not share a file position
                f.seek(place.at)
                data = f.read(place.size)
        except OSError as e:
            raise UserError(self.path, f"cannot read {name} ({e})") from e
        if len(data) < place.size:
            raise UserError(self.path, f"cannot read {name} (the archive ends before)")
        return data

    def _members(self) -> list[Member]:
        """All entries in their order, up to where the archive is damaged."""
        members, end = [], self.path.stat().st_size
        with open(self.path, "rb") as f:
            try:
                for member in _walk(f):
                    if member.at + member.size > end:
                        raise _Damaged("it ends within a file")
                    members.append(member)
            except (_Damaged, OSError, OverflowError) as e:
                last = members[-1].name.decode("utf-8", "replace") if members else "the beginning"
                why = f"the archive is damaged after {last} ({e}); the rest is not read"
                self.problems.append(Problem(self.path.name, why))
        return members


def is_tar(path: Path) -> bool:
    """Whether a file begins like a tar archive that is not compressed."""
    with open(path, "rb") as f:
        block = f.read(BLOCK)
    try:
        return any(block) and bool(_header(block).name)
    except _Damaged:
        return False


def _header(block: bytes) -> Member:
    """The entry that a header describes; `at` is 0. Raises: _Damaged."""
    if len(block) < BLOCK:
        raise _Damaged("it ends within a header")
    if _octal(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * 32:
        raise _Damaged("a header with a wrong checksum")
    name, kind = _until_nul(block[:100]), block[156:157]
    if block[257:263] == b"ustar\0" and (prefix := _until_nul(block[345:500])):
        name = prefix + b"/" + name
    if name.endswith(b"/") and kind in FILES:  # before 1988
        kind = tarfile.DIRTYPE
    return Member(name, kind, 0, _octal(block[124:136]), _until_nul(block[157:257]))


def _until_nul(text: bytes) -> bytes:
    return text.partition(b"\0")[0]


def _octal(text: bytes) -> int:
    """A number in a header: octal digits, or bytes after one with its highest bit set."""
    if text[0] == 0x80:
        return int.from_bytes(text[1:], "big")
    try:
        return int(_until_nul(text).strip() or b"0", 8)
    except ValueError:
        raise _Damaged("a header without its numbers") from None


def _walk(f: BinaryIO) -> Iterator[Member]:
    """The entries of a tar archive, with long names and attributes applied."""
    at = 0
    every: dict[str, bytes] = {}  # attributes of all entries,
    here: dict[str, bytes] = {}  # and of the next one
    while True:
        f.seek(at)
        block = f.read(BLOCK)
        if not block.strip(b"\0"):  # the end; some programs leave the mark out
            return
        header = _header(block)
        kind, size, at = header.kind, header.size, at + BLOCK
        if kind in (*ATTRIBUTES, LONG_NAME, LONG_LINK):
            if size > MAX_HEADER:
                raise _Damaged("a header is too large")
            data = f.read(size)
            if len(data) < size:
                raise _Damaged("it ends within a header")
            if kind in (LONG_NAME, LONG_LINK):
                here["long name" if kind == LONG_NAME else "linkpath"] = data.split(b"\0")[0]
            else:
                (every if kind == tarfile.XGLTYPE else here).update(_attributes(data))
            at += -(-size // BLOCK) * BLOCK
            continue
        given, here = every | here if every else here, {}
        if kind == SPARSE and block[482]:  # more of its table follows
            while f.read(BLOCK)[504:505] not in (b"", b"\0"):
                at += BLOCK
            at += BLOCK
        if any(name.startswith("GNU.sparse") for name in given):
            kind = SPARSE
        if "size" in given:
            size = _number(given["size"])
        size = 0 if kind in NO_DATA else size
        name = given.get("path", given.get("long name", header.name))
        utf8 = "path" in given and given.get("hdrcharset") != b"BINARY"
        yield Member(name, kind, at, size, given.get("linkpath", header.link), utf8)
        at += -(-size // BLOCK) * BLOCK


def _attributes(data: bytes) -> dict[str, bytes]:
    """The records "<length> <key>=<value>" of a pax header."""
    found, at = {}, 0
    while at < len(data) and data[at]:
        space = data.find(b" ", at, at + 20)
        length = _number(data[at:space]) if space > at else 0
        if space <= at or not space - at < length <= len(data) - at:
            raise _Damaged("a table of attributes does not parse")
        key, _, value = data[space + 1 : at + length - 1].partition(b"=")
        found[key.decode("utf-8", "replace")] = value
        at += length
    return found


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise _Damaged("a table of attributes has no number where one belongs")
    return int(text)


def _file(member: Member, by_key: dict[bytes, Member]) -> Place | str | None:
    """The file that an entry is or links to; None for a folder; or why it cannot be read."""
    found = member
    for _ in range(MAX_LINKS):
        if found.kind in FILES:
            return Place(found.at, found.size)
        if found.kind in NODES:
            return "a device or pipe, not a file"
        if found.kind == SPARSE:
            return "a sparse file, which is not read; make the archive without --sparse"
        if found.kind not in LINKS:
            return None if found is member else "a link to a folder, which is not followed"
        target = found.link
        if found.kind == tarfile.SYMTYPE:
            target = join(dirname(found.key), target)
        target = normpath(target if found.kind == tarfile.SYMTYPE else target.lstrip(b"/"))
        if target.startswith((b"/", b"..")):
            return "a link that leads out of the archive"
        if target not in by_key:
            return "a link to nothing in the archive"
        found = by_key[target]
    return "a link to itself"


def _text(member: Member, assumed: str) -> str | bytes:
    """The name of an entry, in `assumed` if nothing says its encoding; bytes if it is not in it."""
    try:
        return member.name.decode("utf-8" if member.utf8 else assumed)
    except UnicodeDecodeError:
        return member.name
