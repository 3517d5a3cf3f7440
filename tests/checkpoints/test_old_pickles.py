# SPDX-License-Identifier: Apache-2.0
"""Pickles of protocols 0 and 1, and of Python 2."""

import math
import pickle

import numpy as np
import pytest
import torch

from checkpoints.nvidia_pickles import CORES, STYLEGAN3, dump, published
from checkpoints.small_networks import check, discriminator, generator
from checkpoints.test_pickle_reader import Maker, read, resolved, same
from stylegan import CheckpointError, load_networks
from stylegan.checkpoints.names import is_checkpoint
from stylegan.checkpoints.pickle.container import read_root
from stylegan.checkpoints.pickle.source import Escaped


@pytest.mark.parametrize("protocol", [0, 1])
@pytest.mark.parametrize("core", CORES)
def test_networks(tmp_path, protocol, core):
    G, D = generator(), discriminator()
    root = {"G_ema": published(G, STYLEGAN3), "D": published(D, STYLEGAN3)}
    path = dump(tmp_path / "network", root, protocol, core)
    assert is_checkpoint(path)
    nets = load_networks(path, "cpu")
    check(nets.G_ema, G)
    check(nets.D, D)


@pytest.mark.parametrize("protocol", [0, 1])
def test_plain_data(tmp_path, protocol):
    for seed in range(40):
        value = [Maker(seed, (list, tuple, dict, None)).value()]
        written = pickle.dumps(value, protocol)
        found = read(tmp_path / "a", written)
        assert same(resolved(found), resolved(pickle.loads(written))), seed


@pytest.mark.parametrize("protocol", [0, 1])
def test_numbers_and_text(tmp_path, protocol):
    value = [0, 1, True, False, -5, 1 << 70, -(1 << 300), 0.5, math.inf, -math.inf, None, "",
             "\\ \n é \u20ac \U0001f600 '", b"\x00\xff\n", b"", {}, (), [], {"a": 1}]  # fmt: skip
    found = read(tmp_path / "a", pickle.dumps(value, protocol))
    assert same(resolved(found), value)


@pytest.mark.parametrize("protocol", [0, 1])
def test_arrays_stay_in_the_file(tmp_path, protocol):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((60, 70)), np.arange(3), np.frombuffer(bytes(range(256)) * 300)]
    (tmp_path / "a").write_bytes(pickle.dumps(arrays, protocol))
    found = read_root(tmp_path / "a")
    for expected, array in zip(arrays, found, strict=True):
        assert np.array_equal(array.read().numpy().view("u1"), expected.view("u1"))


def test_long_text_of_protocol_0(tmp_path):
    data = bytes(range(256)) * 600
    found = read(tmp_path / "a", pickle.dumps([data], 0))[0]
    assert type(found.text) is Escaped and found.read() == data
    assert len(found) == len(data) and found.read(1000, 77) == data[1000:1077]


def test_torch_files_of_protocol_1(tmp_path):
    for new in (True, False):
        torch.save({"g": {"input.input": torch.ones(3)}}, tmp_path / "a.pt", pickle_protocol=1,
                   _use_new_zipfile_serialization=new)  # fmt: skip
        assert torch.equal(read_root(tmp_path / "a.pt")["g"]["input.input"].read(), torch.ones(3))


@pytest.mark.parametrize(
    "data, value",
    [
        (b"(dp0\nS'a'\np1\nI1\ns.", {"a": 1}),
        (b"(lp0\nS'it\\'s \\xe9'\naI01\naL5L\na.", ["it's \xe9", True, 5]),
        (b"\x80\x02}q\x00U\x01aK\x01s.", {"a": 1}),  # protocol 2 of Python 2
        (b"\x80\x02]T\x02\x00\x00\x00ab\x61.", ["ab"]),
        (b"(I1\nF2.5\nNtp0\n.", (1, 2.5, None)),
        (b"(ifork.old\nThing\np0\n(dp1\nb.", None),
        (
            b"ccopy_reg\n_reconstructor\n(cfork\nThing\nc__builtin__\nobject\nNtR(dS'a'\nI1\nsb.",
            None,
        ),
    ],
)
def test_by_hand(tmp_path, data, value):
    found = read(tmp_path / "a", data)
    assert found == value if value is not None else found.unknown and "hing" in found.kind


@pytest.mark.parametrize(
    "data",
    [b"(dp0\nS'a'\nI1x\ns.", b"(lI1_0\na.", b"(lF1_0\na.", b"(lFtwo\na.", b"(lL5LL\na.",
     b"(lS'a\na.",
     b"(lg7\na.", b"(lp-1\n.", b"(lp99999999999999999999\n.", b"(lI" + b"9" * 5000 + b"\na.",
     b"(lI\xd9\xa1\na.", b"(lVab", b"(lP0\na.", b"(lT\xff\xff\xff\xffa.", b"(lV\\ud800x\\u1\na."],
)  # fmt: skip
def test_damage(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(CheckpointError) as e:
        read_root(tmp_path / "a")
    assert str(e.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        b"category,name\n1,2\n",
        b"(Note) this is text\n",
        b"import os\n",
        b"<html>",
        b'{"a": 1}',
        b"(deleted)\n",
        b"i am\nhere\n",
        b"[1]",
    ],
)
def test_text_is_no_pickle(tmp_path, text):
    path = tmp_path / "a.pkl"
    path.write_bytes(text * 20)
    with pytest.raises(CheckpointError, match="neither a pickle"):
        read_root(path)
