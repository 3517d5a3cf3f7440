# SPDX-License-Identifier: Apache-2.0
"""Any pictures to a data set of one size and kind: a zip, a tar or a folder with dataset.json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from stylegan.data.convert import Conversion, Converted
from stylegan.data.gather import Gathered, gather
from stylegan.data.labels import FILE
from stylegan.data.made import Made
from stylegan.data.pixels.encode import KEEP, Encoding
from stylegan.data.pixels.ranges import DeepImages, cut, no_numbers
from stylegan.data.processes import in_processes
from stylegan.data.source import Problem, open_source
from stylegan.data.survey import (
    broken_profiles,
    deep_images,
    images_in,
    one_range,
    range_notes,
    survey,
)
from stylegan.data.target import Target, check_target, open_target
from stylegan.errors import UserError
from stylegan.words import image_words, printable
from stylegan.words import pixels as px

OPEN_FIRST = 256  # images, to learn sizes and channels


@dataclass(repr=False)
class Prepared:
    """The result of `prepare`: how many images were written, and what happened to the others."""

    path: Path
    size: tuple[int, int]  # height, width in px
    channels: int
    made: Made
    deep: DeepImages | None = None  # images of more than 8 bits
    formats: Counter[str] = field(default_factory=Counter)  # {ending: images written}
    written: int = 0
    kept: int = 0  # of these, how many are the bytes of the source
    enlarged: int = 0  # how many were smaller
    cut: int = 0  # how many had values outside the range
    not_finite: int = 0  # or values that are no numbers
    broken_profiles: int = 0
    duplicates: int = 0
    class_names: tuple[str, ...] = ()
    labelled: bool = False
    failures: list[Problem] = field(default_factory=list)  # files that are not in it
    ignored: Counter[str] = field(default_factory=Counter)  # {ending: files} that are no images
    notes: list[str] = field(default_factory=list)  # on all of the files

    def __repr__(self) -> str:
        facts = [printable(self.path), f"{self.written:,} images"]
        facts.append(image_words(self.size, self.channels))
        facts += [f"{len(self.class_names)} classes"] if self.class_names else []
        facts += [f"{self.duplicates:,} duplicates left out"] if self.duplicates else []
        facts += [f"{len(self.failures):,} not used, see .failures"] if self.failures else []
        return f"Prepared({', '.join(facts)})"

    @property
    def changes(self) -> list[str]:
        """Lines on what was changed in the images."""
        lines = []
        if self.enlarged:
            lines.append(f"{self.enlarged:,} images were smaller than {px(self.size)} px")
        if self.cut and self.made.value_range:
            lines.append(cut(self.cut, self.made.value_range))
        if self.not_finite:
            lines.append(no_numbers(self.not_finite))
        lines += self.deep.hints if self.deep else range_notes(None, self.made.value_range)
        if self.broken_profiles:
            lines.append(broken_profiles(self.broken_profiles))
        return lines


def prepare(
    source: str | Path,
    dest: str | Path,
    size: tuple[int, int] | None = None,
    transform: str = "center-crop",
    channels: int | None = None,
    labels: bool = True,
    dedupe: bool = False,
    workers: int | None = None,
    overwrite: bool = False,
    value_range: tuple[float, float] | None = None,
    encoding: Encoding = KEEP,
    zip_encoding: str | None = None,
    progress: Callable[[list[str]], Iterable[str]] = lambda names: names,
) -> Prepared:
    """Write the images of `source` to `dest`, all of one size and kind.

    A file that cannot be used is left out and named in the result. `dest` appears complete or not
    at all, and nothing else is written.

    Args:
        source: folder, zip or tar, also with nested folders. A folder per class, or dataset.json,
            gives labels.
        dest: a path that ends in .zip or .tar, or a folder.
        size: (height, width) in px; None: all images have the size of the first.
        transform: a key of TRANSFORMS.
        channels: 1, 3 or 4; None: as most images have.
        labels: keep them.
        dedupe: leave out images with the pixels of an earlier one.
        workers: processes; 0 works in this one. None: one per CPU.
        overwrite: replace a data set at dest.
        value_range: values of black and white in images of more than 8 bits; None: one choice for
            all images.
        encoding: the format of the files.
        zip_encoding: of file names that are not marked as UTF-8; None: a guess.
        progress: wraps the list of file names while it is processed.
    Raises: UserError if nothing can be written.
    """
    if transform == "center-crop-wide" and (size is None or size[1] <= size[0]):
        raise UserError("center-crop-wide", "expected a resolution that is wider than high")
    files, path = open_source(source, zip_encoding), Path(dest)
    target_path = path.absolute()
    check_target(files.path, target_path, overwrite)
    gathered = gather(files, labels)
    seen = survey(files, gathered.images, OPEN_FIRST)
    used = None if size is None else transform
    size, channels = size or seen.one_size(files.path), channels or seen.common_channels
    deep = deep_images(files, images_in(files), value_range)
    value_range = one_range(files.path, deep, value_range)
    convert = Conversion(files, size, used, channels, value_range, encoding)
    out = _planned(path, convert, deep, gathered)
    results = in_processes(convert, progress(gathered.images), workers)
    try:
        with open_target(target_path) as target:
            _fill(target, out, gathered, results, dedupe)
            if not out.written:
                count = len(gathered.images)
                why = f"none of {count} images can be used; {out.failures[-1]}"
                raise UserError(files.path, why)
    except OSError as e:
        raise OSError(e.errno, e.strerror or str(e), str(path)) from e
    finally:
        results.close()
    return out


def _planned(
    path: Path, convert: Conversion, deep: DeepImages | None, gathered: Gathered
) -> Prepared:
    """The result before the first image. Raises: UserError if the format cannot hold the images."""
    size, how = convert.size, convert.transform
    final = (size[1], size[1]) if how == "center-crop-wide" else size
    convert.encoding.check(convert.channels, final)
    source = convert.source.path.resolve().name
    made = Made.now(source, final, how, convert.channels, convert.value_range, convert.encoding)
    out = Prepared(path, final, convert.channels, made, deep)
    out.failures, out.ignored, out.notes = gathered.failures, gathered.ignored, gathered.notes
    return out


def _fill(
    target: Target,
    out: Prepared,
    gathered: Gathered,
    results: Iterable[Converted | str],
    dedupe: bool,
) -> None:
    """Write the images and dataset.json."""
    rows, known, labels = [], set(), gathered.labels
    for i, (name, result) in enumerate(zip(gathered.images, results)):
        if isinstance(result, str):
            out.failures.append(Problem(name, result))
            continue
        if dedupe and result.digest in known:
            out.duplicates += 1
            continue
        known.add(result.digest)
        file = result.file
        path = f"{out.written // 1000:05d}/img{out.written:08d}.{file.ending}"
        target.write(path, file.data)
        if labels:
            rows.append([path, labels.values[i].tolist()])
        _count(out, result)
    content: dict[str, object] = {"labels": rows if labels else None, "made": out.made.to_json()}
    if labels:
        out.class_names, out.labelled = labels.names, True
        names = labels.names or labels.attributes
        content |= {"label_names": list(names)} if names else {}
    target.write(FILE, json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))


def _count(out: Prepared, result: Converted) -> None:
    """Add an image that was written."""
    out.written += 1
    out.formats[result.file.ending] += 1
    out.kept += result.file.kept
    out.enlarged += result.enlarged
    out.cut += result.cut
    out.not_finite += result.not_finite
    out.broken_profiles += result.broken_profile
