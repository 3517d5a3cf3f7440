# SPDX-License-Identifier: Apache-2.0
"""The reader of pickles: plain data, arrays of NumPy, files of torch.save."""

import math
import pickle
import pickletools
import random
from collections import OrderedDict
from itertools import product

import numpy as np
import pytest
import torch

from checkpoints.nvidia_pickles import CORES, dump
from stylegan.checkpoints.pickle.allowed import ALLOWED
from stylegan.checkpoints.pickle.arrays import DTYPES, Array, Storage, contiguous
from stylegan.checkpoints.pickle.container import read_root
from stylegan.checkpoints.pickle.machine import MAX_SMALL
from stylegan.checkpoints.pickle.numpy_state import DType
from stylegan.checkpoints.pickle.source import Encoded, Escaped, File, Region, Span, Text
from stylegan.checkpoints.pickle.unpickle import Unpickler

PROTOCOLS = (2, 3, 4, 5)
LARGEST = 2 ** (8 * 64 - 1) - 1  # in 64 bytes
LETTERS = "aé\u20ac\U0001f600\ud800\udfff\n\0'\""  # with surrogates that stand alone


def read(path, data):
    """The value of a file that is a single pickle."""
    path.write_bytes(data)
    file = File(path)
    reader = Unpickler(Region(file, file.view), ALLOWED)
    value = reader.read()
    assert reader.at == len(data)
    return value


def resolved(value):
    """The value with all strings read from the file, and with sets in place of frozen sets."""
    if isinstance(value, (Span, Encoded)):
        assert len(value) > MAX_SMALL
        return bytes(value.read())
    if isinstance(value, Escaped):
        data = bytes(value.file.read(value.start, value.length))
        return data.decode("raw-unicode-escape")
    if isinstance(value, Text):
        return bytes(value.file.read(value.start, value.length)).decode("utf-8", "surrogatepass")
    if isinstance(value, dict):
        return {k: resolved(v) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(resolved, value))
    return set(value) if isinstance(value, (set, frozenset)) else value


def same(a, b):
    """Whether values and their types are the same, at all levels."""
    if type(a) is not type(b):
        return False
    if type(a) in (list, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if type(a) is dict:
        return same(list(a), list(b)) and same(list(a.values()), list(b.values()))
    return a == b or a != a and b != b


class Maker:
    """Random plain data of `kinds`. Some objects occur several times."""

    def __init__(self, seed, kinds):
        self.rng, self.kinds, self.made = random.Random(seed), kinds, []

    def scalar(self, key=False):
        rng = self.rng
        text = "".join(rng.choices(LETTERS, k=rng.choice((0, 1, 5, 300))))
        choices = [text, rng.randint(-3, 300), rng.randint(-(2**59), 2**59), True, False, None]
        choices += [rng.randbytes(rng.choice((0, 1, 8)))]
        if not key:
            bits = rng.choice((31, 63, 64, 511))
            choices += [
                rng.uniform(-9, 9),
                math.inf,
                -0.0,
                math.nan,
                rng.randbytes(60),
                rng.randbytes(70_000),
            ]
            choices += [text * 500, rng.getrandbits(bits) - 2 ** (bits - 1), -LARGEST - 1, LARGEST]
        return rng.choice(choices)

    def value(self, depth=4):
        rng = self.rng
        if self.made and rng.random() < 0.2:
            return rng.choice(self.made)
        kind = rng.choice(self.kinds) if depth else None
        n = rng.choice((0, 1, 2, 3, 5))
        if kind in (list, tuple):
            result = kind(self.value(depth - 1) for _ in range(n))
        elif kind in (dict, OrderedDict):
            result = kind((self.scalar(key=True), self.value(depth - 1)) for _ in range(n))
        elif kind in (set, frozenset):
            result = kind(self.scalar(key=True) for _ in range(n))
        else:
            return self.scalar()
        self.made.append(result)
        return result


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_data(tmp_path, protocol):
    kinds = (list, tuple, dict, set, OrderedDict, None) + (frozenset,) * (protocol > 3)
    opcodes = set()
    for seed in range(30):
        value = Maker(seed, kinds).value()
        data = pickle.dumps(value, protocol)
        for written in (data, pickletools.optimize(data)):
            found = read(tmp_path / "a", written)
            assert same(resolved(found), resolved(pickle.loads(written))), seed
        opcodes |= {op.name for op, _, _ in pickletools.genops(data)}
    assert {"LONG1", "BINFLOAT", "TUPLE", "SETITEMS", "APPENDS", "NEWTRUE"} <= opcodes
    assert protocol < 4 or {"FROZENSET", "ADDITEMS", "BINBYTES", "MEMOIZE", "FRAME"} <= opcodes


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_same_object_in_many_places(tmp_path, protocol):
    shared, text = [1, 2], "text " * 3
    many = [[i] for i in range(300)]  # more than a byte can number
    endless = ([], {})
    endless[0].append(endless)
    endless[1]["self"] = endless[1]
    value = [shared, {"a": shared}, (shared, text), text, many, many[::-1], endless]
    found = read(tmp_path / "a", pickle.dumps(value, protocol))
    assert found[0] == [1, 2] and found[0] is found[1]["a"] is found[2][0]
    assert found[3] is found[2][1]
    assert found[4] == many and all(a is b for a, b in zip(found[4], reversed(found[5])))
    assert found[6][0][0] is found[6] and found[6][1]["self"] is found[6][1]


def test_long_strings_stay_in_the_file(tmp_path):
    data, text = bytes(range(256)) * 300, "é" * 40_000
    found = read(tmp_path / "a", pickle.dumps([data, bytearray(data), text], 5))
    assert [type(v) for v in found] == [Span, Span, Text]
    assert found[0].read(10, 20) == found[1].read(10, 20) == data[10:30]
    assert found[0].read(76_000) == data[76_000:] and found[2].encoded() == b"\xe9" * 40_000
    (found,) = read(tmp_path / "a", pickle.dumps([data], 2))
    assert type(found) is Encoded and len(found) == len(data)
    assert found.read() == data and found.read(10, 20) == data[10:30]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_several_pickles_in_a_row(tmp_path, protocol):
    values = [1, "zwei", [3.0]]
    (tmp_path / "a").write_bytes(b"".join(pickle.dumps(v, protocol) for v in values))
    file = File(tmp_path / "a")
    reader = Unpickler(Region(file, file.view), ALLOWED)
    assert [reader.read() for _ in values] == values
    assert reader.at == len(file.view)


SHAPES = ((), (0,), (3,), (2, 3), (4, 1, 5), (2, 0, 3), (20, 30), (1,) * 8)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_of_numpy(tmp_path, protocol, core):
    rng = np.random.default_rng(0)
    written = []
    for kind, shape in product(DType.KINDS, SHAPES):
        array = np.asarray(rng.integers(0, 2 if kind == "b1" else 100, shape)).astype(kind)
        locked = array.copy()
        locked.flags.writeable = False
        views = [array[..., ::-1], array.swapaxes(0, -1)] if array.ndim else []
        written += [array, np.asfortranarray(array), locked, *views]
    written += [a.astype(a.dtype.newbyteorder("=")) for a in written[:3]]
    path = dump(tmp_path / "a", written, protocol, core)
    found = read(tmp_path / "b", path.read_bytes())
    for expected, array in zip(written, found, strict=True):
        value = array.read()
        assert value.dtype == torch.from_numpy(expected.copy()).dtype == array.dtype
        assert array.shape == value.shape == expected.shape
        assert np.array_equal(value.numpy(), expected), (expected.dtype, expected.shape)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numbers_of_numpy(tmp_path, protocol, core):
    written = [np.dtype(kind).type(1) for kind in DType.KINDS]
    written += [np.float64(math.pi), np.int64(-(2**63)), np.float32(math.inf), np.uint8(255)]
    path = dump(tmp_path / "a", written, protocol, core)
    found = read(tmp_path / "b", path.read_bytes())
    assert same(found, [v.item() for v in written])
    assert f"{core}.multiarray".encode() in path.read_bytes()


@pytest.mark.parametrize("kind", [">f4", "c8", "u8", "U3", "O", "M8[s]", "V4", "f4,f4"])
def test_other_dtypes_of_numpy(tmp_path, kind):
    """They lose nothing else, but nobody can read them."""
    for protocol in PROTOCOLS:
        value = [np.zeros((3, 2), dtype=kind).T, 5, np.zeros(1, dtype=kind)[0]]
        array, rest, scalar = read(tmp_path / "a", pickle.dumps(value, protocol))
        assert rest == 5 and array.numel == 0 and not isinstance(scalar, Array)
        with pytest.raises(
            ValueError, match="unsupported dtype|unsupported byte order .>., expected"
        ):
            array.read()


VALUES = {
    dtype: (torch.arange(24) % 2 if dtype == torch.bool else torch.arange(24) - 5).to(dtype)
    for dtype in DTYPES.values()
}
FORMATS = [
    dict(_use_new_zipfile_serialization=z, pickle_protocol=p)
    for z, p in ((0, 2), (0, 4), (1, 2), (1, 5))
]


def saved(path, value, how):
    torch.save(value, path, **how)
    return read_root(path)


@pytest.mark.parametrize("how", FORMATS, ids=str)
def test_files_of_torch(tmp_path, how):
    written = {}
    for dtype, flat in VALUES.items():
        flat = flat.clone()
        views = [
            flat,
            flat[5:9],
            flat[::3],
            flat.view(2, 3, 4),
            flat.view(4, 6).T,
            flat[7],
            flat[:0],
        ]
        views += [flat.view(2, 12)[:, 3:5], flat.new_empty(0, 3), flat.new_empty(2, 0)]
        written |= {f"{dtype} {i}": v for i, v in enumerate(views)}
    found = saved(tmp_path / "a.pt", written, how)
    assert found.keys() == written.keys() and len(found) == 100
    for name, expected in written.items():
        array = found[name]
        value = array.read()
        assert array.shape == value.shape == expected.shape, name
        assert value.dtype == expected.dtype == array.dtype and torch.equal(value, expected), name
        if expected.numel() and int(name[-1]) < 8:  # views of one storage share it
            assert array.storage is found[name[:-1] + "0"].storage
    a, b = (found["torch.float32 0"].read() for _ in range(2))
    a.zero_()
    assert b.any()  # each read gives a new tensor


@pytest.mark.parametrize("how", FORMATS, ids=str)
def test_other_things_in_files_of_torch(tmp_path, how):
    tied = torch.nn.Parameter(torch.randn(2, 2))
    state = torch.nn.Linear(3, 2).state_dict()  # an OrderedDict with an attribute
    value = {
        "state": state,
        "parameters": [tied, tied],
        "size": torch.Size([3, 4]),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "numbers": (1, 2.5, None, "é"),
    }
    found = saved(tmp_path / "a.pt", value, how)
    assert type(found["state"]) is dict and found["state"].keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(found["state"][name].read(), tensor)
    first, second = found["parameters"]
    assert first is second and torch.equal(first.read(), tied.data)
    assert found["size"] == (3, 4) and found["device"] is None
    assert found["numbers"] == (1, 2.5, None, "é")


def storage(n=24):
    return Storage(torch.int64, n, torch.arange(n).numpy().tobytes())


@pytest.mark.parametrize(
    "offset, shape, strides",
    [(0, (24,), (1,)), (23, (), ()), (3, (2, 3), (10, 2)), (0, (4, 6), (1, 4)), (24, (0,), (1,))]
    + [(0, (2, 0), (99, 99)), (20, (4,), (1,)), (0, (3,), (0,)), (5, (2, 2, 2), (1, 1, 1))],
)
def test_arrays_within_bounds(offset, shape, strides):
    array = Array(storage(), offset, shape, strides)
    expected = torch.arange(24).as_strided(shape, strides, offset)
    value = array.read()
    assert torch.equal(value, expected) and value.shape == shape == array.shape
    assert array.numel == value.numel() and array.dtype == torch.int64


@pytest.mark.parametrize(
    "offset, shape, strides, why",
    [
        (0, (25,), (1,), "exceeds the 24 elements"),
        (1, (24,), (1,), "exceeds the 24 elements"),
        (24, (), (), "exceeds the 24 elements"),
        (0, (2, 3), (21, 2), "exceeds the 24 elements"),
        (0, (25,), (0,), "exceeds the 24 elements"),
        (0, (1 << 40, 1 << 40), (0, 0), "exceeds the 24 elements"),
        (-1, (2,), (1,), "an invalid shape"),
        (5, (2,), (-1,), "an invalid shape"),
        (0, (-2,), (1,), "an invalid shape"),
        (0, (1,) * 9, (1,) * 9, "an invalid shape"),
        (0, (2,), (1, 1), "not integers"),
        (0, (2.0,), (1,), "not integers"),
        (True, (2,), (1,), "not integers"),
        ("0", (2,), (1,), "not integers"),
    ],
)
def test_arrays_out_of_bounds(offset, shape, strides, why):
    with pytest.raises(ValueError, match=why):
        Array(storage(), offset, shape, strides)


def test_strides_without_gaps():
    assert contiguous((2, 3, 4)) == (12, 4, 1) and contiguous((2, 3, 4), "F") == (1, 2, 6)
    assert contiguous(()) == () == contiguous((), "F")
