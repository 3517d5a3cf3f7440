# SPDX-License-Identifier: Apache-2.0
"""Damaged files of torch.save, and invalid networks, in the form of hostile.py."""

import random
import struct
import zipfile

import torch

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
    torch_zip,
    zipped,
)
from checkpoints.hostile import attack, given
from stylegan.checkpoints.pickle.arrays import contiguous
from stylegan.config import GeneratorConfig
from stylegan.models.build import Unfilled, build_generator

BIG = 10**9

# Files of another kind

given("an empty file", "is an empty file", b"")
given("one byte", "the file ends too early; copy or download it again", b"\x80")
given(
    "text",
    "a web page, not the file itself",
    b"<!doctype html>\n<title>404</title>\n" * 100,
)
given("a picture", "a single image, not a network", b"\x89PNG\r\n\x1a\n" + bytes(1000))
given("random bytes", "(at byte 0)", b"\x80" + random.Random(0).randbytes(100_000))
given("zeros", "is of an unknown kind", bytes(100_000))
given("a number", "contains no known networks", pickled(1))
given("no networks", "contains no known networks", pickled({"G_ema": None, "G": None, "D": None}))
given("numbers as networks", "contains no known networks", pickled({"G_ema": 1, "G": [], "D": "D"}))

# Legacy files of torch.save

ID = storage_id(4, view=(None,))
given("big-endian", "big-endian", legacy(None, system={"little_endian": False}))
given("no byte order", "big-endian", legacy(None, system={}))
given("no description of the machine", "big-endian", legacy(None, system=[]))
given("another version", "not a file of torch.save", saved(MAGIC, 1002, SYSTEM, ID, ["0"]))
given("a view of a storage", "invalid storage id", legacy(None, view=(("1", 0, 2),)))
given(
    "a storage of 10^9 numbers",
    "the file ends too early; copy or download it again",
    legacy(storage_id(BIG, view=(None,))),
)
given("a storage of 2^60 numbers", "invalid storage id", legacy(storage_id(1 << 60, view=(None,))))
given("a storage of -1 numbers", "invalid storage id", legacy(storage_id(-1, view=(None,))))
given("a complex storage of -4 numbers", "invalid storage id", legacy(storage_id(-4, view=(None,))
      ).replace(b"FloatStorage", b"ComplexFloatStorage"))  # fmt: skip
given("a complex storage of 10^9 numbers", "the file ends too early", legacy(storage_id(BIG,
      view=(None,))).replace(b"FloatStorage", b"ComplexFloatStorage"))  # fmt: skip
given("a storage that is missing", "without contents", legacy(None, keys=()))
given(
    "a storage that nobody announced",
    "the list of storages does not match",
    legacy(None, keys=("0", "1")),
)
given("a storage of another size", "size differs from its id", legacy(None, sizes=(4,)).replace(
      struct.pack("<q", 4), struct.pack("<q", -4)))  # fmt: skip
given(
    "a storage that ends too early",
    "the file ends too early; copy or download it again",
    legacy(None)[:-1],
)
given("a storage of two kinds", "with two types or sizes", legacy(Raw(b"(" + ID
      + storage_id(5, view=(None,)) + b"t")))  # fmt: skip
given("a tensor that is no storage", "something other than a storage", pickled(tensor(
      blob=legacy([1], keys=(), sizes=()))))  # fmt: skip
given("the tensor's bytes are a zip", "not a pickle of protocol 2", pickled(tensor(
      blob=torch_zip(storage_id(4)))))  # fmt: skip

# Zips


def with_directory(change):
    """A file of torch.save with a changed zip directory.

    Args: change: function of a bytearray and three offsets: of the entry of data.pkl, of the last
        entry and of the end of the directory.
    """
    data = bytearray(torch_zip(storage_id(4)))
    first = data.index(b"PK\x01\x02")
    change(data, first, data.index(b"PK\x01\x02", first + 1), data.index(b"PK\x05\x06"))
    return bytes(data)


def put(data, at, format, value):
    """Overwrite a number."""
    struct.pack_into(format, data, at, value)


def zip_bomb(name):
    """A zip one of whose files is compressed to a thousandth."""
    contents = {"a/data.pkl": pickled(None), "a/data/0": bytes(16)}
    with_bomb = {**contents, name: contents[name] + bytes(50 << 20)}
    return zipped(with_bomb.items(), zipfile.ZIP_DEFLATED)


attack("a zip bomb as data.pkl", "compressed")(lambda: zip_bomb("a/data.pkl"))
attack("a zip bomb as a storage", "compressed")(lambda: zip_bomb("a/data/0"))
given("a zip without data.pkl", "no data.pkl", zipped([("a/data/0", bytes(16))]))
given("a zip of nothing", "neither a pickle nor", zipped([]))
given("two folders with data.pkl", "no data.pkl", zipped([("a/data.pkl", pickled(1)),
      ("b/data.pkl", pickled(2))]))  # fmt: skip
given(
    "data.pkl is empty",
    "the file ends too early; copy or download it again",
    zipped([("a/data.pkl", b"")]),
)
given("a zip without its storage", "storage '0' is missing", zipped([("a/data.pkl",
      pickled(storage_id(4)))]))  # fmt: skip
given("a zip's storage is short", "shorter than its id says", torch_zip(storage_id(5)))
given("a zip's storage of 10^9 numbers", "shorter than its id says", torch_zip(storage_id(BIG)))
given(
    "a path as a storage's name", "passwd' is missing", torch_zip(storage_id(4, "../../etc/passwd"))
)
given("a big-endian zip", "big-endian", zipped([("a/data.pkl", pickled(1)),
      ("a/byteorder", b"big")]))  # fmt: skip
given("a byteorder of 1 MB", "the zip directory does not match", zipped([("a/data.pkl", pickled(1)),
      ("a/byteorder", bytes(1 << 20))]))  # fmt: skip
given("a zip without its end", "directory of the zip archive is missing", torch_zip(None)[:-22])
given("a zip's entry beyond the file", "the zip directory does not match",
      with_directory(lambda d, first, last, end: put(d, first + 42, "<I", 1 << 31)))  # fmt: skip
given("a zip's entry that is no entry", "the zip directory does not match",
      with_directory(lambda d, first, last, end: put(d, first + 42, "<I", 7)))  # fmt: skip
given("a zip's entry of 2 GB", "the zip directory does not match",
      with_directory(lambda d, first, last, end: (put(d, first + 20, "<I", 1 << 31),
                                                  put(d, first + 24, "<I", 1 << 31))))  # fmt: skip
given("a zip whose list lies elsewhere", "damaged",
      with_directory(lambda d, first, last, end: put(d, end + 16, "<I", 1 << 31)))  # fmt: skip
given("a zip whose list is longer than it", "damaged",
      with_directory(lambda d, first, last, end: put(d, end + 12, "<I", 1 << 20)))  # fmt: skip
given("a zip whose list takes 2 GB", "takes more than 2 MiB",
      with_directory(lambda d, first, last, end: put(d, end + 12, "<I", 1 << 31)))  # fmt: skip


@attack("a zip that lists a file twice", "two files of the same name")
def twice():
    def change(data, first, last, end):
        name = data[first + 46 : first + 46 + 10]
        assert name == b"a/data.pkl"
        data[last + 46 : last + 46 + 8] = b"a/data/1"

    entries = [("a/data.pkl", pickled(None)), ("b/data.pkl", pickled(None))]
    return zipped(entries).replace(b"b/data.pkl", b"a/data.pkl")


@attack("a zip of 200,000 files", "takes more than 2 MiB")
def many_files():
    body = PROTO  # any bytes, since the files are never reached
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<HHHHHII", 1, 0, 0, 0, 0, 0, 0) + b"x"
    directory = entry * 200_000
    end = struct.pack("<HHHHIIH", 0, 0, 65535, 65535, len(directory), 4 + len(body), 0)
    return b"PK\x03\x04" + body + directory + b"PK\x05\x06" + end


@attack("a zip64 of 2^60 bytes", "takes more than 2 MiB")
def zip64():
    data = torch_zip(None)
    end = data.index(b"PK\x05\x06")
    longer = struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 2, 2, 1 << 60, 0)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    return data[:end] + b"PK\x06\x06" + longer + locator + data[end:]


# Networks

for name in ("z_dim", "w_dim", "c_dim", "img_resolution", "img_channels", "channel_base",
             "channel_max"):  # fmt: skip
    for size in (BIG, -1, 1 << 500, 0.5, "4", None, float("nan"), True):
        given(f"{name} of {str(size)[:20]}", f"{name} is ", generator({name: size}))
OF_STYLEGAN3 = ("num_layers", "num_critical", "margin_size", "filter_size", "num_fp16_res",
                "first_cutoff", "first_stopband", "last_stopband_rel", "output_scale",
                "lrelu_upsampling", "conv_kernel", "conv_clamp")  # fmt: skip
LAYERS = {"input": module(), "L0_16_4": module(), "L1_16_3": module()}
ALIAS_FREE = module("Synthesis", children=LAYERS)
for name in OF_STYLEGAN3:
    for size in (BIG, -1, "4", float("nan")):
        data = generator({"num_layers": 1, name: size}, ALIAS_FREE)
        given(f"{name} of {size!r}", f"{name} is ", data)
given("no arguments", "img_resolution is missing", pickled({"G": module(children={
      "mapping": module(), "synthesis": module()})}))  # fmt: skip
given("arguments that are a list", "recorded arguments", pickled({"G": module(_init_kwargs=[],
      children={"mapping": module(), "synthesis": module()})}))  # fmt: skip
given("more arguments than there are", "recorded arguments", pickled({"G": module(
      _init_args=(1,) * 1000, children={"mapping": module(), "synthesis": module()})}))  # fmt: skip
given(
    "modules that are a list",
    "is not a dictionary with names as keys",
    pickled({"G": module(children=[1])}),
)
given(
    "tensors that are numbers",
    "G.weight is not a tensor",
    pickled({"G": module(tensors={"weight": 1})}),
)
given(
    "a module that is a tensor",
    "G.a is not a module",
    pickled({"G": module(children={"a": tensor()})}),
)
given("a name of two lines", "is not a dictionary with names as keys", pickled({"G": module(
      tensors={"a\nb": tensor()})}))  # fmt: skip
given("a name of 200 characters", "is not a dictionary with names as keys", pickled({"G": module(
      tensors={"a" * 200: tensor()})}))  # fmt: skip


def nest(levels, width, name="m", leaf=None):
    """Modules, each of which contains the next one `width` times."""
    inner = leaf or module()
    for _ in range(levels):
        inner = Raw(inner + b"q\x070" + module(children={f"{name}{i}": Raw(b"h\x07") for i in
                                                         range(width)}))  # fmt: skip
    return pickled({"G": inner})


ITSELF = Raw(module(children=Raw(b"}q\x08")) + b"q\x070h\x08" + dump("a") + b"h\x07s0h\x07")
given("a module within itself", "levels", pickled({"G": ITSELF}))
given("shared modules, 2^40", "modules and tensors", nest(40, 2))
given("modules, 1,000 deep", "levels", nest(1000, 1))
given("modules with long names, 60 deep", "levels", nest(60, 1, "n" * 95))
attack("shared modules, 1,000 of 1,000 of 1,000 ...", "modules and tensors")(
    lambda: nest(60, 1000, "n" * 90)
)


@attack("a module of 60,000 that are None, 2,000 times", "modules and tensors")
def nothing():
    return nest(1, 2000, leaf=module(children={f"n{i}": None for i in range(60_000)}))


def whole(config, numbers, **more):
    """A complete generator whose tensors are all views of the start of one storage."""
    blob = legacy(storage_id(numbers, view=(None,)), sizes=(numbers,), numbers=bytes(4 * numbers))
    tree = {}
    shared = dump(call("torch.storage", "_load_from_bytes", blob)) + b"q\x090"
    with torch.device("meta"), Unfilled():
        shapes = {k: v.shape for k, v in build_generator(config).state_dict().items()}
    for name, shape in {**shapes, **more}.items():
        *path, last = name.split(".")
        inner = tree
        for part in path:
            inner = inner.setdefault(part, {})
        arguments = (Raw(b"h\x09"), 0, tuple(shape), contiguous(shape), False, None)
        inner[last] = call("torch._utils", "_rebuild_tensor_v2", *arguments)
    c = config
    given = dict(z_dim=c.z_dim, c_dim=0, w_dim=c.w_dim, img_resolution=8, img_channels=3)
    root = modules(tree, _init_kwargs={**given, "synthesis_kwargs": {}})
    return PROTO + shared + dump({"G_ema": root}) + b"."


def modules(tree, **state):
    """A module from nested dictionaries of tensors."""
    children = {key: modules(value) for key, value in tree.items() if isinstance(value, dict)}
    tensors = {key: value for key, value in tree.items() if not isinstance(value, dict)}
    return module(children=children, tensors=tensors, **state)


@attack("60 layers on the same numbers", "the same numbers, used many times")
def same_numbers():
    return whole(
        GeneratorConfig(resolution=8, z_dim=512, w_dim=512, mapping_layers=60, channel_max=32),
        512 * 512,
    )


@attack("2,000 layers", "mapping_layers: expected 0 to 64, got 2000")
def layers():
    config = GeneratorConfig(resolution=8, z_dim=4, w_dim=4, mapping_layers=2, channel_max=4)
    more = {f"mapping.fc{i}.{part}": (4,) for i in range(2, 2000) for part in ("weight", "bias")}
    return whole(config, 1024, **more)


@attack("another filter", "resample_filter is not the filter")
def filters():
    config = GeneratorConfig(resolution=8, z_dim=4, w_dim=4, mapping_layers=2, channel_max=4)
    return whole(config, 1024, **{"synthesis.b8.resample_filter": (4, 4)})


def strided(stride):
    """Two numbers that are far from each other."""
    blob = legacy(storage_id(9000, view=(None,)), sizes=(9000,), numbers=bytes(36000))
    return pickled({"G": module(tensors={"a": tensor(0, (2,), (stride,), blob)})})


given("two numbers of 8,000", "are spread over 8001", strided(8000))


# Tuples of TensorFlow networks


def tensorflow(variables=(), components=None, **arguments):
    """G, D and Gs, the last with these contents."""
    components, empty = components or {}, dict(version=4, variables=[], components={})
    state = dict(version=4, variables=list(variables), components=components)
    states = (empty, empty, {**state, "static_kwargs": arguments})
    kind = named("dnnlib.tflib.network", "Network")
    return pickled(tuple(Raw(kind + b")\x81" + dump(state) + b"b") for state in states))


ONE = [("synthesis/4x4/Conv/mod_weight", array())]
given("a TensorFlow network with code", "os.system", tensorflow(ONE, x=call("os", "system", "1")),
      b"cos\n")  # fmt: skip
given(
    "a TensorFlow network of no networks",
    "mapping is not a network",
    tensorflow(components={"mapping": 1}),
)
given("a TensorFlow variable alone", "not a pair of name and array", tensorflow([1]))
given("a TensorFlow variable of text", "expected an array", tensorflow([("x", "y")]))
given("a TensorFlow name of two lines", "an invalid variable name",
      tensorflow([("x\ny", array())]))  # fmt: skip
LAYERS_4 = [(f"synthesis/4x4/{name}/weight", array((1, 1, 1, 4))) for name in ("Conv", "ToRGB")]
given("a TensorFlow network of 10^9 channels", "num_channels is 1000000000", tensorflow(
      [("synthesis/4x4/Conv/mod_weight", array((1, 4))), *LAYERS_4], num_channels=BIG))  # fmt: skip
EMPTY = Raw(named("dnnlib.tflib.network", "Network") + b")\x81(" + dump("variables") + b"]"
            + dump("components") + b"h\x08db")  # fmt: skip
given("a TensorFlow network within itself", "an invalid variable name", tensorflow(
      components=Raw(b"}q\x08"), x=Raw(b"h\x08" + dump("a") + EMPTY + b"s")))  # fmt: skip
