# SPDX-License-Identifier: Apache-2.0
import io
import math
import pickle
import pickletools
import struct
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stylegan.checkpoints.pickle.nodes import Node
from stylegan.checkpoints.pickle.writer import Global, Object, Pickler, dump


def emitted(value, **options):
    file = io.BytesIO()
    dump(value, file, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "value",
    [
        [None, True, False],
        [0, 255, 256, -1, 65536, 2**31 - 1, -(2**31), 2**31, -(2**31) - 1, 2**63, -(2**2100)],
        [0.0, -0.0, 1e-300, math.inf, -math.inf, math.nan, math.pi, 1.0],
        ["", "a", "\u00e4\u4e2d\U0001f600", "a\nb\x00c", "x" * 300, "a"],
        [b"", b"\x00\xff", b"x" * 300],
        [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, set()],
        {"a": [1, {"b": (2.5, None, {"c": []})}], 3: "d", None: {1, 2, "e"}, (1, "f"): -7},
        [[[[["deep"]]]] * 3] * 3,
        [str(i) for i in range(300)] * 2,  # more than 256 numbers to recall them by
    ],
)
def test_plain_data_comes_back(value):
    assert typed(pickle.loads(emitted(value))) == typed(value)


def typed(value):
    """The value with all types, since 1 == 1.0 == True, and with the sign of zeros."""
    if type(value) is dict:
        value = list(value.items())
        return dict, typed(value)
    if type(value) is set:
        return set, sorted(map(typed, value), key=repr)
    if type(value) in (list, tuple):
        return type(value), [typed(v) for v in value]
    return type(value), repr(value)


def test_byte_strings_of_4_gib():
    class Huge:
        def __len__(self):
            return 1 << 32

    pieces, huge = [], Huge()
    Pickler(SimpleNamespace(write=pieces.append)).bytes_(huge)
    assert pieces == [pickle.BINBYTES8 + struct.pack("<Q", 1 << 32), huge]


def test_the_pickle_of_a_set_does_not_depend_on_hashes():
    data = emitted({f"<{i}>" for i in range(50)})
    places = [data.index(b"<%d>" % i) for i in sorted(range(50), key="<{}>".format)]
    assert places == sorted(places)


def test_arrays_come_back():
    for array in (np.array([36, 36]), np.arange(6, dtype=np.float32).reshape(2, 3), np.uint8(3)):
        array = np.asarray(array)
        back = pickle.loads(emitted(array))
        assert back.dtype == array.dtype and back.shape == array.shape and (back == array).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_tensors_come_back(dtype):
    values = [
        torch.tensor(1.5),
        torch.zeros(0, 3),
        torch.arange(24.0).view(2, 3, 4).mT,
        torch.arange(6.0)[::2],
    ]
    values = [v.to(dtype) for v in values]
    back = pickle.loads(emitted(values))
    for a, b in zip(values, back, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    p = torch.nn.Parameter(torch.randn(3))
    back = pickle.loads(emitted([p, torch.nn.Parameter(p.detach(), requires_grad=False)]))
    assert all(type(v) is torch.nn.Parameter and torch.equal(v, p) for v in back)
    assert [v.requires_grad for v in back] == [True, False]


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_a_tensors_contents_are_a_file_of_torch_save():
    """torch writes the same, except for the name of the storage and some opcodes."""
    x = torch.arange(5.0)
    opcodes = pickletools.genops(emitted(x))
    (ours,) = (a for _, a, _ in opcodes if type(a) is bytes)
    for only_weights in (False, True):
        back = torch.load(io.BytesIO(ours), weights_only=only_weights)
        assert type(back) is torch.TypedStorage and back.tolist() == x.tolist()
    file = io.BytesIO()
    torch.save(x.storage(), file, _use_new_zipfile_serialization=False)
    theirs = file.getvalue()
    assert ours[:14] == theirs[:14] and ours[-28:] == theirs[-28:]


def test_objects_are_made_by_name_alone():
    class_ = Global("no.such.module", "Class")
    data = emitted([Object(class_, {"a": 1}), Object(class_)])
    found = []

    class Loader(pickle.Unpickler):
        def find_class(self, module, name):
            found.append((module, name))
            return type(name, (), {})

    a, b = Loader(io.BytesIO(data)).load()
    assert type(a) is type(b) and vars(a) == {"a": 1} and vars(b) == {}
    assert found == [("no.such.module", "Class")]
    shared = Object(Global("argparse", "Namespace"), {"x": 1})
    a, b = pickle.loads(emitted([shared, shared]))
    assert a is b and a.x == 1
    empty = Object(Global("collections", "OrderedDict"), args=())
    a, b = pickle.loads(emitted([empty, empty]))
    assert a is not b


@pytest.mark.parametrize("value", [object(), 1j, np.float32(1), range(3), Node("a", {}), len])
def test_refuses_other_types(value):
    with pytest.raises(TypeError, match=f"cannot hold a {type(value).__name__}"):
        emitted({"a": [value]})
