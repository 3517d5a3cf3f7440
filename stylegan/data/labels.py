# SPDX-License-Identifier: Apache-2.0
"""Labels of a data set: from dataset.json, or a folder per class."""

import json
from dataclasses import dataclass, replace
from os.path import commonprefix

import numpy as np

from stylegan.errors import UserError

FILE = "dataset.json"


@dataclass(frozen=True)
class Labels:
    """A label for every image, and what the labels mean."""

    values: np.ndarray  # int64 [images] class numbers, or float32 [images, c_dim] vectors
    c_dim: int  # width of a label vector; the number of classes
    names: tuple  # of the classes; empty for labels that are vectors of numbers
    missing: tuple = ()  # files that have a label but are not there

    def vectors(self, index):
        """Label vectors of one image or of an array of them: float32 [..., c_dim], one-hot."""
        values = self.values[index]
        if self.values.ndim == 2:
            return values
        return (np.arange(self.c_dim) == np.expand_dims(values, -1)).astype(np.float32)

    def subset(self, pick):
        """The labels of some of the images, by their indices."""
        return replace(self, values=self.values[pick])


def read_labels(source, images, unlabelled=None):
    """The labels of `images`, a list of names in `source`.

    Images that dataset.json does not name are an error, unless `unlabelled` is a list, which takes
    them; the labels are those of the others then.

    dataset.json, beside the images or in the folder around them, is `{"labels": [[file name, class
    number or list of numbers], ...]}` (a dictionary from file name to label serves too), with
    optional `"label_names": [...]`. Without it, a folder per class. A folder around everything, as
    archives often have, does not count.

    Returns: `Labels`, or None where there are none.
    Raises: UserError for a file that does not parse or does not fit the images.
    """
    around = commonprefix([name.split("/")[:-1] for name in images])  # of lists: whole folders
    for depth in range(len(around), -1, -1):
        folder = "".join(f"{part}/" for part in around[:depth])
        if folder + FILE in source.names:
            inside = [i[len(folder) :] for i in images]
            missing = None if unlabelled is None else []
            labels = _from_json(source, folder + FILE, inside, missing)
            if missing:
                unlabelled += [folder + name for name in missing]
            return labels
    folder = "".join(f"{part}/" for part in around)
    return _from_folders([i[len(folder) :] for i in images])


def stray_images(images):
    """The few images that lie beside a folder per class, and so make them none; of names relative
    to the folder around them all."""
    around = commonprefix([name.split("/")[:-1] for name in images])
    depth = len(around)
    stray = [name for name in images if name.count("/") == depth]
    folders = {name.split("/")[depth] for name in images if name.count("/") > depth}
    return stray if len(folders) > 1 and 0 < 10 * len(stray) < len(images) else []


def _from_json(source, file, images, unlabelled):
    where = f"{source.path}/{file}"
    try:
        content = json.loads(source.read(file).decode("utf-8-sig"))
    except json.JSONDecodeError as e:
        raise UserError(where, f"line {e.lineno}, column {e.colno}: {e.msg}") from e
    except RecursionError:
        raise UserError(where, "brackets nested too deep") from None
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


def _labels(values, images, names, where):
    """`Labels` of class numbers, or of lists of one length."""
    if all(map(_is_class, values)):
        return _classes(values, names, where)
    width = len(values[0]) if isinstance(values[0], list) else None
    for image, value in zip(images, values):
        fits = _is_class(value) if width is None else _is_vector(value, width)
        if not fits:
            kind = f"a list of {width} numbers" if width else "a class number from 0 on"
            raise UserError(where, f"the label of {image} is {_short(value)}, expected {kind}")
    return Labels(np.array(values, dtype=np.float32), width, ())


def _is_class(value):
    return type(value) is int and value >= 0


def _is_vector(value, width):
    numbers = isinstance(value, list) and all(type(v) in (int, float) for v in value)
    return numbers and len(value) == width > 0 and all(abs(v) < 1e38 for v in value)


def _short(value):
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:40] + "..."


def _classes(numbers, names, where):
    count = max(max(numbers) + 1, len(names))
    if names and len(names) < count:
        raise UserError(where, f"label {count - 1} has no name, there are {len(names)}")
    if count > 100_000:
        raise UserError(where, f"class number {count - 1} is too large; number them from 0")
    names = names or tuple(str(i) for i in range(count))
    return Labels(np.array(numbers, dtype=np.int64), count, names)


def _from_folders(images):
    folders = [name.split("/")[0] if "/" in name else None for name in images]
    names = sorted({f for f in folders if f is not None})
    if None in folders or len(names) < 2:
        return None
    numbers = {name: i for i, name in enumerate(names)}
    return _classes([numbers[f] for f in folders], tuple(names), "folders")
