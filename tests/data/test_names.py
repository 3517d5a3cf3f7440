# SPDX-License-Identifier: Apache-2.0
"""Names of files and classes: encodings, separators, normal forms, files of the system."""

import json
import os
import random
import sys
import unicodedata
import zipfile

import pytest
from support.archives import RawInfo, raw_zip
from support.pictures import encoded, picture

from stylegan import UserError
from stylegan.data.dataset import ImageDataset
from stylegan.data.files import encoding
from stylegan.data.files.names import class_order, clean_name, is_junk
from stylegan.data.preparation import prepare
from stylegan.data.source import open_source

IMAGE = encoded(picture())
NFC, NFD = "é", unicodedata.normalize("NFD", "é")
GUESSED = "the file names do not say their encoding and are read as {}, a guess; "
GUESSED += "--zip-encoding sets another"


def json_of(rows, **more):
    return json.dumps({"labels": rows, **more}, ensure_ascii=False).encode()


def labels(data):
    """{file: class name}"""
    return dict(zip(data.files, (data.class_names[i] for i in data.labels.values)))


def test_backslashes_are_separators(tmp_path):
    path = raw_zip(tmp_path / "a.zip", {b"cat\\1.png": IMAGE, b"dog\\": b"", b"dog\\2.png": IMAGE})
    data = ImageDataset(path)
    assert data.class_names == ("cat", "dog") and data.class_counts == (1, 1)
    assert data.files == ["cat/1.png", "dog/2.png"] and data.notes == []
    prepare(path, tmp_path / "out", workers=0)
    assert ImageDataset(tmp_path / "out").class_names == ("cat", "dog")


@pytest.mark.parametrize("stored", ["/", "\\"])
@pytest.mark.parametrize(
    "key",
    [
        "cat/1.png",
        "cat\\1.png",
        "./cat/1.png",
        "/home/me/data/cat/1.png",
        "D:\\p\\cat\\1.png",
        "cat/1.PNG",
        "data/cat/1.png",
        "..\\data\\cat/1.png",
    ],
)
def test_keys_of_dataset_json_in_other_forms(tmp_path, stored, key):
    rows = [[key, 1], [key.replace("cat", "dog").replace("1.", "2."), 0]]
    names = (f"cat{stored}1.png", f"dog{stored}2.png")
    path = raw_zip(
        tmp_path / "a.zip",
        {**{n.encode(): IMAGE for n in names}, b"dataset.json": json_of(rows)},
    )
    data = ImageDataset(path)
    assert labels(data) == {"cat/1.png": "1", "dog/2.png": "0"} and data.notes == []


def test_keys_without_the_folder_of_the_images(store):
    rows = [["a.png", 1], ["b.png", 0]]
    files = {f"photos/all/{name}": IMAGE for name, _ in rows}
    data = ImageDataset(store({**files, "photos/dataset.json": json_of(rows)}))
    assert data.labels.values.tolist() == [1, 0]


def test_a_key_that_fits_is_not_cut(store):
    """cat/1.png does not label 1.png if other names fit as they are."""
    rows = [["cat/1.png", 1], ["2.png", 0]]
    data = ImageDataset(store({"1.png": IMAGE, "2.png": IMAGE, "dataset.json": json_of(rows)}))
    assert data.files == ["2.png"]
    assert data.notes[0] == "cat/1.png: in the labels, but without a file"
    assert data.notes[1] == "1.png: no label in dataset.json, so left out"


@pytest.mark.parametrize("stored, key", [(NFC, NFD), (NFD, NFC), (NFD, NFD)])
def test_normal_forms(store, stored, key):
    rows = [[f"{key}.png", "b"], ["e.png", "a"]]
    data = ImageDataset(
        store({f"{stored}.png": IMAGE, "e.png": IMAGE, "dataset.json": json_of(rows)})
    )
    assert labels(data) == {f"{NFC}.png": "b", "e.png": "a"} and data.notes == []


def test_class_names_are_nfc(store, tmp_path):
    path = store({f"{NFD}/1.png": IMAGE, "e/1.png": IMAGE, "e/2.png": IMAGE})
    assert ImageDataset(path).class_names == ("e", NFC)
    prepare(path, tmp_path / "out.zip", workers=0)
    assert ImageDataset(tmp_path / "out.zip").class_names == ("e", NFC)
    named = store({"1.png": IMAGE, "dataset.json": json_of([["1.png", 0]], label_names=[NFD])})
    assert ImageDataset(named).class_names == (NFC,)


def test_one_name_in_two_spellings(tmp_path):
    first, last = encoded(picture(seed=1)), encoded(picture(seed=2))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(f"x/{NFC}.png", first)
        archive.writestr(RawInfo(f"x\\{NFD}.png".encode()), last)
    source = open_source(tmp_path / "a.zip")
    assert source.names == [f"x/{NFC}.png"] and source.read(source.names[0]) == last
    why = "is in the archive 2 times, spelled in different ways; the last one counts"
    assert [(p.name, p.why) for p in source.problems] == [(f"x/{NFC}.png", why)]


@pytest.mark.skipif(sys.platform != "linux", reason="a file system that keeps both")
def test_one_name_in_two_spellings_in_a_folder(tmp_path):
    for name in (NFC, NFD):
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(IMAGE)
    (tmp_path / "cat\\1.png").write_bytes(b"x")
    source = open_source(tmp_path)
    assert source.names == ["cat/1.png", f"{NFC}.png"]
    assert source.read(f"{NFC}.png") == NFC.encode() and source.read("cat/1.png") == IMAGE
    assert "is in the folder 2 times, spelled" in source.problems[0].why


WORDS = {
    "cp437": "Bäume Vögel Löwe forêt château garçon niño España måne Zürich Öl",
    "gbk": "猫 狗 汽车 花 男 女 老虎 风景 未分类 楷书 微信图片_1 山水",
    "cp932": "猫 犬 写真 画像 表 能 ソース ねこ 新しいフォルダー 東京 風景",
    "cp866": "кошки Собаки Новая_папка фото",
    "latin-1": "Bäume Vögel éléphant niño château Straße",
}


@pytest.mark.parametrize("used", WORDS)
@pytest.mark.parametrize("alone", [True, False])
def test_encodings_are_guessed(tmp_path, used, alone):
    words = WORDS[used].split()
    for group in [[word] for word in words] if alone else [words]:
        decoded = encoding.decode_names([f"{word}/1.png".encode(used) for word in group])
        assert decoded.names == [f"{word}/1.png" for word in group] and decoded.guess == used


@pytest.mark.parametrize(
    "text", "Bäume кошки γάτα חתול قطة 猫 ねこ cafe\u0301 niño é ä ü à_la".split()
)
def test_names_in_utf8_without_the_flag(text):
    assert encoding.decode_names([f"{text}/1.png".encode()]) == encoding.Decoded([f"{text}/1.png"])


def test_one_bad_name_does_not_spoil_the_others():
    names = [*"Bäume 猫 Vögel".split()]
    decoded = encoding.decode_names([*(n.encode() for n in names), "Löwe".encode("latin-1")])
    assert decoded.names == [*names, "Löwe"] and decoded.guess == "latin-1"


def test_hostile_names_are_quick(tmp_path):
    """Of 65,535 letters, 20,000 that are all different, or 32,000 folders deep."""
    raw_zip(
        tmp_path / "a.zip", {b"\xe9" * 65_530 + b".png": IMAGE, b"/" * 65_000 + b"a.png": IMAGE}
    )
    assert len(open_source(tmp_path / "a.zip").names) == 2
    deep = {b"a/" * 32_000 + b"a.png": IMAGE, b"dataset.json": json_of([["b/" * 10**6, 1]])}
    with pytest.raises(UserError, match="no label for a/a/"):
        ImageDataset(raw_zip(tmp_path / "b.zip", deep))
    names = [f"Vögel{i}/é{i}.png".encode("cp437") for i in range(20_000)]
    assert encoding.decode_names(names).guess == "cp437"


def test_a_zip_of_a_chinese_windows(tmp_path):
    files = {f"{c}/1.png".encode("gbk"): IMAGE for c in "猫狗"}
    rows = json_of([["猫/1.png", 1], ["狗/1.png", 0]], label_names=["dog", "cat"])
    path = raw_zip(tmp_path / "a.zip", files)
    data = ImageDataset(path)
    assert data.class_names == ("狗", "猫") and data.notes == [GUESSED.format("gbk")]
    assert ImageDataset(path, zip_encoding="gbk").notes == []
    assert ImageDataset(path, zip_encoding="latin-1").class_names != ("狗", "猫")
    done = prepare(path, tmp_path / "out.zip", workers=0)
    assert done.notes == [GUESSED.format("gbk")]
    assert ImageDataset(tmp_path / "out.zip").class_names == ("狗", "猫")
    labelled = ImageDataset(raw_zip(tmp_path / "b.zip", {**files, b"dataset.json": rows}))
    assert labels(labelled) == {"猫/1.png": "cat", "狗/1.png": "dog"}


def test_the_field_with_the_name_in_utf8(tmp_path):
    raw = "表\\1.png".encode("cp932")
    path = raw_zip(tmp_path / "a.zip", {raw: IMAGE}, {raw: (raw, "表/1.png")})
    assert ImageDataset(path).files == ["表/1.png"] and ImageDataset(path).notes == []
    stale = raw_zip(tmp_path / "b.zip", {raw: IMAGE}, {raw: (b"another name", "x/1.png")})
    assert ImageDataset(stale).notes == [GUESSED.format("cp932 (Shift-JIS)")]


@pytest.mark.parametrize("name", ["klingon", "hex", "ut\0f", "rot13", ""])
def test_encodings_that_do_not_exist(tmp_path, name):
    with pytest.raises(UserError, match="zip_encoding: no text encoding is called"):
        open_source(raw_zip(tmp_path / "a.zip", {b"a.png": IMAGE}), name)


def test_an_encoding_that_does_not_fit(tmp_path):
    path = raw_zip(tmp_path / "a.zip", {b"\xff\xfe.png": IMAGE})
    with pytest.raises(UserError, match=r"the file name \\xff\\xfe.png is not valid gbk"):
        open_source(path, "gbk")


JUNK = [
    "__MACOSX/cat/._1.png",
    "cat/._1.png",
    "cat/Thumbs.db",
    "cat/.DS_Store",
    "desktop.ini",
    "cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.png",
    ".ipynb_checkpoints/1-checkpoint.png",
    ".git/x.png",
    "#recycle/old.png",
    "$RECYCLE.BIN/old.png",
    "cat/THUMBS.DB",
]


def test_files_of_the_system(store, tmp_path):
    files = {"cat/1.png": IMAGE, "dog/1.png": IMAGE, "dog/desktop.ini.png": IMAGE}
    path = store({**files, **dict.fromkeys(JUNK, b"junk")})
    assert all(map(is_junk, JUNK)) and not is_junk("dog/desktop.ini.png")
    data = ImageDataset(path)
    assert data.files == sorted(files) and data.class_names == ("cat", "dog") and not data.notes
    done = prepare(path, tmp_path / "out", workers=0)
    assert (done.written, done.failures, done.ignored) == (3, [], {})


@pytest.mark.parametrize(
    "names, order",
    [
        ([str(i) for i in range(12)], [str(i) for i in range(12)]),
        ([f"{i:03}" for i in (0, 2, 10, 1)], ["000", "001", "002", "010"]),
        (["10", "9", "b", "a10", "a9"], ["9", "10", "a10", "a9", "b"]),
        (["1", "01", "00"], ["00", "01", "1"]),
        (["9" * 5000, "8" * 5000, "²"], ["8" * 5000, "9" * 5000, "²"]),
    ],
)
def test_classes_that_are_numbers(names, order):
    assert sorted(names, key=class_order) == order


def test_folders_that_are_numbers_keep_them(store, tmp_path):
    path = store({f"{i}/a.png": encoded(picture(seed=i)) for i in range(12)})
    data = ImageDataset(path)
    assert [data.class_names[i] for i in range(12)] == [str(i) for i in range(12)]
    assert labels(data)["10/a.png"] == "10" and data.labels.values[data.files.index("2/a.png")] == 2
    prepare(path, tmp_path / "out", workers=0)
    assert ImageDataset(tmp_path / "out").class_names == data.class_names


@pytest.mark.parametrize(
    "name, clean",
    [
        ("a/b.png", "a/b.png"),
        ("a//b.png", "a/b.png"),
        ("/a/./b.png", "a/b.png"),
        ("\\\\server\\share\\b.png", "server/share/b.png"),
        ("\\\\?\\C:\\a\\b.png", "a/b.png"),
        ("C:/b.png", "b.png"),
        ("a..b/c.png", "a..b/c.png"),
        ("a/../b.png", None),
        ("..\\b.png", None),
        ("a: b/c.png", "a: b/c.png"),
    ],
)
def test_clean_names(name, clean):
    assert clean_name(name) == clean


def test_a_name_ends_at_its_first_zero(tmp_path):
    """The rest is no part of it, as in other programs."""
    source = open_source(raw_zip(tmp_path / "a.zip", {b"a.png\0.exe": IMAGE}))
    assert source.names == ["a.png"] and source.read("a.png") == IMAGE


def test_links_in_a_zip_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", IMAGE)
        link = zipfile.ZipInfo("b.png")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    source = open_source(tmp_path / "a.zip")
    assert source.names == ["a.png"] and source.problems[0].why.startswith("a link; make the arch")


def test_a_name_that_claims_to_be_utf8(tmp_path):
    path = raw_zip(tmp_path / "a.zip", {b"\xff.png": IMAGE})
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + at + 1] |= 8
    path.write_bytes(data)
    with pytest.raises(UserError, match="not a readable zip archive"):
        open_source(path)


@pytest.mark.skipif(sys.platform != "linux", reason="names that are bytes")
def test_a_folder_that_was_unpacked_without_its_encoding(tmp_path):
    for name in ("猫", "狗"):
        folder = os.fsencode(tmp_path) + b"/" + name.encode("gbk")
        os.mkdir(folder)
        with open(folder + b"/1.png", "wb") as f:
            f.write(IMAGE)
    data = ImageDataset(tmp_path, zip_encoding="gbk")
    assert "狗" in data.class_names and len(data) == 2 and data[0][0].shape == (3, 8, 8)


@pytest.mark.parametrize("seed", range(40))
def test_damaged_zips_raise_nothing_else(tmp_path, seed):
    rng = random.Random(seed)
    raw = "表/1.png".encode("cp932")
    files = {raw: IMAGE, b"cat\\1.png": IMAGE, "猫/é.png".encode(): IMAGE, b"a.png": IMAGE}
    path = raw_zip(tmp_path / "a.zip", files, {raw: (raw, "表/1.png")})
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\1\2")
    for _ in range(rng.choice([1, 4, 20])):
        at = rng.randrange(rng.choice([0, directory]), len(data))
        data[at] = rng.choice([0, 255, 8, 47, 92, rng.randrange(256)])
    path.write_bytes(data)
    try:
        source = open_source(path)
        for name in source.names:
            source.read(name)
    except UserError as e:
        assert "\n" not in str(e)
