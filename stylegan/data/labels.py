# SPDX-License-Identifier: Apache-2.0
"""Labels of a data set: what they are, and how they are made of what people write."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os.path import commonprefix
from typing import Any

import numpy as np

from stylegan.data.files.names import class_order, normal
from stylegan.errors import LabelError

FILE = "dataset.json"
MAX_CLASSES = 100_000
MAX_WHOLE = 10**15  # a number up to this may be meant as that of a class
MAX_LISTED = 8  # classes without images that are named
_WHOLE = re.compile(r"\s*(\d{1,15})(?:\.0*)?\s*", re.ASCII)
# An array as text: [1, 0], "1 0 0", array([1., 0.]).
_ARRAY = re.compile(r"\s*(?:\w*\(?\[.*|[-+.\de]+(?:[\s,;]+[-+.\de]+)+\s*)", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class Labels:
    """A label for every image, and what the labels mean."""

    values: np.ndarray  # int64 [images] class numbers, or float32 [images, c_dim] vectors
    c_dim: int  # width of a label vector; the number of classes
    names: tuple[str, ...]  # of the classes; empty if labels are vectors of numbers
    attributes: tuple[str, ...] = ()  # label_names of vectors

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Images per class; empty if labels are vectors."""
        if self.values.ndim == 2:
            return ()
        return tuple(np.bincount(self.values, minlength=self.c_dim).tolist())

    def vectors(self, index: int | np.ndarray) -> np.ndarray:
        """Label vectors of one image or of several: float32 [..., c_dim], one-hot for classes."""
        values = self.values[index]
        if self.values.ndim == 2:
            return values
        vectors = np.zeros((*np.shape(values), self.c_dim), np.float32)
        np.put_along_axis(vectors, np.expand_dims(values, -1), 1, -1)
        return vectors

    def subset(self, pick: np.ndarray) -> Labels:
        """The labels of the images with these indices."""
        return replace(self, values=self.values[pick])


def labels_of(values: list[Any], files: Sequence[str], given_names: Any, where: str) -> Labels:
    """Labels of what a file has for each image.

    Class numbers may be whole floats, digits as text or booleans. Other text is class names. Lists
    of numbers are vectors, or classes if each of them is one-hot.

    Args:
        values: not empty.
        files: the image that each belongs to, for messages.
        given_names: label_names of the file; None if it has none.
        where: the file.
    Raises: LabelError that names the first label that does not fit.
    """
    names = _label_names(given_names, where)
    if all(isinstance(v, list) for v in values):
        return _vectors(values, files, names, where)
    texts = [_name(v) for v in values if isinstance(v, str)]
    if len(texts) == len(values) and (names and set(texts) <= {*names}):
        numbers = {name: i for i, name in reversed([*enumerate(names)])}
        return _classes([numbers[t] for t in texts], names, where)
    whole = [_whole(v) for v in values]
    if None not in whole:
        if not names and all(isinstance(v, bool) for v in values):
            names = ("false", "true")
        return _classes([n for n in whole if n is not None], names, where)
    if len(texts) == len(values) and all(map(_is_name, texts)):
        if names:
            file, value = next((f, t) for f, t in zip(files, texts) if t not in names)
            raise LabelError(
                where, f'the label of {file}, {short_json(value)}, is not in "label_names"'
            )
        return _named(texts, where)
    raise _wrong(values, files, where)


def labels_of_folders(images: list[str]) -> Labels | None:
    """A class for every folder, if all images are in folders. A folder around everything does not
    count."""
    depth = len(folders_around(images))
    inside = [name.split("/")[depth:] for name in images]
    if not all(len(parts) > 1 for parts in inside) or len({parts[0] for parts in inside}) < 2:
        return None
    return _named([parts[0] for parts in inside], "folders")


def folders_around(images: list[str]) -> list[str]:
    """The folders, from the outermost on, that all images are in."""
    return list(commonprefix([name.split("/")[:-1] for name in images]))  # of whole folders


def stray_images(images: list[str]) -> list[str]:
    """The few images that lie beside folders of images, and prevent that each folder is a class."""
    depth = len(folders_around(images))
    stray = [name for name in images if name.count("/") == depth]
    folders = {name.split("/")[depth] for name in images if name.count("/") > depth}
    return stray if len(folders) > 1 and 0 < 10 * len(stray) < len(images) else []


def empty_classes(labels: Labels) -> str | None:
    """A line on the classes that have no images; None if all have some."""
    empty = [i for i, count in enumerate(labels.class_counts) if not count]
    if not empty:
        return None
    if empty == [0]:
        return "class 0 has no images: the class numbers begin with 1, not 0"
    if len(empty) == 1:
        return f"class {empty[0]} has no images"
    more = ", ..." if len(empty) > MAX_LISTED else ""
    listed = ", ".join(map(str, empty[:MAX_LISTED]))
    return f"{len(empty):,} of {labels.c_dim:,} classes have no images: {listed}{more}"


def short_json(value: Any) -> str:
    """A value of a JSON file as it is written there, cut to about 40 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:40] + "..."


def _whole(value: Any) -> int | None:
    """A class number, from 0 on, in any of its forms."""
    if isinstance(value, str):
        match = _WHOLE.fullmatch(value)
        return int(match[1]) if match else None
    if isinstance(value, (bool, int, float)) and 0 <= value < MAX_WHOLE and value == int(value):
        return int(value)
    return None


def _name(text: str) -> str:
    """The name of a class: in normal form, without spaces around it and halves of characters."""
    return normal(text.encode("utf-8", "replace").decode()).strip()


def _is_name(text: str) -> bool:
    return bool(text) and not _ARRAY.fullmatch(text)


def _is_vector(value: Any, width: int) -> bool:
    numbers = all(isinstance(v, (bool, int, float)) for v in value)
    return numbers and len(value) == width > 0 and all(abs(v) < 1e38 for v in value)


def _vectors(values: list[Any], files: Sequence[str], names: tuple[str, ...], where: str) -> Labels:
    width = len(values[0])
    if not all(_is_vector(value, width) for value in values):
        raise _wrong(values, files, where)
    if names and len(names) != width:
        raise LabelError(
            where, f"the lists have {width} numbers, but label_names has {len(names)} names"
        )
    vectors = np.array(values, dtype=np.float32)
    if width > 1 and ((vectors == 0) | (vectors == 1)).all() and (vectors.sum(1) == 1).all():
        names = names or tuple(map(str, range(width)))
        return _classes(vectors.argmax(1).tolist(), names, where)
    return Labels(vectors, width, (), names)


def _wrong(values: list[Any], files: Sequence[str], where: str) -> LabelError:
    """The error that names the first label of another kind than the first one."""
    first, expected = values[0], "a class number from 0 on, a class name or a list of numbers"
    fits = [False] * len(values)
    if isinstance(first, list):
        width = len(first)
        fits = [isinstance(v, list) and _is_vector(v, width) for v in values]
        nested = not width or isinstance(first[0], (list, str))
        expected = "a list of numbers, [1, 0, 0]" if nested else f"a list of {width} numbers"
    elif _whole(first) is not None or isinstance(first, (int, float)):
        fits, expected = [_whole(v) is not None for v in values], "a class number from 0 on"
    elif isinstance(first, str):
        fits, expected = [isinstance(v, str) and _is_name(v) for v in values], "a class name"
    file, value = next((f, v) for f, v, ok in zip(files, values, fits) if not ok)
    if isinstance(value, str) and _ARRAY.fullmatch(value):
        expected = "a list, which is written without quotes: [1, 0, 0]"
    return LabelError(where, f"the label of {file} is {short_json(value)}, expected {expected}")


def _label_names(given: Any, where: str) -> tuple[str, ...]:
    """label_names, given as a list, {"0": "cat"} or {"cat": 0}."""
    if not given:
        return ()
    if isinstance(given, dict):
        if all(_whole(v) is not None for v in given.values()):
            given = {number: name for name, number in given.items()}
        numbers = {_whole(key): name for key, name in given.items()}
        count = max((n for n in numbers if n is not None), default=MAX_CLASSES) + 1
        if None not in numbers and count <= MAX_CLASSES:
            given = [numbers.get(i, str(i)) for i in range(count)]
    if not isinstance(given, list) or any(isinstance(name, (list, dict)) for name in given):
        raise LabelError(where, '"label_names" must be a list of names, ["cat", "dog"]')
    return tuple(_name(str(name)) for name in given)


def _classes(numbers: list[int], names: tuple[str, ...], where: str) -> Labels:
    count = max(max(numbers) + 1, len(names))
    if count > MAX_CLASSES:
        raise LabelError(where, f"class number {count - 1} is too large; number them from 0")
    if names and len(names) < count:
        last = len(names) - 1
        raise LabelError(
            where, f'class {count - 1} has no name; the last number in "label_names" is {last}'
        )
    names = names or tuple(str(i) for i in range(count))
    return Labels(np.array(numbers, dtype=np.int64), count, names)


def _named(texts: list[str], where: str) -> Labels:
    """Classes by name, in the order of `class_order`."""
    names = sorted(set(texts), key=class_order)
    numbers = {name: i for i, name in enumerate(names)}
    return _classes([numbers[t] for t in texts], tuple(names), where)
