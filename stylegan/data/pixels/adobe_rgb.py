# SPDX-License-Identifier: Apache-2.0
"""Photos in Adobe RGB that say so in EXIF alone, as cameras write them by the DCF standard.

Source: Adobe RGB (1998) Color Image Encoding, version 2005-05, 4.3; DCF 2.0 (JEITA CP-3461B), 3.2;
ICC.1:2001-04 for the profile.
"""

from __future__ import annotations

import struct
import warnings

from PIL import Image

EXIF_IFD, INTEROP_IFD = 0x8769, 0xA005
COLOUR_SPACE, INDEX = 0xA001, 1  # EXIF tags
UNCALIBRATED, ADOBE = 0xFFFF, "R03"  # their values

D50 = (0.9642, 1.0, 0.8249)
PRIMARIES = {  # XYZ, adapted to D50
    b"rXYZ": (0.60974, 0.31111, 0.01947),
    b"gXYZ": (0.20528, 0.62567, 0.06087),
    b"bXYZ": (0.14919, 0.06322, 0.74457),
}
GAMMA = 563 / 256


def is_adobe_rgb(image: Image.Image) -> bool:
    """Whether the EXIF data of an image names Adobe RGB."""
    if "exif" not in image.info:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exif = image.getexif()
            if exif.get_ifd(EXIF_IFD).get(COLOUR_SPACE) != UNCALIBRATED:
                return False
            return str(exif.get_ifd(INTEROP_IFD).get(INDEX, "")).strip("\0 ") == ADOBE
    except Exception:  # damaged EXIF raises almost anything
        return False


def _profile() -> bytes:
    name = b"Adobe RGB by EXIF\0"
    tags = {
        b"desc": b"desc" + struct.pack(">II", 0, len(name)) + name + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(D50),
        **{tag: _xyz(values) for tag, values in PRIMARIES.items()},
    }
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(GAMMA * 256))
    tags |= {tag: curve for tag in (b"rTRC", b"gTRC", b"bTRC")}
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">IIII", start + len(body), 0, 0x02400000, 0)[:12]
    head += b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28) + _xyz(D50)[8:]
    return head + bytes(128 - len(head)) + table + body


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in values))


PROFILE = _profile()
