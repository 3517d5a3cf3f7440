# SPDX-License-Identifier: Apache-2.0
"""What a folder or an archive of images holds, as `stylegan info` tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stylegan.config.numbers import as_range
from stylegan.data.gather import gather_all
from stylegan.data.made import read_made
from stylegan.data.source import Problem, open_source
from stylegan.data.survey import OtherFiles, deep_images, images_in, range_notes, survey
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
        c_dim: length of a label; 0 without.
        values: a line on images of more than 8 bits; None without.
        made: how `stylegan dataset` made it; None if that is not known.
        others: {ending: files} that are no images.
        notes: lines on what is unusual.
        problems: files that cannot be used, each with `name` and `why`.
        label_names: of the numbers of label vectors; empty without.
        labels_unusable: whether there are labels that cannot be used; `problems` says why.
    """

    path: Path
    images: int
    opened: int
    sizes: dict[tuple[int, int], int]
    channels: dict[int, int]
    common_channels: int
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]
    c_dim: int
    values: str | None
    made: str | None
    others: dict[str, int]
    notes: list[str]
    problems: list[Problem]
    label_names: tuple[str, ...] = ()
    labels_unusable: bool = False

    def rows(self) -> dict[str, str | list[str]]:
        """The table: {name: text, or a list of lines}."""
        rows: dict[str, str | list[str]] = {
            "path": str(self.path),
            "images": f"{self.images:,}",
            **size_rows(self.images, self.opened, self.sizes, self.channels, self.common_channels),
        }
        rows |= {name: text for name in ("values", "made") if (text := getattr(self, name))}
        if self.others:
            rows["no images"] = str(OtherFiles([], Counter(self.others)))
        if self.labels_unusable:
            rows["labels"] = "not usable"
        elif self.class_names:
            rows["classes"] = ", ".join(class_lines(self.class_names, self.class_counts))
        else:
            rows["labels"] = vector_text(self.c_dim, self.label_names)
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
    source = open_source(path, zip_encoding)
    files, found = images_in(source), gather_all(source)
    seen = survey(source, files, max(max_opened, 1))
    given = None if value_range is None else as_range(value_range)
    deep, labels = deep_images(source, files, given), found.labels
    unlabelled = set(files) - set(found.images)  # these are among the failures already
    broken = [problem for problem in seen.failures if problem.name not in unlabelled]
    return Description(
        path=source.path,
        images=len(files),
        opened=seen.opened,
        sizes=dict(seen.sizes.most_common()),
        channels=dict(seen.channels.most_common()),
        common_channels=seen.common_channels,
        class_names=labels.names if labels else (),
        class_counts=labels.class_counts if labels else (),
        c_dim=labels.c_dim if labels else 0,
        values=str(deep) if deep else None,
        made=read_made(source),
        others=dict(found.ignored.most_common()),
        notes=[*found.notes, *range_notes(deep, given), *seen.notes()],
        problems=[*found.failures, *broken],
        label_names=tuple(labels.attributes) if labels else (),
        labels_unusable=found.bad_labels is not None,
    )


def size_rows(
    images: int,
    opened: int,
    sizes: Mapping[tuple[int, int], int],
    channels: Mapping[int, int],
    common_channels: int,
) -> dict[str, str]:
    """The rows on sizes and channels of a table.

    Args:
        images: of the data set; `opened` of them were opened.
        sizes: {(height, width): images opened}, the most common ones first.
        channels: {1, 3 or 4: images opened}, the most common ones first.
        common_channels: with which training uses them.
    """
    some = "" if opened == images else f" (of {opened:,} looked at)"
    listed = [f"{pixels(size)} px ({n:,})" for size, n in sizes.items()]
    more = [f"{len(listed) - MAX_LISTED} more"] if len(listed) > MAX_LISTED else []
    kinds = [f"{KINDS[c]} ({n:,})" for c, n in channels.items()]
    return {
        "sizes": ", ".join([*listed[:MAX_LISTED], *more]) + some,
        "channels": f"{', '.join(kinds)}{some}; trains as {KINDS[common_channels]}",
    }


def class_lines(names: Sequence[str], counts: Sequence[int]) -> list[str]:
    """Every class with its number of images."""
    return [f"{name} ({count:,})" for name, count in zip(names, counts)]


def vector_text(c_dim: int, names: Sequence[str] = (), max_chars: int | None = None) -> str:
    """What labels are that are not classes."""
    if names:
        return named_labels(names) if max_chars is None else named_labels(names, max_chars)
    return f"vectors of {c_dim} numbers" if c_dim else "none"
