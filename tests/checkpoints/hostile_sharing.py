# SPDX-License-Identifier: Apache-2.0
"""Small files in which many objects share one large dictionary, list or text, as in hostile.py."""

import struct

from checkpoints.crafted import PROTO, Raw, dump, named, pickled, tensor
from checkpoints.hostile import attack

THING = named("fork.x", "Thing")
NETWORK = named("dnnlib.tflib.network", "Network")
MANY = 19_000  # as many as the search for networks looks at


def put(key, value):
    """Keep a value in the memo, and drop it from the stack."""
    return dump(value) + b"r" + struct.pack("<I", key) + b"0"


def get(key):
    """A value of the memo."""
    return b"j" + struct.pack("<I", key)


def large(count, prefix="k", value=b"N"):
    """A dictionary with `count` keys."""
    items = b"".join(dump(f"{prefix}{i}") + value for i in range(count))
    return Raw(b"}(" + items + b"u")


def objects(kind, state, count, more=b""):
    """A list of objects with the same state. Args: kind, state: keys of the memo."""
    return b"](" + (get(kind) + b")\x81" + get(state) + b"b" + more) * count + b"e"


@attack("100,000 attributes for an object of 50,000", "as much work")
def attributes():
    start = put(1, large(50_000)) + put(2, {"a": None}) + THING + b")\x81" + get(1) + b"b"
    return PROTO + start + (get(2) + b"b") * 100_000 + b"."


@attack("30,000 objects of 50,001 attributes", "as much work")
def attributes_of_many():
    start = put(1, large(50_000)) + put(2, {"a": None}) + put(3, THING)
    return PROTO + start + objects(3, 1, 30_000, get(2) + b"b") + b"."


@attack("100,000 paths of 63 kB", "MiB of text")
def paths():
    start = put(1, ("x" * 999,) * 63) + put(2, named("pathlib", "PosixPath"))
    return PROTO + start + b"](" + (get(2) + get(1) + b"R") * 100_000 + b"e."


@attack("160,000 names that nobody knows", "as much work")
def names():
    start = put(1, "a." * 80 + "fork")
    named_each = (get(1) + dump(f"T{i}") + b"\x93" for i in range(160_000))
    return PROTO + start + b"](" + b"".join(named_each) + b"e."


@attack("160,000 names by INST", "as much work")
def names_by_inst():
    return b"(lp0\n" + b"(ifork.x\nThing\na" * 160_000 + b"."


@attack("wrappers around one state dict", "no known networks")
def wrappers():
    start = put(0, tensor()) + put(1, large(30_000, "module.a.", get(0)))
    start += put(2, Raw(b"}" + dump("module") + get(1) + b"s"))
    start += put(3, Raw(b"}" + dump("_modules") + get(2) + b"s")) + put(4, THING)
    return PROTO + start + objects(4, 3, MANY) + b"."


@attack("modules that share 50,000 children", "more than 20,000 modules")
def children():
    start = put(1, THING) + put(2, Raw(get(1) + b")\x81")) + put(3, large(50_000, "g", get(2)))
    start += put(4, Raw(b"}" + dump("_modules") + get(3) + b"s"))
    return PROTO + start + objects(1, 4, MANY) + b"."


@attack("TensorFlow networks that share 100,000 variables", "no known networks")
def variables():
    start = put(1, ("a", None)) + put(2, Raw(b"](" + get(1) * 100_000 + b"e"))
    start += put(3, Raw(b"}" + dump("variables") + get(2) + b"s")) + put(4, NETWORK)
    return pickled({"x": Raw(objects(4, 3, MANY))}, PROTO + start)
