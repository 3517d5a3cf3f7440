# SPDX-License-Identifier: Apache-2.0
"""Which label an image has: dataset.json, whose names are matched with those of the files."""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass, field
from os.path import splitext
from typing import Any

from stylegan.data.files.names import parts_of
from stylegan.data.labels import (
    FILE,
    Labels,
    folders_around,
    labels_of,
    labels_of_folders,
    short_json,
)
from stylegan.data.source import Source
from stylegan.errors import LabelError

FORM = '{"labels": [["a.png", 3]]}'
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # how PowerShell writes text
MAX_DEPTH = 20  # folders around all images, or all names of the file, that may differ
TWO_LABELS = f"two labels in {FILE}; the last one counts"
OTHER_NAMES = {"labels", "label", "metadata", "annotations", "classes", "train"}
OTHER_ENDINGS = {".csv", ".tsv", ".txt", ".json", ".jsonl", ".xlsx", ".parquet"}


@dataclass
class FoundLabels:
    """What a data set says on labels."""

    labels: Labels | None = None  # of the images, without those in `unlabelled`
    unlabelled: list[str] = field(default_factory=list)  # images that dataset.json does not label
    missing: list[str] = field(default_factory=list)  # names in dataset.json without a file
    notes: list[str] = field(default_factory=list)


def read_labels(source: Source, images: list[str]) -> FoundLabels:
    """The labels of a data set.

    dataset.json, beside the images or in the folder around them, is `{"labels": [[file name,
    label], ...]}` or has a dictionary from file name to label, with an optional list
    `"label_names"`; `labels_of` says what a label may be. Without it, every folder is a class. A
    folder around everything, as many archives have, does not count.

    Args: images: names of files in `source`.
    Raises: LabelError for a file that does not parse or does not fit the images.
    """
    around = "".join(f"{part}/" for part in folders_around(images))
    files = [name for name in source.names if is_label_file(name)]
    files = [name for name in files if around.startswith(name[: -len(FILE)])]
    if files:
        return _from_json(source, max(files, key=lambda name: (len(name), name)), images)
    found = FoundLabels(labels_of_folders(images))
    if not found.labels:
        found.notes += [
            f"{name} is not read; labels come from a {FILE} like {FORM}"
            for name in source.names
            if _seems_labels(name)
        ][:1]
    return found


def _seems_labels(name: str) -> bool:
    stem, ending = splitext(name.rsplit("/", 1)[-1].lower())
    return (stem in OTHER_NAMES and ending in OTHER_ENDINGS) or ending == ".cls"  # of webdataset


def is_label_file(name: str) -> bool:
    """Whether this is a dataset.json, in any folder, in small letters or capitals."""
    return name.rsplit("/", 1)[-1].casefold() == FILE


def _from_json(source: Source, file: str, images: list[str]) -> FoundLabels:
    where, folder = f"{source.path}/{file}", file[: -len(FILE)]
    content = _parse(source.read(file), where)
    inside = [name[len(folder) :] for name in images]
    given = _given(content, inside, where)
    found = FoundLabels()
    if given is None:
        if isinstance(content, dict) and "labels" not in content:
            found.notes.append(f'{file}: has no "labels", and is not used')
        return found
    rows = _rows(given, where, found.notes)
    matched = _match(rows, inside)
    labelled = {name: keys[-1] for name, keys in matched.items() if not _is_null(rows[keys[-1]])}
    if not labelled and rows and all(map(_is_null, rows.values())):
        return found
    lacking = [name for name in inside if name not in labelled]
    if len(lacking) == len(inside):
        raise LabelError(where, f"no label for {_first(lacking)}{_instead(rows, matched)}")
    found.unlabelled = [folder + name for name in lacking]
    twice = [
        name for name, keys in matched.items() if any(rows[k] != rows[keys[-1]] for k in keys[:-1])
    ]
    if twice:
        found.notes.append(f"{_first(twice)}: {TWO_LABELS}")
    used = {key for keys in matched.values() for key in keys}
    found.missing = [key for key in rows if key not in used]
    files = [name for name in inside if name in labelled]
    values = [rows[labelled[name]] for name in files]
    found.labels = labels_of(values, files, content.get("label_names"), where)
    return found


def _parse(data: bytes, where: str) -> Any:
    try:
        utf16 = data[:2] in UTF16 and len(data) > 2
        return json.loads(data.decode("utf-16" if utf16 else "utf-8-sig"))
    except json.JSONDecodeError as e:
        raise LabelError(where, f"line {e.lineno}, column {e.colno}: {e.msg}") from e
    except RecursionError:
        raise LabelError(where, "brackets are nested too deeply") from None
    except UnicodeDecodeError as e:
        raise LabelError(where, f"not UTF-8 text ({e.reason} at byte {e.start})") from e
    except ValueError as e:  # a number of thousands of digits
        raise LabelError(where, f"cannot be read ({e})") from None


def _given(content: Any, images: list[str], where: str) -> Any:
    """The value of "labels". Raises: LabelError for labels that are not under that key."""
    if isinstance(content, list):
        raise LabelError(where, f"a list; it must be an object with the list in it: {FORM}")
    if not isinstance(content, dict):
        raise LabelError(where, f"{short_json(content)}; it must be an object like {FORM}")
    if "labels" not in content and _match(content, images):
        form = '{"labels": {"a.png": 3}}'
        raise LabelError(where, f'names files, but not under "labels"; it must be like {form}')
    return content.get("labels")


def _rows(given: Any, where: str, notes: list[str]) -> dict[str, Any]:
    """{name as it is given: label}. Raises: LabelError that shows the form of a row."""
    if isinstance(given, dict):
        return given
    if not isinstance(given, list):
        shown = short_json(given)
        raise LabelError(where, f'"labels" must be a list of [file name, label], not {shown}')
    rows: dict[str, Any] = {}
    twice = []
    for row in given:
        if not isinstance(row, list):
            shown = short_json(row)
            raise LabelError(
                where, f'"labels" must be a list of [file name, label], but has {shown}'
            )
        if len(row) != 2 or isinstance(row[0], (list, dict)):
            name = row[0] if row and isinstance(row[0], str) else "a.png"
            form = short_json([name, row[1:] if len(row) > 2 else 3])
            raise LabelError(where, f"the row {short_json(row)} must have two parts, as in {form}")
        name = str(row[0])
        if name in rows and rows[name] != row[1]:
            twice.append(name)
        rows[name] = row[1]
    if twice:
        notes.append(f"{_first(twice)}: {TWO_LABELS}")
    return rows


def _match(rows: dict[str, Any], images: list[str]) -> dict[str, list[str]]:
    """{image: its names in the file, of which the last one counts}.

    Names are compared in normal form; small and capital letters are the same if nothing else fits.
    If no name fits, folders that all of them begin with are left out, or those that all images are
    in are put before.
    """
    known = set(images)
    matched = {key: [key] for key in rows if key in known}
    others = [key for key in rows if key not in known]
    if not others:
        return matched
    folded: dict[str, str | None] = {}
    for name in images:
        folded[name.casefold()] = None if name.casefold() in folded else name
    paths = {key: [part for part in parts_of(key) if part != ".."] for key in others}
    starts = [_Start()]
    if not matched:
        shared, around = (
            folders_around(["/".join(p) for p in paths.values()]),
            folders_around(images),
        )
        starts += [_Start(drop=i + 1) for i in range(len(shared[:MAX_DEPTH]))]
        starts += [_Start("/".join(around[i:]) + "/") for i in range(len(around[:MAX_DEPTH]))]
    for start in starts:
        for key, parts in paths.items():
            name = start.add + "/".join(parts[start.drop :])
            if name in known:
                matched.setdefault(name, []).append(key)
            elif file := folded.get(name.casefold()):
                matched.setdefault(file, []).insert(0, key)
        if matched:
            break
    return matched


@dataclass(frozen=True)
class _Start:
    """How the beginnings of names in the file differ from those of the images."""

    add: str = ""
    drop: int = 0  # folders


def _is_null(label: Any) -> bool:
    return label is None or label == "" or (isinstance(label, float) and label != label)


def _first(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _instead(rows: dict[str, Any], matched: dict[str, list[str]]) -> str:
    """What the file names, if no name fits."""
    other = next(iter(rows), None)
    return f"; the first name in it is {other}" if other and not matched else ""
