# SPDX-License-Identifier: Apache-2.0
"""What kind of images a data set has, from some of them."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from os.path import splitext
from pathlib import Path

from stylegan.data import decode
from stylegan.data.source import Problem, Source
from stylegan.errors import UserError, reason_for
from stylegan.identify import not_images
from stylegan.words import pixels as px


@dataclass
class Survey:
    """What was found in the files that were opened."""

    opened: int  # files
    sizes: Counter[tuple[int, int]]  # {(height, width) in px: images}
    channels: Counter[int]  # {1, 3 or 4: images}
    failures: list[Problem]  # files that cannot be used
    first: dict[tuple[int, int], str]  # {(height, width): a file of that size}

    @property
    def common_channels(self) -> int:
        """The channels that suit the images: 4 if at least half have transparency, else 3 if any
        has colour, else 1."""
        if 2 * self.channels[4] >= self.channels.total():
            return 4
        return 3 if self.channels[3] else 1

    def one_size(self, path: Path) -> tuple[int, int]:
        """(height, width) of all images. Raises: UserError that names `path` if they differ."""
        sizes = list(self.sizes)
        if len(sizes) > 1:
            (a, first), (b, other) = ((px(s), self.first[s]) for s in sizes[:2])
            raise UserError(
                path,
                f"{other} has {b} px but {first} has {a}; --resolution 256 crops and resizes all",
            )
        return sizes[0]


def survey(source: Source, files: list[str], limit: int) -> Survey:
    """Open `limit` of the images of a source, evenly spaced.

    Raises: UserError if none of them can be used.
    """
    opened = files[:: max(len(files) // limit, 1)]
    found = Survey(len(opened), Counter(), Counter(), [], {})
    for name in opened:
        try:
            header = decode.look(source.read(name), name)
        except UserError as e:
            found.failures.append(Problem(name, reason_for(e, name)))
            continue
        size = header.height, header.width
        found.sizes[size] += 1
        found.channels[header.channels] += 1
        found.first.setdefault(size, name)
    if not found.sizes:
        why = found.failures[0]
        raise UserError(source.path, f"none of {len(opened)} files looked at can be used; {why}")
    return found


def images_in(source: Source) -> list[str]:
    """The names of the images in a source. Raises: UserError if there are none."""
    known = decode.extensions()
    files = [name for name in source.names if splitext(name)[1].lower() in known]
    if not files:
        raise UserError(source.path, not_images(source.path, source.names))
    return files


def cpu_count() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
