# SPDX-License-Identifier: Apache-2.0
"""What an archive or a compressed file holds, from its first bytes."""

from __future__ import annotations

import bz2
import lzma
import re
import struct
import zlib
from pathlib import Path

TORCH = (".pt", ".pth", ".ckpt", ".bin", ".pkl")  # what torch.save's files are called
MAX_NAMES = 64  # files of a zip whose names are looked at
UNPACKED = 4096  # bytes of a compressed file that are unpacked


def identify_zip(path: Path, head: bytes) -> str:
    """The kind of a zip archive, from the names of its first files."""
    names = _first_names(head)
    if path.suffix.lower() == ".keras":
        return "keras"
    if any(re.fullmatch(r"([^/]+/)?(data\.pkl|constants\.pkl|version)", n) for n in names):
        scripted = any(re.match(r"([^/]+/)?code/", n) for n in names)
        return "torchscript" if scripted else "torch"
    if any(re.search(r"(^|/)archive_(format|version)$|exported_program\.json$", n) for n in names):
        return "pt2"
    if names and all(n.endswith(".npy") for n in names):
        return "npz"
    if any(n == "[Content_Types].xml" or n == "mimetype" for n in names):
        return "office"
    return "torch" if path.suffix.lower() in TORCH else "zip"


def _first_names(head: bytes) -> list[str]:
    """The names of the files whose headers are among the first bytes."""
    names: list[str] = []
    at = 0
    while len(names) < MAX_NAMES and head.startswith(b"PK\x03\x04", at) and at + 30 <= len(head):
        size, name_size, extra_size = (
            struct.unpack_from("<I", head, at + 18)[0],
            *struct.unpack_from("<HH", head, at + 26),
        )
        name = head[at + 30 : at + 30 + name_size]
        names.append(name.decode("utf-8", "replace").replace("\\", "/"))
        at = head.find(b"PK\x03\x04", at + 30 + name_size + extra_size + size)
        if at < 0:
            break
    return names


def is_tar(head: bytes) -> bool:
    """Whether this begins a tar archive: by its mark, or by the checksum of old ones."""
    if head.startswith(b"ustar", 257):
        return True
    field = head[148:156].rstrip(b"\0 ").lstrip()
    if len(head) < 512 or not re.fullmatch(rb"[0-7]{1,7}", field):
        return False
    return int(field, 8) == sum(head[:148]) + 8 * 32 + sum(head[156:512]) and head[0] != 0


def unpacked_start(head: bytes, kind: str) -> bytes:
    """The first bytes of a compressed file, unpacked; none if that is not possible."""
    try:
        if kind == "gzip":
            return zlib.decompressobj(31).decompress(head, UNPACKED)
        if kind == "bzip2":
            return bz2.BZ2Decompressor().decompress(head, UNPACKED)
        if kind == "xz":
            return lzma.LZMADecompressor(memlimit=1 << 26).decompress(head, UNPACKED)
    except (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError):
        pass
    return b""
