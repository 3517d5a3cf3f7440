# SPDX-License-Identifier: Apache-2.0
"""`stylegan dataset` for programs and notebooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from stylegan.config.numbers import as_range, as_size
from stylegan.data import preparation
from stylegan.data.pixels.encode import Encoding
from stylegan.data.preparation import Prepared
from stylegan.data.transforms import TRANSFORMS
from stylegan.errors import UserError
from stylegan.words import KINDS, shown

__all__ = ["Prepared", "prepare"]

Progress = Callable[[int, int], Any]  # (files looked at, all files)


def prepare(
    source: str | Path,
    target: str | Path,
    resolution: int | Sequence[int] | None = None,
    transform: str = "center-crop",
    channels: int | None = None,
    labels: bool = True,
    dedupe: bool = False,
    format: str = "keep",
    quality: int | None = None,
    workers: int | None = 0,
    overwrite: bool = False,
    value_range: Sequence[float] | None = None,
    zip_encoding: str | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Write the images of `source` as a data set: one size, one kind, sRGB; as `stylegan dataset`.

    A file that cannot be used is left out and named in the result. The target appears complete or
    not at all.

    Args:
        source: folder, zip or tar, also with nested folders, or a name of `DEMOS`. A folder per
            class, or dataset.json, gives labels.
        target: a path that ends in .zip, or a folder. Folders above it are made.
        resolution: 256, or (height, width) in px; None: all images have the same size already.
        transform: how an image gets the size: center-crop, center-crop-wide, fit or pad.
        channels: 1 grey, 3 RGB, 4 RGBA; None: as most images have.
        labels: keep them.
        dedupe: leave out images with the pixels of an earlier one.
        format: of the files: keep, png, jpeg or webp.
        quality: 1 to 100, of JPEG, and of WebP, which then loses detail.
        workers: processes; 0: this one. None: one per CPU; a script then needs
            `if __name__ == "__main__":` on some systems.
        overwrite: replace a data set at `target`.
        value_range: values of black and white in images of more than 8 bits; None: chosen.
        zip_encoding: of file names that are not marked as UTF-8; None: a guess.
        progress: called with (done, total) for every file.
    Returns: `Prepared`, what was written and what was not.
    Raises: UserError if nothing can be written, OSError if the disk is full.
    """
    if transform not in TRANSFORMS:
        expected = ", ".join(TRANSFORMS)
        raise UserError("transform", f"expected one of {expected}, got {shown(transform)}")
    if channels is not None and channels not in KINDS:
        raise UserError("channels", f"expected one of 1, 3, 4, got {shown(channels)}")
    counted = _Counted(progress)
    done = preparation.prepare(
        source,
        target,
        size=None if resolution is None else as_size(resolution),
        transform=transform,
        channels=channels,
        labels=labels,
        dedupe=dedupe,
        workers=workers,
        overwrite=overwrite,
        value_range=None if value_range is None else as_range(value_range),
        encoding=Encoding(format, quality),
        zip_encoding=zip_encoding,
        progress=counted,
    )
    counted.end()
    return done


class _Counted:
    """Passes names on, and calls `progress` when the work on each has ended."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress, self.done, self.total = progress, 0, 0

    def __call__(self, names: list[str]) -> Iterator[str]:
        self.total = len(names)
        for name in names:
            yield name
            self._step()

    def end(self) -> None:
        """The last name has no next one whose turn would tell."""
        if self.done < self.total:
            self._step()

    def _step(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)
