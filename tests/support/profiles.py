# SPDX-License-Identifier: Apache-2.0
"""Colour profiles (ICC), and what they mean, computed without a colour library."""

import struct

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
PRIMARIES = {  # XYZ of red, green and blue, adapted to D50
    "srgb": ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)),
    "p3": ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)),
    "adobe": ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.7446)),
    "prophoto": ((0.79767, 0.28804, 0.0), (0.13519, 0.71187, 0.0), (0.03134, 0.00009, 0.8249)),
}


def rgb_profile(primaries, gamma):
    """A profile of RGB colours; gamma is a number, or "srgb" for its curve."""
    colours = (_xyz(c) for c in PRIMARIES[primaries])
    tags = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), colours))
    tags |= {name: _curve(gamma) for name in (b"rTRC", b"gTRC", b"bTRC")}
    return _profile(b"RGB ", b"XYZ ", {**tags, b"wtpt": _xyz(D50)})


def grey_profile(gamma):
    """A profile of grey."""
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma), b"wtpt": _xyz(D50)})


def cmyk_profile():
    """A profile in which cyan, magenta and yellow add nothing, and black ink decides alone: Lab is
    100, 0, 0 without it and 20, 60, 0, a dark pink, with it."""
    entries = [(51, 188, 128) if ink & 1 else (255, 128, 128) for ink in range(16)]
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    table += struct.pack(">9i", *(int(i % 4 == 0) << 16 for i in range(9)))
    ramp = bytes(range(256))
    table += ramp * 4 + bytes(v for e in entries for v in e) + ramp * 3
    return _profile(b"CMYK", b"Lab ", {b"A2B0": table, b"wtpt": _xyz(D50)}, b"prtr")


def to_srgb(rgb, primaries, gamma):
    """uint8 [..., 3] of a profile -> the same colours in sRGB, float in 0..255."""
    x = np.asarray(rgb) / 255
    linear = _srgb_linear(x) if gamma == "srgb" else x**gamma
    xyz = linear @ np.array(PRIMARIES[primaries])
    linear = np.clip(xyz @ np.linalg.inv(PRIMARIES["srgb"]), 0, 1)
    return 255 * np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _srgb_linear(x):
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def _xyz(values):
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in values))


def _curve(gamma):
    if gamma != "srgb":
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    table = np.round(65535 * _srgb_linear(np.linspace(0, 1, 1024))).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", 1024) + table.tobytes()


def _profile(space, connection, tags, kind=b"mntr"):
    text = b"a test\0"
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 7) + text + bytes(78), **tags}
    tags |= {b"cprt": b"text" + bytes(4) + text}
    at, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", at + len(body), bytes(4), 0x02100000, kind, space, connection)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp"
    head += bytes(68 - len(head)) + struct.pack(">3i", *(round(v * 65536) for v in D50))
    return head + bytes(128 - len(head)) + table + body
