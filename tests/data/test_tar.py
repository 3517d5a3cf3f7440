# SPDX-License-Identifier: Apache-2.0
"""Tar archives, read in place."""

import json
import os
import pickle
import random
import signal
import sys
import tarfile
import zipfile

import pytest
import torch
from support.archives import header, tar_of
from support.pictures import encoded, picture

from stylegan import UserError
from stylegan.data.dataset import ImageDataset
from stylegan.data.files import tars
from stylegan.data.preparation import prepare
from stylegan.data.source import open_source

IMAGES = [encoded(picture(seed=i)) for i in range(4)]
IMAGE = IMAGES[0]
LONG = "/".join(["a" * 60] * 3 + ["é" * 40])
FORMATS = {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT, "ustar": tarfile.USTAR_FORMAT}
LINK, SYMLINK = tarfile.LNKTYPE, tarfile.SYMTYPE


def problems(source):
    return {problem.name: problem.why for problem in source.problems}


@pytest.mark.parametrize("format", FORMATS)
def test_a_tar_opens_like_a_zip(tmp_path, format):
    files = {"photos/cat/1.png": IMAGES[0], "photos/dog/é.png": IMAGES[1], "photos/._x.png": b"x"}
    path = tar_of(
        tmp_path / "a.tar", [("photos", tarfile.DIRTYPE, ""), *files.items()], FORMATS[format]
    )
    data = ImageDataset(path)
    assert data.files == ["photos/cat/1.png", "photos/dog/é.png"] and data.notes == []
    assert data.class_names == ("cat", "dog")
    assert [data.source.read(name) for name in data.files] == IMAGES[:2]
    prepare(path, tmp_path / "out.zip", workers=2)
    assert ImageDataset(tmp_path / "out.zip").class_names == ("cat", "dog")


@pytest.mark.parametrize("format", ["gnu", "pax"])
def test_long_names(tmp_path, format):
    entries = [(f"{LONG}/1.png", IMAGES[0]), ("2.png", IMAGES[1]), ("3.png", LINK, f"{LONG}/1.png")]
    source = open_source(tar_of(tmp_path / "a.tar", entries, FORMATS[format]))
    assert source.names == sorted([f"{LONG}/1.png", "2.png", "3.png"])
    assert source.read("3.png") == source.read(f"{LONG}/1.png") == IMAGES[0]


def test_names_that_are_not_utf8(tmp_path):
    for used, name in (("latin-1", "Vögel"), ("gbk", "狗")):
        entries = [(f"{name}/1.png", IMAGE), ("x/1.png", IMAGE)]
        path = tar_of(tmp_path / f"{used}.tar", entries, encoding=used)
        data = ImageDataset(path)
        assert name in data.class_names and f"read as {used}, a guess" in data.notes[0]
        assert ImageDataset(path, zip_encoding=used).notes == []


def test_names_that_would_be_utf8_by_chance(tmp_path):
    """In GBK, the bytes of one class may be UTF-8 of something else. All names are decoded alike,
    as in a zip."""
    entries = [("猫/1.png", IMAGE), ("小狗/1.png", IMAGE)]
    assert "猫".encode("gbk").decode("utf-8") == "è"
    data = ImageDataset(tar_of(tmp_path / "a.tar", entries, encoding="gbk"))
    assert data.class_names == ("小狗", "猫") and len(data.notes) == 1
    chosen = ImageDataset(tmp_path / "a.tar", zip_encoding="gbk")
    assert chosen.class_names == data.class_names and not chosen.notes
    for format in FORMATS:
        path = tar_of(tmp_path / f"{format}.tar", entries, FORMATS[format])
        for more in ({}, {"zip_encoding": "gbk"} if format == "pax" else {}):
            assert ImageDataset(path, **more).class_names == ("小狗", "猫")


def test_labels_and_odd_names(tmp_path):
    rows = json.dumps({"labels": [["./a\\1.png", 1], ["b.png", 0]]}).encode()
    entries = [("./a\\1.png", IMAGE), ("/b.png", IMAGE), ("../c.png", IMAGE)]
    data = ImageDataset(tar_of(tmp_path / "a.tar", [*entries, ("./dataset.json", rows)]))
    assert data.files == ["a/1.png", "b.png"] and data.labels.values.tolist() == [1, 0]
    assert data.notes == ["../c.png: its name leads out of the archive"]


def test_links(tmp_path):
    entries = [
        ("./cat/1.png", IMAGES[0]),
        ("cat/hard.png", LINK, "cat/1.png"),
        ("dog/soft.png", SYMLINK, "../cat/1.png"),
        ("dog/chain.png", SYMLINK, "soft.png"),
        ("dog/out.png", SYMLINK, "../../etc/passwd"),
        ("dog/absolute.png", SYMLINK, "/etc/passwd"),
        ("dog/hardout.png", LINK, "../x.png"),
        ("dog/gone.png", LINK, "cat/2.png"),
        ("dog/folder.png", SYMLINK, "../bird"),
        ("bird", tarfile.DIRTYPE, ""),
        ("loop1.png", SYMLINK, "loop2.png"),
        ("loop2.png", SYMLINK, "loop1.png"),
        ("self.png", LINK, "self.png"),
        ("pipe.png", tarfile.FIFOTYPE, ""),
        ("null.png", tarfile.CHRTYPE, ""),
    ]
    source = open_source(tar_of(tmp_path / "a.tar", entries))
    good = ["cat/1.png", "cat/hard.png", "dog/chain.png", "dog/soft.png"]
    assert source.names == good and {source.read(name) for name in good} == {IMAGES[0]}
    out, nothing = "a link that leads out of the archive", "a link to nothing in the archive"
    loop = "a link to itself"
    device = "a device or pipe, not a file"
    assert problems(source) == {
        "dog/out.png": out,
        "dog/absolute.png": out,
        "dog/hardout.png": out,
        "dog/gone.png": nothing,
        "dog/folder.png": "a link to a folder, which is not followed",
        "loop1.png": loop,
        "loop2.png": loop,
        "self.png": loop,
        "pipe.png": device,
        "null.png": device,
    }


def test_a_file_that_was_added_again(tmp_path):
    path = tar_of(tmp_path / "a.tar", [("a.png", IMAGES[0]), ("a.png", IMAGES[1])])
    source = open_source(path)
    assert source.read("a.png") == IMAGES[1]
    assert problems(source) == {"a.png": "is in the archive 2 times; the last one counts"}


def pad(data):
    return data + bytes(-len(data) % 512)


def test_sparse_files_are_named(tmp_path):
    table = b"GNU.sparse.major=1\n"
    old = header(b"old.png", 4, b"S", _482=b"\1") + bytes(512) + pad(b"data")
    pax = header(b"x", 22, b"x") + pad(b"22 " + table) + header(b"new.png", 4) + pad(b"data")
    path = tmp_path / "a.tar"
    path.write_bytes(old + pax + header(b"a.png", len(IMAGE)) + pad(IMAGE) + bytes(1024))
    source = open_source(path)
    assert source.names == ["a.png"] and source.read("a.png") == IMAGE
    why = "a sparse file, which is not read; make the archive without --sparse"
    assert problems(source) == {"old.png": why, "new.png": why}


@pytest.mark.parametrize("cut", [100, 600, 1100])
def test_a_tar_that_was_cut_off_keeps_the_rest(tmp_path, cut):
    path = tar_of(tmp_path / "a.tar", [(f"{i}.png", IMAGES[i]) for i in range(4)])
    with tarfile.open(path) as archive:
        last = archive.getmembers()[3].offset
    path.write_bytes(path.read_bytes()[: last + cut - (600 if cut > 600 else 0)])
    source = open_source(path)
    assert source.names == [f"{i}.png" for i in range(3)]
    assert "the archive is damaged after 2.png (it ends within a " in str(source.problems[0])


BIG = b"\x80" + bytes(2) + b"\xff" * 9  # a size of 2^72
TO_COME = header(b"a.png", len(IMAGE)) + pad(IMAGE)
DAMAGE = {
    "a wrong checksum": bytes(header(b"b.png", 4)).replace(b"b.png", b"c.png"),
    "ends within a file": header(b"b.png", _124=BIG),
    "without its numbers": header(b"b.png", _124=b"99999999999"),
    "too large": header(b"b", kind=b"L", _124=BIG),
    "within a header": header(b"b", 1 << 20, b"x"),
    "does not parse": header(b"b", 5, b"x") + pad(b"99 a\n"),
    "no number where": header(b"b", 8, b"x") + pad(b"x path=b"),
    "no number where one": header(b"b", 13, b"x") + pad(b"13 size=1e99\n") + header(b"b.png"),
    "does not  parse": header(b"b", 400, b"x") + pad(b"9" * 400),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_hostile_headers(tmp_path, message):
    (tmp_path / "a.tar").write_bytes(TO_COME + DAMAGE[message] + bytes(1024))
    source = open_source(tmp_path / "a.tar")
    assert source.names == ["a.png"]
    assert " ".join(message.split()) in source.problems[0].why


def test_a_long_chain_of_headers_is_quick(tmp_path):
    """tarfile recurses into them, and searches digits in the square of their number."""
    chain = (header(b"x", 512, b"L") + b"n" * 512) * 20_000
    digits = header(b"x", 1 << 20, b"x") + b"1" * (1 << 20)
    (tmp_path / "a.tar").write_bytes(TO_COME + chain + digits + bytes(1024))
    source = open_source(tmp_path / "a.tar")
    assert source.names == ["a.png"] and "does not parse" in source.problems[0].why


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(tars, "MAX_BYTES", 10)
    source = open_source(tar_of(tmp_path / "a.tar", [("a.png", IMAGE)]))
    with pytest.raises(UserError, match="a.tar/a.png: larger than 1 GiB, not read"):
        source.read("a.png")


@pytest.mark.parametrize("seed", range(40))
def test_damaged_bytes_raise_nothing_else(tmp_path, seed):
    rng = random.Random(seed)
    entries = [(f"{LONG}{i}/é.png", IMAGES[i]) for i in range(4)] + [
        ("l.png", LINK, f"{LONG}0/é.png")
    ]
    path = tar_of(tmp_path / "a.tar", entries, [*FORMATS.values()][seed % 2])
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 5, 50])):
        data[rng.randrange(len(data))] = rng.choice([0, 255, 128, 47, 46, 57, rng.randrange(256)])
    path.write_bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
    try:
        source = open_source(path)
        assert all(isinstance(source.read(name), bytes) for name in source.names)
    except UserError as e:
        assert "\n" not in str(e)


@pytest.mark.parametrize(
    "name, mode, program",
    [
        ("a.tar.gz", "gz", "gunzip"),
        ("a.tgz", "gz", "gunzip"),
        ("a.tar.bz2", "bz2", "bunzip2"),
        ("a.TAR.XZ", "xz", "unxz"),
    ],
)
def test_compressed_archives_are_named(tmp_path, name, mode, program):
    with tarfile.open(tmp_path / name, f"w:{mode}"):
        pass
    with pytest.raises(
        UserError, match=f"compressed .*; {program} -c .*{name} > a.tar makes a .tar of"
    ):
        open_source(tmp_path / name)


def test_a_tar_that_ends_with_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("inside.png", IMAGE)
    inner = (tmp_path / "b.zip").read_bytes()
    source = open_source(tar_of(tmp_path / "a.tar", [("a.png", IMAGE), ("b.zip", inner)]))
    assert source.names == ["a.png", "b.zip"]


def test_loader_processes_share_no_position(tmp_path):
    entries = [(f"{i}.png", encoded(picture(seed=i))) for i in range(24)]
    data = ImageDataset(tar_of(tmp_path / "a.tar", entries))
    expected = torch.stack([data[i][0] for i in range(24)])
    fresh = pickle.loads(pickle.dumps(ImageDataset(data.path)))
    loader = torch.utils.data.DataLoader(fresh, batch_size=4, num_workers=2)
    assert torch.equal(torch.cat([x for x, _ in loader]), expected)


@pytest.mark.skipif(sys.platform != "linux", reason="has no pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    signal.alarm(20)
    with pytest.raises(UserError, match="expected a folder or a zip"):
        open_source(tmp_path / "pipe")
    signal.alarm(0)
