# SPDX-License-Identifier: Apache-2.0
"""File names in bytes to text, if nothing says their encoding.

Old Windows programs write the code page of their country. A decoding counts as wrong to the degree
that people would not write such a name: box characters, accents without a plain letter beside them,
capitals within a word, rare Chinese characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from stylegan.errors import UserError

GUESSES = ("cp437", "gbk", "cp932", "cp866", "latin-1")  # the first of equal cost is taken
TITLES = {"cp437": "cp437 (DOS)", "cp932": "cp932 (Shift-JIS)", "cp866": "cp866 (Russian)"}
LETTERS = "äöüßåæøñé"  # that have a name in some alphabet, or are a word
MAX_SCORED = 2000  # distinct parts of names that are looked at to guess
MAX_LENGTH = 200  # characters of each
# Begins a combining accent, or a character of three or four bytes.
_LONG_UTF8 = re.compile(rb"\xcc|\xcd[\x80-\xaf]|[\xe0-\xf4]")
_PIECE = re.compile(r"[^\W\d_]+|[^\x00-\x7f]")  # a word, or another character


@dataclass(frozen=True)
class Decoded:
    """Names as text."""

    names: list[str]
    guess: str | None = None  # the encoding of those that are not UTF-8, if it was guessed


def check_encoding(name: str | None) -> None:
    """Raises: UserError if Python has no text encoding of this name."""
    try:
        b"a".decode("utf-8" if name is None else name)
    except (LookupError, ValueError) as e:
        raise UserError(
            "zip_encoding", f"no text encoding is called {name!r}; try gbk, shift_jis or cp437"
        ) from e


def decode_names(raw: list[bytes], encoding: str | None = None) -> Decoded:
    """Names that are not ASCII and not marked as UTF-8.

    Args: encoding: of all of them. None: UTF-8 for those where that is certain, and one guess for
        the others.
    Raises: UserError if the names are not in `encoding`.
    """
    if encoding is not None:
        return Decoded([_decode_as(name, encoding) for name in raw])
    certain: list[bytes] = []
    doubtful: list[bytes] = []
    others: list[bytes] = []
    for name in raw:
        text = _decoded(name, "utf-8")
        group = others if text is None else certain if _LONG_UTF8.search(name) else doubtful
        group.append(name)
    if not (doubtful or others):
        return Decoded([name.decode() for name in certain])
    guess = _guess([*others, *doubtful])
    utf8 = {*certain}
    if doubtful and _cost(doubtful, "utf-8") <= _cost(doubtful, guess):
        utf8.update(doubtful)
    names = [name.decode("utf-8" if name in utf8 else guess) for name in raw]
    return Decoded(names, guess if len(utf8) < len(set(raw)) else None)


def _decode_as(name: bytes, encoding: str) -> str:
    try:
        return name.decode(encoding)
    except ValueError:
        shown = name.decode("ascii", "backslashreplace")
        raise UserError(
            "zip_encoding",
            f"the file name {shown} is not valid {encoding}; try another, or none for a guess",
        ) from None


def _decoded(name: bytes, encoding: str) -> str | None:
    try:
        return name.decode(encoding)
    except ValueError:
        return None


def _guess(names: list[bytes]) -> str:
    """The most plausible of GUESSES that all names are in; latin-1 takes any bytes."""
    by_cost = sorted(GUESSES, key=lambda encoding: _cost(names, encoding))
    return next(e for e in by_cost if all(_decoded(name, e) is not None for name in names))


def _cost(names: Iterable[bytes], encoding: str) -> float:
    """How implausible names are in an encoding: 0 to about 2, for the average character that is
    not ASCII."""
    parts = sorted({part for name in names for part in name.split(b"/") if not part.isascii()})
    total, count = 0.0, 0
    for part in parts[:: len(parts) // MAX_SCORED + 1]:
        text = _decoded(part, encoding)
        if text is None:
            return float("inf")
        for piece in _PIECE.findall(text[:MAX_LENGTH]):
            costs = [_char_cost(c, piece, encoding) for c in piece if not c.isascii()]
            total += sum(costs)
            count += len(costs)
    return total / max(count, 1)


def _char_cost(char: str, word: str, encoding: str) -> float:
    plain = any(c.isascii() for c in word)  # letters a to z in the same word
    one_case = word.islower() or word.isupper() or word.istitle()
    if not char.isalpha():
        return 0.5 if "\u3000" <= char <= "\u303f" or "\uff00" <= char <= "\uff1f" else 2
    if char < "\u0370":  # Latin
        enough = 2 * sum(c.isascii() for c in word) >= sum(not c.isascii() for c in word)
        return 0 if (enough and one_case) or (encoding == "utf-8" and word in LETTERS) else 1
    if char < "\u0800":  # Greek, Cyrillic, Hebrew, Arabic
        alone = len(word) == 1 or plain or not (one_case or char >= "\u0590")
        return 1 if alone else 0
    return _wide_cost(char, encoding) + plain


def _wide_cost(char: str, encoding: str) -> float:
    """Chinese and Japanese characters: 0 for those of the first level of their standard."""
    code = char.encode(encoding, "replace")
    if len(code) < 2:
        return 1  # half as wide as others
    lead, trail = code[0], code[1]
    if encoding == "gbk":
        level = 0 if 0xB0 <= lead <= 0xD7 else 1 if 0xD8 <= lead <= 0xF7 else 3
        return 0.5 * (3 if trail < 0xA1 else level)
    kana = lead == 0x83 or (lead == 0x82 and trail >= 0x9F) or lead == 0x81
    level = 0 if kana or 0x88 <= lead <= 0x98 else 1 if 0x99 <= lead <= 0xEA else 3
    return 0.5 * level
