# SPDX-License-Identifier: Apache-2.0
"""A contact sheet of a data set: some images, of every class if there are classes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from stylegan.data.check import Check
from stylegan.data.labels import Labels
from stylegan.data.source import Problem
from stylegan.errors import UserError, reason_for
from stylegan.imaging import columns_for, enlarged, grid, on_checkerboard

CELL = 128  # px, the side of a picture
PICTURES = 96  # on a sheet without classes
COLUMNS = 12
FEW = 24  # classes, each of which has a row
MANY = 96  # classes, of which three share a row; with more, each has one picture
MAX_CLASSES = 1024  # on a sheet
SURROUND = (140,) * 3  # a grey that fits light and dark pages


@dataclass(frozen=True)
class Picks:
    """The images of a contact sheet."""

    names: list[str | None]  # row by row; None is an empty cell
    captions: list[str]
    columns: int
    classes: int = 0  # on it
    total: int = 0  # classes that have images


@dataclass(frozen=True)
class Contact:
    """A contact sheet."""

    image: Image.Image | None  # None if none of the images can be read
    failures: list[Problem]  # files that are not on it


def picks_of(
    images: Sequence[str],
    labels: Labels | None,
    class_names: Sequence[str],
    broken: Collection[str] = (),
) -> Picks:
    """Which images a contact sheet shows.

    Up to 24 classes have a row or more each, up to 96 a few pictures, and more one picture each.

    Args:
        images: names of files.
        labels: of these images; None without labels.
        class_names: as they are written on the sheet.
        broken: files that are left out.
    """
    if labels is None or not labels.names:
        names = spread([name for name in images if name not in broken], PICTURES)
        files = [PurePosixPath(name).name for name in names]
        return Picks([*names], files, columns_for(len(names)))
    members: dict[int, list[str]] = {}
    for name, number in zip(images, labels.values.tolist()):
        if name not in broken:
            members.setdefault(number, []).append(name)
    if not members:
        return Picks([], [], 1)
    numbers = spread(sorted(members), MAX_CLASSES)
    largest = max(len(members[number]) for number in numbers)
    width, rows = COLUMNS, max(8 // len(numbers), 1)
    if len(numbers) > FEW:
        width, rows = (COLUMNS // 3 if len(numbers) <= MANY else 1), 1
    width = min(width, largest)
    cells: list[str | None] = []
    captions: list[str] = []
    for number in numbers:
        some: list[str | None] = [*spread(members[number], width * rows)]
        some += [None] * (-len(some) % width)
        cells += some
        captions += [class_names[number], *[""] * (len(some) - 1)]
    groups = 1 if len(numbers) <= FEW else min(3, len(numbers))
    columns = columns_for(len(numbers)) if width == 1 else width * groups
    return Picks(cells, captions, columns, len(numbers), len(members))


def spread(items: Sequence, count: int) -> list:
    """`count` of the items, evenly spaced; all if they are fewer."""
    n = min(len(items), count)
    return [items[i * len(items) // n] for i in range(n)]


def contact_sheet(check: Check, picks: Picks, captions: bool = False) -> Contact:
    """Draw a contact sheet.

    Args:
        check: how the images are read.
        captions: write the names of the classes, or of the files, below the pictures.
    """
    cells: list[Image.Image | None] = []
    failures: list[Problem] = []
    for name in picks.names:
        try:
            cells.append(None if name is None else _thumb(check, name))
        except (UserError, ValueError, OSError, MemoryError) as e:
            failures.append(Problem(str(name), reason_for(e, name)))
            cells.append(None)
    if not any(cells):
        return Contact(None, failures)
    return Contact(grid(cells, picks.columns, 1, picks.captions if captions else None), failures)


def _thumb(check: Check, name: str) -> Image.Image:
    """An image in the middle of a square; small ones are enlarged by a whole number."""
    pixels = np.asarray(check.pixels(check.source.read(name), name, 4))
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    longer = max(image.size)
    if longer > CELL:
        width, height = (max(round(side * CELL / longer), 1) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    else:
        image = enlarged(image, CELL // longer)
    opaque = image.getchannel("A").getextrema()[0] == 255
    image = image.convert("RGB") if opaque else on_checkerboard(image)
    cell = Image.new("RGB", (CELL, CELL), SURROUND)
    cell.paste(image, ((CELL - image.width) // 2, (CELL - image.height) // 2))
    return cell
