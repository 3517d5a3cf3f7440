# SPDX-License-Identifier: Apache-2.0
"""The bytes of a checkpoint. Long strings stay in the file until they are read."""

from __future__ import annotations

import codecs
import mmap
import os
import threading
from dataclasses import dataclass

from stylegan.errors import CheckpointError

CHUNK = 1 << 18  # bytes of text to decode at a time
NOT_BYTES = "text that should encode bytes contains other characters"


class File:
    """A file that stays open as long as parts of it may be read.

    Attributes: path; size; view: the whole file, memory-mapped for parsing, until `unmap`.
    Raises: CheckpointError if it is empty, OSError if it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path, self.lock = path, threading.Lock()
        self.file = open(path, "rb", buffering=0)
        try:
            self.map = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            self.file.close()
            raise CheckpointError(path, "the file is empty") from None
        except OSError as e:
            self.file.close()
            raise OSError(e.errno, e.strerror, str(path)) from e
        self.view, self.size = memoryview(self.map), len(self.map)

    def unmap(self) -> None:
        """End parsing. What is read later does not stay in memory as mapped pages."""
        try:
            self.view.release()
            self.map.close()
        except BufferError:
            pass  # a traceback still refers to the view, and frees it when it goes

    def close(self) -> None:
        """Close the file. Nothing can be read from it any more."""
        self.unmap()
        self.file.close()

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()

    def read(self, start: int, length: int) -> bytearray:
        """`length` bytes from `start`. Raises: CheckpointError if the file has shrunk."""
        result = bytearray(length)
        rest = memoryview(result)
        with self.lock:
            self.file.seek(start)
            while rest:
                n = self.file.readinto(rest)
                if not n:
                    raise CheckpointError(self.path, "the file has shrunk since it was opened")
                rest = rest[n:]
        return result


@dataclass(frozen=True)
class Span:
    """A byte string that stays in the file."""

    file: File
    start: int
    length: int

    def __len__(self) -> int:
        return self.length

    def read(self, start: int = 0, length: int | None = None) -> bytearray:
        """`length` bytes from `start`; by default all of them."""
        length = self.length - start if length is None else length
        return self.file.read(self.start + start, length)


@dataclass(frozen=True)
class Text:
    """UTF-8 text that stays in the file."""

    file: File
    start: int
    length: int

    decoder = codecs.getincrementaldecoder("utf-8")

    def size(self) -> int:
        """The number of characters, if all of them are below 256, as in text that encodes bytes.

        From 128 on, a character takes two bytes of UTF-8, the first of them 0xc2 or 0xc3.
        """
        parts = (self._part(at) for at in range(0, self.length, CHUNK))
        return self.length - sum(part.count(b"\xc2") + part.count(b"\xc3") for part in parts)

    def encoded(self, length: int | None = None) -> bytearray:
        """The bytes that the text encodes, one per character.

        Args: length: stop soon after this many bytes.
        Raises: CheckpointError for characters from 256 on.
        """
        decoder, result = self.decoder(), bytearray()
        try:
            for at in range(0, self.length, CHUNK):
                last = at + CHUNK >= self.length
                result += decoder.decode(self._part(at), last).encode("latin1")
                if length is not None and len(result) >= length:
                    break
        except UnicodeError as e:
            raise CheckpointError(self.file.path, NOT_BYTES) from e
        return result

    def _part(self, at: int) -> bytearray:
        return self.file.read(self.start + at, min(CHUNK, self.length - at))


class Escaped(Text):
    """Text that stays in the file, as protocol 0 writes it: one byte a character, and \\uXXXX for
    some characters, among them every backslash."""

    decoder = codecs.getincrementaldecoder("raw-unicode-escape")

    def size(self) -> int:
        """The number of characters."""
        parts = (self._part(at) for at in range(0, self.length, CHUNK))
        return self.length - 5 * sum(part.count(b"\\") for part in parts)


@dataclass(frozen=True)
class Encoded:
    """A byte string that stays in the file as text, which is how protocol 2 writes bytes."""

    text: Text
    start: int
    length: int

    @property
    def file(self) -> File:
        """The file that contains the text."""
        return self.text.file

    def __len__(self) -> int:
        return self.length

    def read(self, start: int = 0, length: int | None = None) -> bytearray:
        """`length` bytes from `start`; by default all of them."""
        start, length = self.start + start, self.length - start if length is None else length
        part = self.text.encoded(start + length)[start : start + length]
        if len(part) != length:
            raise CheckpointError(self.file.path, NOT_BYTES)
        return part


@dataclass(frozen=True)
class Region:
    """Bytes to parse.

    Attributes:
        file: for messages, and for strings that stay there.
        view: the bytes.
        base: offset of the view in the file; None if the view is decoded or copied from it.
    """

    file: File
    view: memoryview
    base: int | None = 0
