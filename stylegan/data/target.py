# SPDX-License-Identifier: Apache-2.0
"""Where a prepared data set is written: a zip, a tar or a folder, which appears complete or not at
all."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from stylegan.data.files.tars import is_tar
from stylegan.data.labels import FILE
from stylegan.errors import UserError
from stylegan.files import remove_partial, whole_file, whole_folder

REFUSED = (".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar")


class Target(Protocol):
    """An open data set."""

    def write(self, name: str, data: bytes) -> None:
        """Add a file."""


def check_target(source: Path, dest: Path, overwrite: bool) -> None:
    """Raises: UserError if the data set of `source` may not be written to `dest`."""
    if dest.suffix.lower() in REFUSED and not dest.is_dir():
        raise UserError(
            dest,
            "only .zip and .tar without compression are written, because images are compressed "
            "already; end the name in .zip or .tar",
        )
    here, there = source.resolve(), dest.resolve()
    if here in (there, *there.parents):
        raise UserError(dest, f"lies in the source; choose a path outside of {source}")
    if there in here.parents and there.exists():
        raise UserError(dest, f"holds the source, {source}, and is not replaced")
    if not dest.exists() or dest.is_dir() and not any(dest.iterdir()):
        return
    if dest.is_dir() and not (dest / FILE).is_file():
        raise UserError(dest, f"is a folder without {FILE}, not a data set; not replaced")
    if dest.is_file() and not _is_archive(dest):
        kind = "tar" if dest.suffix.lower() == ".tar" else "zip"
        raise UserError(dest, f"is not a {kind} archive; not replaced")
    if not overwrite:
        raise UserError(dest, "already exists; --overwrite replaces it")


def _is_archive(dest: Path) -> bool:
    """Whether a file is what the ending of its name says."""
    if dest.suffix.lower() == ".tar":
        return is_tar(dest)
    return dest.suffix.lower() == ".zip" and zipfile.is_zipfile(dest)


@contextmanager
def open_target(dest: Path) -> Iterator[Target]:
    """What a data set is written to: a zip, a tar or a folder, which appears as `dest` if the block
    ends without an error."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    for folder in (dest.parent, dest):
        remove_partial(folder, dest.name)
    if dest.suffix.lower() == ".zip" and not dest.is_dir():
        with whole_file(dest) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            yield ZipTarget(archive)
    elif dest.suffix.lower() == ".tar" and not dest.is_dir():
        with whole_file(dest) as part, tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
            yield TarTarget(tar)
    else:
        with whole_folder(dest, overwrite=True, marker=FILE) as part:
            yield FolderTarget(part)


class ZipTarget:
    """Writes into a zip archive, without compression, because PNG is compressed."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def write(self, name: str, data: bytes) -> None:
        entry = zipfile.ZipInfo(name)  # its date is fixed: the same images give the same archive
        entry.external_attr = 0o644 << 16
        self._archive.writestr(entry, data)


class TarTarget:
    """Writes into a tar archive without compression."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    def write(self, name: str, data: bytes) -> None:
        entry = tarfile.TarInfo(name)  # its date and owner are fixed, as in a zip
        entry.size = len(data)
        self._archive.addfile(entry, io.BytesIO(data))
        self._archive.getmembers().clear()  # 1 kB for each file, needed only to read them


class FolderTarget:
    """Writes into a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, name: str, data: bytes) -> None:
        path = self._path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
