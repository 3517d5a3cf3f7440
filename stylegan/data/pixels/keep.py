# SPDX-License-Identifier: Apache-2.0
"""The bytes of an image file without what is no picture: EXIF (with the place where a photo was
taken), XMP, comments, colour profile, previews, further frames. No pixel is coded anew."""

from __future__ import annotations

import struct

KEPT = {"PNG": "png", "JPEG": "jpg", "MPO": "jpg", "WEBP": "webp"}  # formats: endings

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}

# JPEG markers: https://www.w3.org/Graphics/JPEG/itu-t81.pdf, table B.1
SOI, EOI, SOS, COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
APP0, APP14, APP15 = 0xE0, 0xEE, 0xEF
RESTARTS = range(0xD0, 0xD8)

WEBP_CHUNKS = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH"}
WEBP_METADATA = 0x20 | 0x08 | 0x04  # flags of VP8X: profile, EXIF, XMP


def picture_only(data: bytes, kind: str) -> bytes | None:
    """The bytes that hold the pixels of an image file, as a file of the same format.

    Args:
        kind: the format, by Pillow's name.
    Returns: the bytes; None if the file is not of one of the formats in KEPT, or not built as
        expected.
    """
    try:
        if kind == "PNG":
            return _png(data)
        if kind in ("JPEG", "MPO"):
            return _jpeg(data)
        return _webp(data) if kind == "WEBP" else None
    except (struct.error, IndexError):  # the file ends too early
        return None


def _png(data: bytes) -> bytes | None:
    parts, at = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    if not data.startswith(PNG_SIGNATURE):
        return None
    while True:
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            return None
        if name in PNG_CHUNKS:
            parts.append(data[at:end])
        elif not name[0] & 0x20:  # critical, and unknown
            return None
        if name == b"IEND":
            return b"".join(parts)
        at = end


def _jpeg(data: bytes) -> bytes | None:
    if data[:2] != bytes([0xFF, SOI]):
        return None
    parts, at = [data[:2]], 2
    while True:
        if data[at] != 0xFF:
            return None
        while data[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker = data[at + 1]
        if marker == EOI:
            return b"".join([*parts, bytes([0xFF, EOI])])
        end = at + 2 + int(struct.unpack_from(">H", data, at + 2)[0])
        if end > len(data):
            return None
        if marker == SOS:
            end = _end_of_scan(data, end)
        if not _is_metadata(marker, data[at + 4 : at + 8]):
            parts.append(data[at:end])
        at = end


def _is_metadata(marker: int, begin: bytes) -> bool:
    """Whether a JPEG segment has nothing to do with the pixels. APP0 of JFIF and APP14 of Adobe say
    how colours are stored."""
    if marker == APP0:
        return begin != b"JFIF"
    if marker == APP14:
        return begin != b"Adob"
    return APP0 < marker <= APP15 or marker == COMMENT


def _end_of_scan(data: bytes, at: int) -> int:
    """Where the next marker stands, behind compressed pixels."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            raise IndexError("no end of the image")
        following = data[at + 1]
        if following != 0 and following not in RESTARTS:
            return at
        at += 2


def _webp(data: bytes) -> bytes | None:
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    parts, at = [b"WEBP"], 12
    stop = min(8 + struct.unpack_from("<I", data, 4)[0], len(data))
    while at + 8 <= stop:
        name, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        chunk = data[at:end]
        if name == b"ANIM":
            return None
        if name == b"VP8X":
            chunk = chunk[:8] + bytes([chunk[8] & ~WEBP_METADATA]) + chunk[9:]
        if name in WEBP_CHUNKS:
            parts.append(chunk)
        at = end
    body = b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body
