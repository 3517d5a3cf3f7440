# SPDX-License-Identifier: Apache-2.0
"""Files of images with more than 8 bits a value, written without Pillow where it cannot."""

import io
import struct
import zlib

from PIL import Image


def encoded_deep(values, kind="PNG"):
    """[H, W] uint16, int32 or float32 as an image file."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


def png16(values):
    """uint16 [H, W, C] with C from 1 to 4 as PNG: grey, grey and alpha, RGB, RGBA."""
    height, width, channels = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = (b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def png_chunk(name, data):
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def tiff(values, order="<", photometric=None, compression=1):
    """[H, W] or [H, W, C] of any number type as TIFF, in one strip."""
    a = values.reshape(*values.shape[:2], -1)
    height, width, channels = a.shape
    data = a.astype(a.dtype.newbyteorder(order)).tobytes()
    if compression == 8:
        data = zlib.compress(data)
    form = {"u": 1, "i": 2, "f": 3}[a.dtype.kind]
    if photometric is None:
        photometric = 1 if channels < 3 else 2
    many = [a.dtype.itemsize * 8] * channels, [form] * channels
    tags = {256: [width], 257: [height], 258: many[0], 259: [compression], 262: [photometric]}
    tags |= {273: [0], 277: [channels], 278: [height], 279: [len(data)], 339: many[1]}
    if channels == 4:
        tags[338] = [2]
    after = 8 + 2 + 12 * len(tags) + 4
    extra, entries = b"", b""
    for tag, numbers in sorted(tags.items()):
        kind, letter = (4, "I") if tag in (273, 279) else (3, "H")
        packed = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        if len(packed) > 4:
            packed, extra = struct.pack(order + "I", after + len(extra)), extra + packed
        entries += struct.pack(order + "HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    entries = entries.replace(
        struct.pack(order + "HHI", 273, 4, 1) + bytes(4),
        struct.pack(order + "HHII", 273, 4, 1, after + len(extra)),
    )
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return head + struct.pack(order + "H", len(tags)) + entries + bytes(4) + extra + data
