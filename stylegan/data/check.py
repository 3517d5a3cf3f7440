# SPDX-License-Identifier: Apache-2.0
"""Which files of a data set can be used: each is decoded, as `prepare` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from stylegan.data import decode
from stylegan.data.processes import in_processes
from stylegan.data.source import Source
from stylegan.data.survey import Survey
from stylegan.errors import UserError, reason_for


@dataclass(frozen=True)
class Checked:
    """What was found in a file."""

    header: decode.Header | None  # None if it cannot be read
    why: str | None  # the reason why the file cannot be used; None if it can


@dataclass(frozen=True)
class Check:
    """Decodes files. Call it with names; it returns a `Checked` for each."""

    source: Source
    value_range: tuple[float, float] | None  # black and white of images of more than 8 bits
    own_ranges: bool = False  # each such image has a range of its own

    def __call__(self, names: list[str]) -> list[Checked | str]:
        return [self._check(name) for name in names]

    def _check(self, name: str) -> Checked:
        header = None
        try:
            data = self.source.read(name)
            header = decode.look(data, name)
            self.pixels(data, name, header.channels)
        except (UserError, ValueError, OSError, MemoryError) as e:
            return Checked(header, reason_for(e, name))
        return Checked(header, None)

    def pixels(self, data: bytes, name: str, channels: int) -> np.ndarray:
        """uint8 array [channels, H, W] of an image. Raises: UserError, ValueError or OSError."""
        if self.own_ranges:
            image = decode.to_eight_bits(decode.open_image(data, name)).image
        else:
            image = decode.read_image(data, name, self.value_range).image
        return decode.to_pixels(image, channels)


def check_all(
    check: Check,
    files: list[str],
    found: Survey,
    workers: int | None = None,
    progress: Callable[[list[str]], Iterable[str]] = lambda names: names,
) -> None:
    """Decode files and add them to `found`, which holds what is done after a KeyboardInterrupt.

    Args:
        workers: processes; 0 works in this one. None: one per CPU.
        progress: wraps the list of file names while it is processed.
    Raises: UserError if none of them can be read.
    """
    results = in_processes(check, progress(files), workers)
    try:
        for name, result in zip(files, results):
            if isinstance(result, str):
                found.add(name, None, result)
            else:
                found.add(name, result.header, result.why)
    finally:
        results.close()
    found.require_one(check.source.path)
