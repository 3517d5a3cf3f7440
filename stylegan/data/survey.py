# SPDX-License-Identifier: Apache-2.0
"""What kind of images a data set has, from some of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from os.path import splitext
from pathlib import Path
from statistics import median_low

from stylegan.config.numbers import as_range
from stylegan.data import decode
from stylegan.data.label_file import is_label_file
from stylegan.data.pixels import deep
from stylegan.data.pixels.ranges import DeepImages, Range, images_have, look_at
from stylegan.data.source import Problem, Source
from stylegan.errors import UserError, reason_for
from stylegan.identify import not_images
from stylegan.words import pixels as px

ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".xz", ".bz2"}
MAX_ENDINGS = 8  # that are listed
NOTICEABLE = 1.25  # factor of enlargement
DEEP_FILES = 64  # that are looked at for more than 8 bits, in every command the same ones


@dataclass
class Survey:
    """What was found in the files that were opened."""

    opened: int  # files
    sizes: Counter[tuple[int, int]]  # {(height, width) in px: images}
    channels: Counter[int]  # {1, 3 or 4: images}
    failures: list[Problem]  # files that cannot be used
    first: dict[tuple[int, int], str]  # {(height, width): a file of that size}
    broken_profiles: int = 0  # files with a colour profile that is not used

    @classmethod
    def empty(cls) -> Survey:
        """One of no files."""
        return cls(0, Counter(), Counter(), [], {})

    def add(self, name: str, header: decode.Header | None, why: str | None) -> None:
        """Count a file that was opened.

        Args:
            header: None if it cannot be read.
            why: the reason why the file cannot be used; None if it can.
        """
        self.opened += 1
        if why is not None:
            self.failures.append(Problem(name, why))
        if header is None:
            return
        size = header.height, header.width
        self.sizes[size] += 1
        self.channels[header.channels] += 1
        self.broken_profiles += header.broken_profile
        self.first.setdefault(size, name)

    def require_one(self, path: Path) -> None:
        """Raises: UserError that names `path` if none of the files can be used."""
        if not self.sizes:
            why = self.failures[0]
            raise UserError(path, f"none of {self.opened} files looked at can be used; {why}")

    @property
    def common_channels(self) -> int:
        """The channels that suit the images: 4 if at least half have transparency, else 3 if any
        has colour, else 1."""
        if 2 * self.channels[4] >= self.channels.total():
            return 4
        return 3 if self.channels[3] else 1

    def notes(self, resolution: tuple[int, int] | None = None) -> list[str]:
        """Lines on what is unusual about the images.

        Args: resolution: (height, width) to which they are resized; None: they are not.
        """
        lines = []
        if self.broken_profiles:
            lines.append(broken_profiles(self.broken_profiles))
        if resolution:
            lines += self._enlarged(resolution)
        return lines

    def _enlarged(self, resolution: tuple[int, int]) -> list[str]:
        """A line on images that are smaller than `resolution`."""
        factors: list[float] = []
        for (height, width), count in self.sizes.items():
            factor = max(resolution[0] / height, resolution[1] / width)
            factors += [factor] * count if factor > 1 else []
        if not factors:
            return []
        of = f"{len(factors):,} of {self.sizes.total():,} images looked at"
        line = f"{of} are smaller than {px(resolution)} px and are enlarged"
        usual = median_low(factors)
        if usual >= NOTICEABLE:
            times = f"{round(usual, 1):g} times"
            line += f", half of them {times} or more; a smaller --resolution fits them"
        return [line]

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
    found = Survey.empty()
    for name in some_of(files, limit):
        try:
            found.add(name, decode.look(source.read(name), name), None)
        except UserError as e:
            found.add(name, None, reason_for(e, name))
    found.require_one(source.path)
    return found


def some_of(files: list[str], limit: int) -> list[str]:
    """About `limit` of the files, evenly spaced."""
    return files[:: max(len(files) // limit, 1)]


def deep_images(
    source: Source, files: list[str], value_range: tuple[float, float] | None = None
) -> DeepImages | None:
    """The images of more than 8 bits a value in a source; None if there are none.

    Args:
        files: all images of the source, so that the choice does not depend on which of them are
            used.
        value_range: values of black and white; None: chosen from the images.
    """
    given = None if value_range is None else Range(*as_range(value_range), why="as --range says")
    extents: dict[str, deep.Extent] = {}
    opened = some_of(files, DEEP_FILES)
    for name in opened:
        try:
            data = source.read(name)
            if not deep.deep_of(decode.open_image(data, name, load=False)):
                continue
            extent = deep.extent(decode.open_image(data, name))
        except UserError:  # the survey and the reader name it
            continue
        if extent:
            extents[name] = extent
    return look_at(extents, len(opened), given) if extents else None


def one_range(
    path: Path, found: DeepImages | None, given: tuple[float, float] | None = None
) -> tuple[float, float] | None:
    """Values of black and white for all images of a data set: those given, or those chosen; None
    if all images have 8 bits.

    Raises: UserError that names `path` if no range suits all.
    """
    if given is not None or found is None:
        return None if given is None else as_range(given)
    if found.chosen is None:
        raise UserError(path, found.clash)
    return as_range(found.chosen.pair)


def broken_profiles(count: int) -> str:
    """A line on images whose colour profile is not used."""
    return f"{images_have(count)} a broken colour profile; the values are taken unchanged"


def range_notes(found: DeepImages | None, given: tuple[float, float] | None) -> list[str]:
    """Lines on what is unusual about the values of images of more than 8 bits."""
    if found is None and given is not None:
        return ["--range has no effect: the images looked at have 8 bits"]
    return found.notes if found else []


@dataclass
class OtherFiles:
    """The files of a source that are no images."""

    archives: list[Problem]
    endings: Counter[str]  # {ending: files} of the others; without dataset.json

    def __str__(self) -> str:
        return ", ".join(f"{n:,} {kind}" for kind, n in self.endings.most_common(MAX_ENDINGS))


def other_files(source: Source, images: list[str]) -> OtherFiles:
    """What else is in a source."""
    found = OtherFiles([], Counter())
    for name in sorted(set(source.names) - set(images)):
        ending = splitext(name)[1].lower()
        if ending in ARCHIVES:
            why = "an archive in the data is not opened; unpack it first"
            found.archives.append(Problem(name, why))
        elif not is_label_file(name):
            found.endings[ending or "no ending"] += 1
    return found


def images_in(source: Source) -> list[str]:
    """The names of the images in a source. Raises: UserError if there are none."""
    known = decode.extensions()
    files = [name for name in source.names if splitext(name)[1].lower() in known]
    if not files:
        raise UserError(source.path, not_images(source.path, source.names))
    return files
