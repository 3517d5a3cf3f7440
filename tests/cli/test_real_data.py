# SPDX-License-Identifier: Apache-2.0
"""Data sets as users have them: names, labels and archives, in the lines that commands print."""

import json
import unicodedata

import pytest
from support.archives import raw_zip, tar_of
from support.pictures import encoded, picture

IMAGE = encoded(picture((16, 16)))
TRAIN = "train --dry-run --device cpu --channel-base 64 --channel-max 8 --data {}"


@pytest.fixture
def photos(tmp_path):
    """photos(content of dataset.json, ...) -> a folder of four images."""

    def make(content):
        folder = tmp_path / "photos"
        folder.mkdir(exist_ok=True)
        for i, name in enumerate("abcd"):
            (folder / f"{name}.png").write_bytes(encoded(picture((16, 16), seed=i)))
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / "dataset.json").write_text(text)
        return folder

    return make


def good(run, command):
    code, out, err = run(*command.split())
    assert code == 0, err
    return out


PARTIAL = {"labels": [["a.png", 0], ["b.png", 1], ["c.png", 0]]}
STALE = [PARTIAL, {"labels": []}, "", "{", {"labels": [["x.png", 1]]}, {"a.png": 3}]


@pytest.mark.parametrize("content", STALE)
def test_labels_that_are_not_wanted(run, photos, content):
    photos(content)
    out = good(run, TRAIN.format("photos"))
    assert "images  4, 16x16 px, RGB" in out and out.count("labels are not used") == 1
    assert "labels  none" in out
    out = good(run, "spectra photos --out a.npz")
    assert out.splitlines()[-1] == "a.npz"
    assert "images    4\n" in good(run, "info photos --no-sheet")


def test_labels_that_are_wanted(run, photos):
    photos(PARTIAL)
    out = good(run, TRAIN.format("photos --cond"))
    assert "images  3, 16x16 px" in out and "2 classes, used" in out
    assert "warning d.png: no label in dataset.json, so left out" in out
    for content in STALE[1:]:
        photos(content)
        code, _, err = run(*TRAIN.format("photos --cond").split())
        assert code == 2 and err.count("\n") == 1, err


def test_numbers_from_one(run, photos):
    photos({"labels": [["a.png", 1], ["b.png", 2], ["c.png", 1], ["d.png", 2]]})
    line = "class 0 has no images: the class numbers begin with 1, not 0"
    out = good(run, TRAIN.format("photos --cond"))
    assert "3 classes, used" in out and f"warning {line}" in out
    assert line not in good(run, TRAIN.format("photos"))
    out = good(run, "info photos --no-sheet")
    assert "classes   0 (0), 1 (2), 2 (2)" in out and f"notes     {line}" in out
    assert f"note: {line}" in good(run, "dataset photos out")
    assert line in good(run, TRAIN.format("out --cond"))


def test_vectors_and_their_names(run, photos):
    rows = [[f"{name}.png", [0.5, i]] for i, name in enumerate("abcd")]
    photos({"labels": rows, "label_names": ["smile", "age"]})
    assert "labels    2 labels (smile, age)" in good(run, "info photos --no-sheet")
    assert ", label vectors" in good(run, "dataset photos out")
    assert "labels    2 labels (smile, age)" in good(run, "info out --no-sheet")


def test_a_zip_of_a_japanese_windows(run, tmp_path):
    raw_zip(tmp_path / "a.zip", {f"{c}\\1.png".encode("cp932"): IMAGE for c in ("猫", "表")})
    guess = "are read as cp932 (Shift-JIS), a guess; --zip-encoding sets another"
    for command in ("info a.zip --no-sheet", TRAIN.format("a.zip"), "dataset a.zip out"):
        assert good(run, command).count(guess) == 1
    chosen = good(run, "info a.zip --no-sheet --zip-encoding shift_jis")
    assert "classes   猫 (1), 表 (1)" in chosen and "guess" not in chosen
    assert "read as" not in good(run, TRAIN.format("a.zip --zip-encoding cp932"))
    assert "guess" not in good(run, "dataset a.zip out2 --zip-encoding cp932")
    assert "classes   猫 (1), 表 (1)" in good(run, "info out2 --no-sheet")
    # Spectra need no names, so there is nothing to choose.
    assert "guess" not in good(run, "spectra a.zip --out a.npz")
    for command in ("info a.zip", TRAIN.format("a.zip"), "dataset a.zip out3"):
        code, _, err = run(*command.split(), "--zip-encoding", "klingon")
        assert code == 2 and "no text encoding is called 'klingon'" in err
        code, _, err = run(*command.split(), "--zip-encoding", "ascii")
        assert code == 2 and "is not valid ascii" in err and err.count("\n") == 1


def test_a_tar_in_every_command(run, tmp_path):
    entries = [(f"{c}/{i}.png", IMAGE) for c in "ab" for i in range(3)]
    tar_of(tmp_path / "a.tar", entries)
    assert "classes   a (3), b (3)" in good(run, "info a.tar --no-sheet")
    assert "2 classes, used" in good(run, TRAIN.format("a.tar --cond"))
    assert "a.zip: 6 images" in good(run, "dataset a.tar a.zip")
    assert good(run, "spectra a.tar --out a.npz").splitlines()[-1] == "a.npz"
    (tmp_path / "b.tar.gz").write_bytes(b"\x1f\x8b")
    for command in ("info b.tar.gz", TRAIN.format("b.tar.gz"), "dataset b.tar.gz b"):
        code, _, err = run(*command.split())
        assert code == 2 and "; gunzip -c " in err and "b.tar.gz > b.tar makes a .tar" in err


def test_classes_by_the_number_that_they_are_called(run, tmp_path):
    for i in range(12):
        (tmp_path / "photos" / str(i)).mkdir(parents=True)
        (tmp_path / "photos" / str(i) / "a.png").write_bytes(IMAGE)
    listed = "classes   " + ", ".join(f"{i} (1)" for i in range(12))
    assert listed in good(run, "info photos --no-sheet")


def test_a_class_is_called_by_its_normal_form(run, tmp_path):
    for name in (unicodedata.normalize("NFD", "café"), "thé"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "a.png").write_bytes(IMAGE)
    options = "--batch 4 --kimg 0.004 --cond".split()
    good(run, TRAIN.replace(" --dry-run", "").format("photos ") + " ".join(options))
    code, out, err = run("generate", "runs", "--class", "café", "--seeds", "0", "--device", "cpu")
    assert code == 0, err


def test_labels_in_other_files(run, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(IMAGE)
    (tmp_path / "photos" / "labels.csv").write_text("a.png,3")
    line = 'labels.csv is not read; labels come from a dataset.json like {"labels": [["a.png", 3]]}'
    for command in ("info photos --no-sheet", TRAIN.format("photos"), "dataset photos out"):
        assert line in good(run, command)
    code, _, err = run(*TRAIN.format("photos --cond").split())
    assert code == 2 and f"no dataset.json, no folder per class; {line}" in err


def test_names_that_would_write_to_the_terminal(run, tmp_path):
    files = {b"\x1b[2Ja\n.png": b"x", b"b.png": IMAGE, b"../\x1b[2J.png": IMAGE}
    raw_zip(tmp_path / "a.zip", files)
    for args in ("info a.zip --no-sheet", "train --data a.zip --dry-run --device cpu"):
        code, out, err = run(*args.split())
        assert code == 0 and "\x1b" not in out + err and "../\\x1b[2J.png: its name" in out
