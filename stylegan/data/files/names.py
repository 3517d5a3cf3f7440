# SPDX-License-Identifier: Apache-2.0
"""Names of files, as they are compared: one separator, one normal form, nothing of the system."""

from __future__ import annotations

import re
import unicodedata

# What systems and programs add to folders. None of it is an image of the user, a class or an error.
_JUNK = re.compile(
    r"(?:^|/)(?:\.[^/]*|__MACOSX|@eaDir|[@#]recycle|\$RECYCLE\.BIN|System Volume Information"
    r"|Thumbs\.db|ehthumbs(?:_vista)?\.db|desktop\.ini|Icon\r)(?:/|$)",
    re.IGNORECASE,
)
_ODD = re.compile(r"\\|^[A-Za-z]:/|(?:^|/)\.{0,2}(?:/|$)")  # a name that `parts_of` changes
_DRIVE = re.compile(r"[A-Za-z]:")


def normal(text: str) -> str:
    """`text` in the normal form in which names are compared (NFC). macOS writes NFD."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def parts_of(name: str) -> list[str]:
    """The parts of a path in normal form. Slashes and backslashes separate them; a drive, a leading
    slash and "." are left out."""
    parts = [p for p in normal(name).replace("\\", "/").split("/") if p not in ("", ".", "?")]
    return parts[1:] if len(parts) > 1 and _DRIVE.fullmatch(parts[0]) else parts


def clean_name(name: str) -> str | None:
    """The name of a stored file with forward slashes, in normal form. None if it leads out of the
    folder or archive."""
    if name.isascii() and not _ODD.search(name):
        return name
    parts = parts_of(name)
    return None if ".." in parts else "/".join(parts)


def is_junk(name: str) -> bool:
    """Whether a file or folder belongs to a system or program: hidden, __MACOSX, Thumbs.db."""
    return _JUNK.search(name) is not None


def class_order(name: str) -> tuple[int, int, str, str]:
    """The sort key of class names: numbers first, by value, then text. If the names are 0 to n - 1,
    the number of a class is its name."""
    if name.isascii() and name.isdecimal():
        digits = name.lstrip("0")  # compared as text: int() refuses thousands of digits
        return 0, len(digits), digits, name
    return 1, 0, name, name
