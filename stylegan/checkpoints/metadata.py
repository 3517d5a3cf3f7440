# SPDX-License-Identifier: Apache-2.0
"""Metadata of a file's networks, as JSON of limited size and known types."""

from __future__ import annotations

import math
from typing import Any

from stylegan.checkpoints.pickle.nodes import is_name

MAX_ENTRIES = 64  # of a dictionary
MAX_TEXT = 1000  # characters of a value
MAX_CLASSES = 1 << 16
MAX_INTEGER = 1 << 53  # that JSON keeps exactly in every program


def plain(values: object) -> dict[str, Any]:
    """The entries of a dictionary that are printable strings and numbers."""
    if type(values) is not dict:
        return {}
    kept = {key: value for key, value in values.items() if is_name(key) and _is_plain(value)}
    return dict(list(kept.items())[:MAX_ENTRIES])


def data_set(arguments: object) -> dict[str, Any]:
    """`meta["dataset"]` from the recorded arguments of a data set: name, number of images."""
    known = plain(arguments)
    path = str(known.get("path") or "").replace("\\", "/").rstrip("/")
    about = {"name": path.rpartition("/")[2], "images": known.get("max_size")}
    return {**{k: v for k, v in about.items() if v}, "arguments": known}


def recorded(arguments: dict[str, Any], **names: str) -> dict[str, int]:
    """Positive integers among recorded arguments. Args: names: our name="their name"."""
    found = {ours: arguments.get(theirs) for ours, theirs in names.items()}
    return {ours: value for ours, value in found.items() if type(value) is int and value > 0}


def own_meta(meta: object) -> dict[str, Any]:
    """The known entries of metadata that this package wrote, if their types fit."""
    if type(meta) is not dict:
        return {}
    known = plain(meta)
    kept: dict[str, Any] = {
        k: meta[k] for k in ("kimg", "augment_p") if k in known and _is_number(meta[k])
    }
    if type(meta.get("arguments")) is dict:
        kept["arguments"] = plain(meta["arguments"])
    if type(meta.get("dataset")) is dict:
        given = meta["dataset"]
        kept["dataset"] = {k: v for k, v in plain(given).items() if k in ("name", "images")}
        names = given.get("class_names")
        if type(names) is list and len(names) <= MAX_CLASSES and all(map(is_name, names)):
            kept["dataset"]["class_names"] = list(names)
        if type(given.get("arguments")) is dict:
            kept["dataset"]["arguments"] = plain(given["arguments"])
    return kept


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_plain(value: object) -> bool:
    if type(value) is str:
        return len(value) < MAX_TEXT and value.isprintable()
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is bool or type(value) is int and abs(value) < MAX_INTEGER
