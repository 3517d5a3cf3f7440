# SPDX-License-Identifier: Apache-2.0
"""Labels of a data set: from dataset.json, or a folder per class."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from os.path import commonprefix
from typing import Any

import numpy as np

from stylegan.data.source import Source
from stylegan.errors import UserError

FILE = "dataset.json"


@dataclass(frozen=True)
class Labels:
    """A label for every image, and what the labels mean."""

    values: np.ndarray  # int64 [images] class numbers, or float32 [images, c_dim] vectors
    c_dim: int  # width of a label vector; the number of classes
    names: tuple[str, ...]  # of the classes; empty if labels are vectors of numbers
    missing: tuple[str, ...] = ()  # files that have a label but do not exist

    def vectors(self, index: int | np.ndarray) -> np.ndarray:
        """Label vectors of one image or of several: float32 [..., c_dim], one-hot for classes."""
        values = self.values[index]
        if self.values.ndim == 2:
            return values
        return (np.arange(self.c_dim) == np.expand_dims(values, -1)).astype(np.float32)

    def subset(self, pick: np.ndarray) -> Labels:
        """The labels of the images with these indices."""
        return replace(self, values=self.values[pick])


def read_labels(
    source: Source, images: list[str], unlabelled: list[str] | None = None
) -> Labels | None:
    """The labels of a data set.

    dataset.json, beside the images or in the folder around them, is `{"labels": [[file name, class
    number or list of numbers], ...]}` or has a dictionary from file name to label, with an optional
    list `"label_names"`. Without it, every folder is a class. A folder around everything, as many
    archives have, does not count.

    Args:
        images: names of files in `source`.
        unlabelled: takes the images that dataset.json does not name; the labels are then those of
            the others. None: such images are an error.
    Returns: the labels, or None if there are none.
    Raises: UserError for a file that does not parse or does not fit the images.
    """
    around = commonprefix([name.split("/")[:-1] for name in images])  # of lists: whole folders
    for depth in range(len(around), -1, -1):
        folder = "".join(f"{part}/" for part in around[:depth])
        if folder + FILE in source.names:
            inside = [i[len(folder) :] for i in images]
            missing: list[str] | None = None if unlabelled is None else []
            labels = _from_json(source, folder + FILE, inside, missing)
            if missing and unlabelled is not None:
                unlabelled += [folder + name for name in missing]
            return labels
    folder = "".join(f"{part}/" for part in around)
    return _from_folders([i[len(folder) :] for i in images])


def stray_images(images: list[str]) -> list[str]:
    """The few images that lie beside folders of images, and prevent that each folder is a class."""
    around = commonprefix([name.split("/")[:-1] for name in images])
    depth = len(around)
    stray = [name for name in images if name.count("/") == depth]
    folders = {name.split("/")[depth] for name in images if name.count("/") > depth}
    return stray if len(folders) > 1 and 0 < 10 * len(stray) < len(images) else []


def _from_json(
    source: Source, file: str, images: list[str], unlabelled: list[str] | None
) -> Labels | None:
    where = f"{source.path}/{file}"
    try:
        content = json.loads(source.read(file).decode("utf-8-sig"))
    except json.JSONDecodeError as e:
        raise UserError(where, f"line {e.lineno}, column {e.colno}: {e.msg}") from e
    except RecursionError:
        raise UserError(where, "brackets are nested too deeply") from None
    except UnicodeDecodeError as e:
        raise UserError(where, f"not UTF-8 text ({e.reason} at byte {e.start})") from e
    given = content.get("labels") if isinstance(content, dict) else None
    if given is None:
        return None
    try:
        given = {str(k).replace("\\", "/"): v for k, v in dict(given).items()}
        names = tuple(str(n) for n in content.get("label_names") or ())
    except (TypeError, ValueError):
        raise UserError(where, '"labels" must be a list of [file name, label]') from None
    missing = [name for name in images if name not in given]
    if missing and unlabelled is not None and len(missing) < len(images):
        unlabelled += missing
        images = [name for name in images if name in given]
    elif missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(where, f"no label for {missing[0]}{more}")
    values = [given.pop(name) for name in images]
    labels = _labels(values, images, names, where)
    return replace(labels, missing=tuple(given))


def _labels(values: list[Any], images: list[str], names: tuple[str, ...], where: str) -> Labels:
    """`Labels` of class numbers, or of lists of one length."""
    if all(map(_is_class, values)):
        return _classes(values, names, where)
    width = len(values[0]) if isinstance(values[0], list) else 0
    are_vectors = isinstance(values[0], list)
    for image, value in zip(images, values):
        fits = _is_vector(value, width) if are_vectors else _is_class(value)
        if not fits:
            kind = f"a list of {width} numbers" if width else "a class number from 0 on"
            raise UserError(where, f"the label of {image} is {_short(value)}, expected {kind}")
    return Labels(np.array(values, dtype=np.float32), width, ())


def _is_class(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_vector(value: Any, width: int) -> bool:
    numbers = isinstance(value, list) and all(type(v) in (int, float) for v in value)
    return numbers and len(value) == width > 0 and all(abs(v) < 1e38 for v in value)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:40] + "..."


def _classes(numbers: list[int], names: tuple[str, ...], where: str) -> Labels:
    count = max(max(numbers) + 1, len(names))
    if names and len(names) < count:
        raise UserError(where, f"label {count - 1} has no name, there are {len(names)}")
    if count > 100_000:
        raise UserError(where, f"class number {count - 1} is too large; number them from 0")
    names = names or tuple(str(i) for i in range(count))
    return Labels(np.array(numbers, dtype=np.int64), count, names)


def _from_folders(images: list[str]) -> Labels | None:
    folders = [name.split("/")[0] for name in images]
    names = sorted(set(folders))
    if not all("/" in name for name in images) or len(names) < 2:
        return None
    numbers = {name: i for i, name in enumerate(names)}
    return _classes([numbers[f] for f in folders], tuple(names), "folders")
