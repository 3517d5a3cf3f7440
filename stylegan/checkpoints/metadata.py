# SPDX-License-Identifier: Apache-2.0
"""What files say of their networks beside the weights, as JSON that cannot surprise anybody."""

import math

from stylegan.checkpoints.pickle.nodes import is_name

MOST = 64  # entries of a dictionary,
TEXT = 1000  # characters of a value
CLASSES = 1 << 16


def plain(values):
    """The entries of a dictionary that are printable strings and numbers."""
    if type(values) is not dict:
        return {}
    kept = {key: value for key, value in values.items() if is_name(key) and _is_plain(value)}
    return dict(list(kept.items())[:MOST])


def data_set(arguments):
    """`meta["dataset"]` for the recorded arguments of a data set: its name, how many images."""
    arguments = plain(arguments)
    path = str(arguments.get("path") or "").replace("\\", "/").rstrip("/")
    about = {"name": path.rpartition("/")[2], "images": arguments.get("max_size")}
    return {**{k: v for k, v in about.items() if v}, "arguments": arguments}


def recorded(arguments, **names):
    """{ours: number} of recorded arguments. Args: names: theirs of each."""
    found = {ours: arguments.get(theirs) for ours, theirs in names.items()}
    return {ours: value for ours, value in found.items() if type(value) is int and value > 0}


def own_meta(meta):
    """Of the JSON beside networks of ours, what we know, in the types that it has."""
    if type(meta) is not dict:
        return {}
    kept = {k: meta[k] for k in ("kimg", "augment_p") if k in plain(meta) and _is_number(meta[k])}
    if type(meta.get("arguments")) is dict:
        kept["arguments"] = plain(meta["arguments"])
    if type(meta.get("dataset")) is dict:
        given = meta["dataset"]
        kept["dataset"] = {k: v for k, v in plain(given).items() if k in ("name", "images")}
        names = given.get("class_names")
        if type(names) is list and len(names) <= CLASSES and all(map(is_name, names)):
            kept["dataset"]["class_names"] = list(names)
        if type(given.get("arguments")) is dict:
            kept["dataset"]["arguments"] = plain(given["arguments"])
    return kept


def _is_number(value):
    return type(value) in (int, float)


def _is_plain(value):
    if type(value) is str:
        return len(value) < TEXT and value.isprintable()
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is bool or type(value) is int and abs(value) < 1 << 53
