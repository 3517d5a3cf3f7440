# SPDX-License-Identifier: Apache-2.0
"""Where a data set is: a folder, a zip or tar archive, or one that comes with the package."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Protocol

from stylegan.data.files.encoding import check_encoding
from stylegan.data.files.folder import FolderSource
from stylegan.data.files.problem import Problem
from stylegan.data.files.tars import TarSource, is_tar
from stylegan.data.files.zips import ZipSource
from stylegan.errors import UserError
from stylegan.identify import KINDS, identify, is_address, is_network_folder, not_images

__all__ = ["DEFAULT_DEMO", "DEMOS", "Problem", "Source", "is_embedded", "open_source"]

_EMBEDDED = Path(__file__).parent / "demo"
DEMOS = {  # names of data sets that come with the package
    "faces": _EMBEDDED / "faces-64.zip",
    "emoji": _EMBEDDED / "fluent-emoji-64.zip",
}
DEFAULT_DEMO = "faces"
INCOMPLETE = "is a zip archive whose end is missing; copy or download it again"


class Source(Protocol):
    """Files of a data set. Names are relative to `path`, with forward slashes, in normal form
    (NFC), sorted, and without files of the system."""

    path: Path
    names: list[str]
    problems: list[Problem]  # with files that cannot be read
    notes: list[str]  # on all of the names

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises: UserError that names it."""


def is_embedded(path: str | Path) -> bool:
    """Whether this names an embedded data set. A file or folder of that name comes first."""
    return str(path) in DEMOS and not Path(path).exists()


def open_source(path: str | Path | None, encoding: str | None = None) -> Source:
    """A folder, a zip or tar archive, or an embedded data set as a source.

    Args:
        path: None: the default one of the embedded data sets.
        encoding: of file names that are not marked as UTF-8; None: a guess.
    Raises: UserError for anything else.
    """
    check_encoding(encoding)
    if path is None:
        path = DEMOS[DEFAULT_DEMO]
    if is_address(path):
        raise UserError(path, not_images(path))
    path = DEMOS[str(path)] if is_embedded(path) else Path(path)
    try:
        if path.is_dir() and not is_network_folder(path):
            return FolderSource(path, encoding)
        if path.is_file() and is_tar(path):  # before zip: a tar archive may end with a zip
            return TarSource(path, encoding)
        if path.is_file() and zipfile.is_zipfile(path):
            return ZipSource(path, encoding)
        cut = identify(path) is KINDS["zip"]
    except OSError as e:
        raise UserError(path, f"cannot be read ({e.strerror})") from e
    raise UserError(path, INCOMPLETE if cut else not_images(path))
