# SPDX-License-Identifier: Apache-2.0
"""Archives as other programs write them."""

import io
import struct
import tarfile
import zipfile
import zlib

import numpy as np


class RawInfo(zipfile.ZipInfo):
    """A zip entry whose name is bytes, without the flag that says that they are UTF-8."""

    def __init__(self, raw, field=None):
        super().__init__(raw.decode("latin-1"))
        self.filename = self.orig_filename = raw.decode("latin-1")
        self.raw, self.create_system = raw, 0
        if field is not None:
            data = b"\1" + struct.pack("<I", zlib.crc32(field[0])) + field[1].encode()
            self.extra = struct.pack("<HH", 0x7075, len(data)) + data

    def _encodeFilenameFlags(self):
        return self.raw, self.flag_bits & ~0x800


def raw_zip(path, files, field=None):
    """A zip of {name in bytes: content}; `field`: {name: (bytes of the crc, text)} of 0x7075."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(RawInfo(name, (field or {}).get(name)), data)
    return path


def tar_of(path, entries, format=tarfile.GNU_FORMAT, encoding="utf-8"):
    """A tar of (name, content), or (name, type, link)."""
    with tarfile.open(path, "w", format=format, encoding=encoding) as archive:
        for name, *rest in entries:
            info = tarfile.TarInfo(name)
            data = rest[0] if len(rest) == 1 else b""
            info.size = len(data)
            if len(rest) == 2:
                info.type, info.linkname = rest
            archive.addfile(info, io.BytesIO(data))
    return path


def header(name, size=0, kind=b"0", **fields):
    """One block of a tar archive, with a right checksum; fields: {offset as "_124": bytes}."""
    block = bytearray(512)
    block[: len(name)] = name
    block[124:136] = b"%011o\0" % size
    block[156:157] = kind
    block[257:263] = b"ustar\0"
    for offset, data in fields.items():
        at = int(offset[1:])
        block[at : at + len(data)] = data
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % int(np.sum(block, dtype=np.int64))
    return bytes(block)
