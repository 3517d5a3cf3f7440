# SPDX-License-Identifier: Apache-2.0
"""Files that try to take time or memory, or to be read past their end, as in hostile.py."""

import struct

from checkpoints.crafted import (
    MAGIC,
    PROTO,
    SYSTEM,
    Raw,
    array,
    call,
    dump,
    generator,
    legacy,
    module,
    named,
    pickled,
    saved,
    storage_id,
    tensor,
)
from checkpoints.hostile import attack, given

BIG = 10**9
PRIME = (1 << 61) - 1  # integers that differ by a multiple of it have the same hash


# Opcodes without end, lengths without bytes

for code, mb in (("]", 100), ("}", 100), (")", 100), ("N", 1), ("(", 1), ("\x8f", 1), ("2", 1)):
    start = PROTO + (b"N" if code == "2" else b"")
    attack(f"{mb} MB of {code!r}", "more than 500,000 opcodes")(
        lambda start=start, code=code, mb=mb: start + code.encode("latin1") * (mb << 20)
    )
attack("nested lists", "more than 500,000 opcodes")(
    lambda: PROTO + b"]" * 300_000 + b"a" * 299_999 + b"."
)
attack("lists, 90,000 deep", "contains no known networks")(
    lambda: PROTO + b"]" * 90_000 + b"a" * 89_999 + b"."
)
attack("tuples, 100,000 deep, as a key", "a key that is not a string")(
    lambda: PROTO + b"})" + b"\x85" * 100_000 + b"Ns."
)
attack("tuples, 100,000 deep, as arguments", "arguments that are not a tuple")(
    lambda: PROTO + named("torch", "Size") + b")" + b"\x85" * 100_000 + b"NRR."
)
for name, head in (
    ("BINBYTES8", b"\x8e"),
    ("BINUNICODE8", b"\x8d"),
    ("BYTEARRAY8", b"\x96"),
):
    for length in (1 << 63, (1 << 64) - 1, BIG):
        data = b"\x80\x05" + head + struct.pack("<Q", length) + b"abc."
        given(
            f"{name} of {length:,} bytes",
            "the file ends too early; copy or download it again",
            data,
            head,
        )
for name, head in (("BINBYTES", b"B"), ("BINUNICODE", b"X")):
    data = PROTO + head + b"\xff\xff\xff\xffabc."
    given(f"{name} of 4 GB", "the file ends too early; copy or download it again", data, head)
given(
    "FRAME of 2^63 bytes", "contains no known networks", b"\x80\x04\x95" + b"\xff" * 7 + b"\x7fN."
)
given("LONG4 of 2^31 bytes", "an integer of", PROTO + b"\x8b\xff\xff\xff\x7f.", b"\x8b")
given("LONG4 of -1 bytes", "an integer of -1 bytes", PROTO + b"\x8b\xff\xff\xff\xff.", b"\x8b")
given("LONG1 of 255 bytes", "an integer of 255", PROTO + b"\x8a\xff" + b"1" * 255 + b".", b"\x8a")
given("LONG as text", "opcode LONG", PROTO + b"L" + b"9" * 5000 + b"L\n.", b"L")

# The memo, the stack, marks

given("BINGET of nothing", "damaged", PROTO + b"h\x05" + b"N" * 10, b"h")
given("LONG_BINPUT of 2^32 - 1", "damaged", PROTO + b"Nr\xff\xff\xff\xffj\xfe\xff\xff\xff"
      + b"N" * 10, b"j")  # fmt: skip
given("a memo that changes", "refuses to call a value of type int", PROTO
      + named("torch", "Size") + b"q\x00K\x01q\x000h\x00)R.", b"R.")  # fmt: skip
given("a mark in the memo", "a mark where a value belongs", PROTO + b"(q\x00.", b"q")
given("no mark", "no mark", PROTO + b"NNt.", b"t.")
given("an empty stack", "damaged", PROTO + b"0" + b"N" * 10, b"0")
given("a mark as a tuple's item", "a mark where a value belongs", PROTO + b"(N\x86.", b"\x86")
given("a mark as the value", "contains no known networks", PROTO + b"(.")
given("two values", "damaged", PROTO + b"NN.", b".")
given("no value", "damaged", PROTO + b".", b".")
given("unhashable keys", "a key that is not a string", PROTO + b"}]Ns.", b"s.")
given("tuples in a set", "not a set of strings", PROTO + b"\x8f()\x90.", b"\x90")
given("a set as a key", "a key that is not a string", PROTO + b"}\x8fNs.", b"s.")
given("SETITEMS of a list", "not a dict", PROTO + b"](NNu.", b"u.")
given("SETITEMS of three", "not a dict", PROTO + b"}(NNNu.", b"u.")
given("APPENDS to a dict", "not a list", PROTO + b"}(Ne.", b"e.")
given("an unknown opcode", "opcode 0xff", PROTO + b"\xff.", b"\xff")
given("an opcode of protocol 0", "opcode UNICODE", PROTO + b"Vtext\n.", b"V")


def laughs(levels=60):
    """A tuple of 10^levels items, which share their memory."""
    return Raw(dump(("ha",) * 10) + (b"q\x070" + b"(" + b"h\x07" * 10 + b"t") * levels)


LAUGHS = laughs()
given("billion laughs as the value", "contains no known networks", pickled(LAUGHS))
given(
    "billion laughs as a key", "a key that is not a string", PROTO + b"}" + LAUGHS + b"Ns.", b"s."
)
given("billion laughs called", "refuses to call a value of type tuple", PROTO + LAUGHS
      + b")R.", b"R.")  # fmt: skip
for name, message, value in (
    ("shape", "an invalid shape", pickled(array(shape=(LAUGHS, 4)))),
    ("dtype", "unsupported dtype a tuple", pickled(array(dtype=LAUGHS))),
    ("byte order", "byte order a tuple", pickled(array(order=LAUGHS))),
    ("array's contents", "not a multiple of the element size", pickled(array(contents=LAUGHS))),
    ("tensor's shape", "are not integers", pickled(tensor(shape=(LAUGHS,)))),
    ("tensor's bytes", "whose contents are not bytes", pickled(tensor(blob=LAUGHS))),
    ("storage's name", "invalid storage id", saved(MAGIC, 1001, SYSTEM, storage_id(4, LAUGHS))),
):
    given(f"billion laughs as a {name}", message, value)
given("billion laughs as an argument", "z_dim is a tuple", generator({"z_dim": LAUGHS}))
given("billion laughs as a name", "class_name", pickled(module(LAUGHS)))
given(
    "billion laughs in the keys of a storage",
    "the list of storages does not match",
    legacy(None, keys=(LAUGHS,)),
)


@attack("keys of the same hash", "a key that is not a string")
def same_hash():
    numbers = b"".join(dump(PRIME * i) + b"N" for i in range(60_000))
    return PROTO + b"}(" + numbers + b"u."


@attack("a set of the same hash", "not a set of strings")
def same_hash_in_set():
    return PROTO + b"\x8f(" + b"".join(dump(PRIME * i) for i in range(60_000)) + b"\x90."


def copies(made, arguments):
    """The same call, 40,000 times."""
    return (
        PROTO + made + b"q\x000" + dump((arguments,)) + b"q\x010" + b"h\x00h\x01R" * 40_000 + b"."
    )


LIST = [1] * 40_000
PAIRS = Raw(b"(" + b"N" * 2 + b"\x86q\x05" + b"h\x05" * 40_000 + b"l")
for name, made, value in (
    ("lists as sizes", named("torch", "Size"), LIST),
    ("sets of lists", named("builtins", "set"), LIST),
    ("dictionaries", named("collections", "OrderedDict"), PAIRS),
):
    attack(f"40,000 copies: {name}", "more than 500,000 opcodes")(
        lambda made=made, value=value: copies(made, value)
    )
TEXT = "x" * 60_000
given("40,000 copies: text as bytes", "64 MiB", PROTO + named("_codecs", "encode") + b"q\x000"
      + dump((TEXT, "latin1")) + b"q\x010" + b"h\x00h\x01R" * 40_000 + b".")  # fmt: skip
given("40,000 times the same long text", "the same text is used many times", PROTO
      + named("_codecs", "encode") + b"q\x000" + dump((TEXT * 2, "latin1")) + b"q\x010"
      + b"h\x00h\x01R" * 40_000 + b".")  # fmt: skip
given("40,000 dtypes of 60,000 characters", "unsupported dtype", PROTO + named("numpy", "dtype")
      + b"q\x000"
      + dump(("<" * 60_000 + "f4", False, True)) + b"q\x010" + b"h\x00h\x01R" * 40_000
      + b".")  # fmt: skip
attack("text of 4 bytes a character", "64 MiB of text")(
    lambda: PROTO + dump("x" * 65_000 + "\U0001f600") * 1000 + b"."
)

# Tensors

for name, offset, shape, strides in (
    ("10^9 elements", 0, (BIG,), (1,)),
    ("2^400 elements", 0, (1 << 50,) * 8, (1,) * 8),
    ("an integer of 500 bits", 0, (1 << 500,), (1,)),
    ("a stride of 0", 0, (BIG,), (0,)),
    ("strides of 0", 0, (100_000, 100_000), (0, 0)),
    ("strides out of bounds", 0, (4,), (2,)),
    ("a stride of 2^62", 0, (2,), (1 << 62,)),
    ("an offset out of bounds", 1, (4,), (1,)),
    ("an offset of 2^63", 1 << 63, (1,), (1,)),
    ("a negative offset", -1, (4,), (1,)),
    ("a negative size", 0, (-4,), (1,)),
    ("two negative sizes", 0, (-2, -2), (2, 1)),
    ("a negative stride", 3, (4,), (-1,)),
    ("more strides than sizes", 0, (4,), (1, 1)),
    ("9 dimensions", 0, (1,) * 9, (1,) * 9),
    ("100,000 dimensions", 0, (1,) * 50_000, (1,) * 50_000),
    ("a size that is a float", 0, (4.0,), (1,)),
    ("a size that is a bool", 0, (True,), (1,)),
    ("a shape that is a list", 0, [4], (1,)),
    ("a shape that is text", 0, "4", (1,)),
):
    blob = Raw(dump(legacy(None)))
    data = pickled(tensor(offset, shape, strides, blob))
    given(f"a tensor of {name}", "torch._utils._rebuild_tensor_v2: ", data, b"tR.", 1)
for name, shape in (
    ("10^9 elements", (BIG,)),
    ("negative sizes", (-2, -2)),
    ("100,000 dimensions", (1 << 60,) * 100_000),
    ("2^400 elements", (1 << 50,) * 8),
):
    given(f"an array of {name}", "an array ", pickled(array(shape)), b"b.")
for name, dtype in (("strings", "U10"), ("bytes", "S4"), ("records", "V8"), ("complex", "c8"),
                    ("big-endian numbers", ">f4")):  # fmt: skip
    given(f"an array of {name}", "G.w: unsupported dtype", pickled({"G": module(tensors={"w":
          array(dtype=dtype)})}))  # fmt: skip
given("an array of the other byte order", "G.w: unsupported byte order '>'", pickled({"G":
      module(tensors={"w": array(order=">")})}))  # fmt: skip
given("an array without contents", "without contents", pickled(call("numpy.core.multiarray",
      "_reconstruct", named("numpy", "ndarray"), (0,), b"b")))  # fmt: skip
given("an array of another class", "a class other than", pickled(call("numpy.core.multiarray",
      "_reconstruct", named("collections", "OrderedDict"), (0,), b"b")))  # fmt: skip
given(
    "numbers of 3 bytes", "not a multiple of the element size", pickled(array(contents=bytes(15)))
)
given("a tensor on no storage", "without storage", pickled(call("torch._utils",
      "_rebuild_tensor_v2", 1, 0, (4,), (1,), False, None)))  # fmt: skip
given("a tensor within a tensor's bytes", "nested in the file of another",
      pickled(tensor(blob=legacy(tensor()))))  # fmt: skip


@attack("2,000 tensors, each in the bytes of the next", "nested in the file of another")
def nested_tensors():
    blob = legacy(None)
    for _ in range(2000):
        blob = legacy(call("torch.storage", "_load_from_bytes", blob), keys=(), sizes=())
    return pickled(call("torch.storage", "_load_from_bytes", blob))
