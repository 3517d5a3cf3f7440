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


def tiff(values, order="<", photometric=None, compression=1, strips=1, planes=False, extra=2):
    """[H, W] or [H, W, C] of any number type as TIFF.

    `planes`: one colour after the other. `extra`: what the fourth value is, 2 for alpha.
    """
    a = values.reshape(*values.shape[:2], -1)
    height, width, channels = a.shape
    a = a.astype(a.dtype.newbyteorder(order))
    parts = [a[:, :, i] for i in range(channels)] if planes else [a]
    rows = -(-height // strips)
    data = [p[y : y + rows].tobytes() for p in parts for y in range(0, height, rows)]
    data = [zlib.compress(d) for d in data] if compression == 8 else data
    form = {"u": 1, "i": 2, "f": 3}[a.dtype.kind]
    if photometric is None:
        photometric = 1 if channels < 3 else 2
    tags = {256: [width], 257: [height], 258: [a.dtype.itemsize * 8] * channels}
    tags |= {259: [compression], 262: [photometric], 273: [0] * len(data), 277: [channels]}
    tags |= {278: [rows], 279: list(map(len, data)), 284: [1 + planes], 339: [form] * channels}
    if channels == 4:
        tags[338] = [extra]
    after = 8 + 2 + 12 * len(tags) + 4
    sizes = [(4 if tag in (273, 279) else 2) * len(v) for tag, v in tags.items()]
    at = after + sum(size for size in sizes if size > 4)
    tags[273] = [at + sum(tags[279][:i]) for i in range(len(data))]
    more, entries = b"", b""
    for tag, numbers in sorted(tags.items()):
        kind, letter = (4, "I") if tag in (273, 279) else (3, "H")
        packed = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        if len(packed) > 4:
            packed, more = struct.pack(order + "I", after + len(more)), more + packed
        entries += struct.pack(order + "HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    head += struct.pack(order + "H", len(tags))
    return b"".join([head, entries, bytes(4), more, *data])
