# SPDX-License-Identifier: Apache-2.0
"""What a folder or an archive of images holds, as `stylegan info` tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stylegan.config.numbers import as_range
from stylegan.data.label_file import read_labels
from stylegan.data.labels import Labels, empty_classes
from stylegan.data.made import read_made
from stylegan.data.source import DEFAULT_DEMO, Problem, Source, open_source
from stylegan.data.survey import deep_images, images_in, other_files, range_notes, survey
from stylegan.errors import UserError
from stylegan.words import KINDS, named_labels, pixels, printable

MAX_OPENED = 2000  # images that are opened for their size and channels, by default
MAX_LISTED = 6  # sizes in the table


@dataclass(frozen=True, repr=False)
class Description:
    """What `describe` found. Shown as a table.

    Attributes:
        path: of the data set.
        images: how many there are; `opened` of them were opened.
        sizes: {(height, width) in px: images opened}, the most common ones first.
        channels: {1, 3 or 4: images opened}; training uses `common_channels`.
        class_names, class_counts: the classes, and how many images each has; empty without.
        label_names: of the numbers of label vectors; empty without.
        c_dim: length of a label; 0 without.
        values: a line on images of more than 8 bits; None without.
        made: how `stylegan dataset` made it; None if that is not known.
        others: {ending: files} that are no images.
        notes: lines on what is unusual.
        problems: files that cannot be used, each with `name` and `why`.
    """

    path: Path
    images: int
    opened: int
    sizes: dict[tuple[int, int], int]
    channels: dict[int, int]
    common_channels: int
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]
    label_names: tuple[str, ...]
    c_dim: int
    values: str | None
    made: str | None
    others: dict[str, int]
    notes: list[str]
    problems: list[Problem]

    def rows(self) -> dict[str, str | list[str]]:
        """The table: {name: text, or a list of lines}."""
        some = "" if self.opened == self.images else f" (of {self.opened:,} looked at)"
        sizes = [f"{pixels(size)} px ({n:,})" for size, n in self.sizes.items()]
        more = [f"{len(sizes) - MAX_LISTED} more"] if len(sizes) > MAX_LISTED else []
        kinds = [f"{KINDS[c]} ({n:,})" for c, n in self.channels.items()]
        rows: dict[str, str | list[str]] = {
            "path": str(self.path),
            "images": f"{self.images:,}",
            "sizes": ", ".join([*sizes[:MAX_LISTED], *more]) + some,
            "channels": f"{', '.join(kinds)}{some}; trains as {KINDS[self.common_channels]}",
        }
        rows |= {name: text for name in ("values", "made") if (text := getattr(self, name))}
        if self.others:
            rows["no images"] = ", ".join(f"{n:,} {ending}" for ending, n in self.others.items())
        if self.class_names:
            pairs = zip(self.class_names, self.class_counts)
            rows["classes"] = ", ".join(f"{name} ({n:,})" for name, n in pairs)
        else:
            vectors = f"vectors of {self.c_dim} numbers" if self.c_dim else "none"
            rows["labels"] = named_labels(self.label_names) if self.label_names else vectors
        if self.notes:
            rows["notes"] = self.notes
        if self.problems:
            rows["problems"] = [str(problem) for problem in self.problems]
        return rows

    def __repr__(self) -> str:
        rows = self.rows()
        width = max(map(len, rows)) + 2
        lines = []
        for name, value in rows.items():
            for i, line in enumerate([value] if isinstance(value, str) else value):
                lines.append(f"{'' if i else name:{width}}{printable(line)}")
        return "\n".join(lines)


def describe(
    path: str | Path | None = None,
    max_opened: int = MAX_OPENED,
    value_range: Sequence[float] | None = None,
    zip_encoding: str | None = None,
) -> Description:
    """What a folder, zip or tar of images holds; nothing is written.

    Args:
        path: of the images, or a name of `DEMOS`; None: those of the demo.
        max_opened: how many images are opened for their size and channels.
        value_range: values of black and white in images of more than 8 bits; None: chosen.
        zip_encoding: of file names that are not marked as UTF-8; None: a guess.
    Returns: `Description`.
    Raises: UserError if there are no images, or none can be used.
    """
    source = open_source(DEFAULT_DEMO if path is None else path, zip_encoding)
    files = images_in(source)
    seen = survey(source, files, max(max_opened, 1))
    given = None if value_range is None else as_range(value_range)
    deep, others = deep_images(source, files, given), other_files(source, files)
    found, notes, unfit = _labels(source, files)
    return Description(
        path=source.path,
        images=len(files),
        opened=seen.opened,
        sizes=dict(seen.sizes.most_common()),
        channels=dict(seen.channels.most_common()),
        common_channels=seen.common_channels,
        class_names=found.names if found else (),
        class_counts=found.class_counts if found else (),
        label_names=found.attributes if found and not found.names else (),
        c_dim=found.c_dim if found else 0,
        values=str(deep) if deep else None,
        made=read_made(source),
        others=dict(others.endings.most_common()),
        notes=[*notes, *range_notes(deep, given), *seen.notes()],
        problems=[*source.problems, *others.archives, *seen.failures, *unfit],
    )


def _labels(source: Source, files: list[str]) -> tuple[Labels | None, list[str], list[Problem]]:
    """The labels, notes, and files that labels do not fit."""
    try:
        found = read_labels(source, files)
    except UserError as e:
        return None, list(source.notes), [Problem(str(e.subject), e.why)]
    problems = [Problem(name, "has no label in dataset.json") for name in found.unlabelled]
    problems += [Problem(name, "has a label, but does not exist") for name in found.missing]
    empty = found.labels and empty_classes(found.labels)
    return found.labels, [*source.notes, *found.notes, *([empty] if empty else [])], problems
