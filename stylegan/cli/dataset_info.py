# SPDX-License-Identifier: Apache-2.0
"""What `stylegan info` says of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylegan.cli.pictures import class_text

if TYPE_CHECKING:
    from stylegan.data.check import Check
    from stylegan.data.gather import Gathered
    from stylegan.data.pixels.ranges import DeepImages
    from stylegan.data.source import Problem, Source
    from stylegan.data.survey import Survey

MAX_NAMES = 2000  # characters of the names of labels


@dataclass(frozen=True)
class Wanted:
    """What the options say."""

    sheet: Path | None = None
    captions: bool = False  # on the sheet
    max_images: int | None = None
    encoding: str | None = None
    value_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Described:
    """The rows that are printed."""

    rows: dict[str, Any]
    interrupted: KeyboardInterrupt | None = None


def describe(path: str | None, wanted: Wanted) -> Described:
    """Look at the files of a data set; None is the embedded one.

    Raises: UserError if it is none, or none of its images can be read.
    """
    from stylegan.data.description import size_rows
    from stylegan.data.gather import gather_all
    from stylegan.data.made import read_made
    from stylegan.data.source import open_source
    from stylegan.data.survey import OtherFiles, Survey, deep_images, images_in, range_notes

    source = open_source(path, wanted.encoding)
    files = images_in(source)
    found = gather_all(source)
    deep = deep_images(source, files, wanted.value_range)
    check = _check(source, deep, wanted.value_range)
    seen = Survey.empty()
    interrupted: KeyboardInterrupt | None = None
    try:
        _look(check, files, wanted.max_images, seen)
    except KeyboardInterrupt as e:
        if not seen.sizes:
            raise
        interrupted = e
    rows: dict[str, Any] = {"path": str(source.path), "images": f"{len(files):,}"}
    counts = dict(seen.sizes.most_common()), dict(seen.channels.most_common())
    rows |= size_rows(len(files), seen.opened, *counts, seen.common_channels)
    if deep:
        rows["values"] = str(deep)
    if made := read_made(source):
        rows["made"] = made
    if found.ignored:
        rows["no images"] = str(OtherFiles([], found.ignored))
    rows |= _labels(found)
    unlabelled = set(files) - set(found.images)  # these are among the failures already
    problems = list(found.failures)
    problems += [problem for problem in seen.failures if problem.name not in unlabelled]
    if wanted.sheet and not interrupted:
        sheet = _sheet(check, found, seen, wanted)
        rows["sheet"] = sheet.row
        problems += [problem for problem in sheet.failures if problem not in problems]
    if notes := [*found.notes, *range_notes(deep, wanted.value_range), *seen.notes()]:
        rows["notes"] = notes
    if problems:
        rows["problems"] = [str(problem) for problem in problems]
    return Described(rows, interrupted)


def _check(source: Source, deep: DeepImages | None, given: tuple[float, float] | None) -> Check:
    """How the images are read: as `dataset` does; by a range for each if no range suits all."""
    from stylegan.data.check import Check
    from stylegan.data.survey import one_range
    from stylegan.errors import UserError

    try:
        return Check(source, one_range(source.path, deep, given))
    except UserError:  # `values` says it
        return Check(source, None, own_ranges=True)


def _look(check: Check, files: list[str], max_images: int | None, seen: Survey) -> None:
    from stylegan.bars import Bar
    from stylegan.data.check import check_all
    from stylegan.data.survey import some_of

    some = files if max_images is None else some_of(files, max_images)
    check_all(
        check,
        some,
        seen,
        progress=lambda names: Bar(names, unit="img", desc="info", leave=False),
    )


def _labels(found: Gathered) -> dict[str, Any]:
    from stylegan.data.description import class_lines, vector_text

    labels = found.labels
    if found.bad_labels:
        return {"labels": "not usable"}
    if labels and labels.names:
        return {"classes": class_lines(labels.names, labels.class_counts)}
    return {"labels": vector_text(labels.c_dim, labels.attributes, MAX_NAMES) if labels else "none"}


@dataclass(frozen=True)
class Sheet:
    """The contact sheet."""

    row: str  # its path, or why there is none
    failures: list[Problem]  # files that are not on it


def _sheet(check: Check, found: Gathered, seen: Survey, wanted: Wanted) -> Sheet:
    """Write the contact sheet."""
    from stylegan.data.contact import contact_sheet, picks_of
    from stylegan.imaging import save_image

    path, labels = wanted.sheet, found.labels
    names = labels.names if labels else ()
    texts = [class_text(name, number) for number, name in enumerate(names)]
    picks = picks_of(found.images, labels, texts, {p.name for p in seen.failures})
    done = contact_sheet(check, picks, wanted.captions)
    if done.image is None or path is None:
        return Sheet("none of the images looked at can be read", done.failures)
    some = f" ({picks.classes:,} of {picks.total:,} classes)" if picks.classes < picks.total else ""
    try:
        save_image(done.image, path)
    except OSError as e:
        return Sheet(f"{path}: cannot be written ({e.strerror})", done.failures)
    return Sheet(f"{path}{some}", done.failures)
