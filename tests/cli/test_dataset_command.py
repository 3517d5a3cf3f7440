# SPDX-License-Identifier: Apache-2.0
import json

import pytest
from PIL import Image
from support.pictures import encoded, picture


@pytest.fixture
def photos(tmp_path):
    for i in range(6):
        path = tmp_path / "photos" / ("cats", "dogs & co")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture((30 + i, 20), seed=i)))
    (tmp_path / "photos" / "cats" / "notes.txt").write_text("")
    return tmp_path / "photos"


def test_dataset(run, photos, tmp_path):
    (photos / "cats" / "broken.png").write_bytes(b"x")
    code, out, err = run("dataset", "photos", "a.zip", "--resolution", "32x16")
    assert code == 0, err
    assert "not used, 1:\n  cats/broken.png  not an image that Pillow can read\n" in out
    assert "no images: 1 .txt" in out and "4 images were smaller" not in out
    assert out.splitlines()[-1] == "a.zip: 6 images, 32x16 px, RGB, 2 classes"
    code, out, err = run("train", "--data", "a.zip", "--dry-run", "--device", "cpu", "--cond")
    assert code == 0 and "6, 32x16 px, RGB" in out and "2 classes, used" in out, err


def test_sizes_that_suit_no_network_are_said(run, photos):
    code, out, _ = run("dataset", "photos", "a", "--resolution", "99")
    assert code == 0 and "99x99 px cannot be halved" in out
    assert "6 images were smaller than 99x99 px" in out


@pytest.mark.parametrize(
    "args, message",
    [
        ("photos a.zip", "--resolution 256 crops and resizes all"),
        ("photos a.zip --resolution 0", "expected a size like 256"),
        ("photos a.zip --resolution 16 --transform center-crop-wide", "wider than high"),
        ("photos photos/a.zip --resolution 16", "lies in the source"),
        ("photos . --resolution 16", "already exists"),
        ("nothing a.zip", "there is no such folder"),
        ("photos", "Missing argument 'DEST'"),
        ("photos a.zip --channels 2", "Invalid value for '--channels'"),
    ],
)
def test_wrong_input_is_one_line(run, photos, tmp_path, args, message):
    before = sorted(tmp_path.rglob("*"))
    code, _, err = run("dataset", *args.split())
    assert code == 2 and message in err and err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_info_shows_sizes_labels_problems_and_a_sheet(run, photos, tmp_path):
    (photos / "cats" / "broken.png").write_bytes(b"x")
    (photos / "cats" / "alpha.png").write_bytes(encoded(picture((30, 20), "RGBA")))
    code, out, err = run("info", "photos")
    assert code == 0, err
    rows = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert rows["images"] == "8" and rows["sizes"].startswith("30x20 px (2), ")
    assert rows["channels"] == "RGB (6), RGBA (1); trains as RGB"
    assert rows["classes"] == "cats (5), dogs & co (3)"
    assert rows["problems"] == "cats/broken.png: not an image that Pillow can read"
    with Image.open(tmp_path / "photos-sheet.png") as sheet:
        assert sheet.size == (7 * 96, 96) and sheet.mode == "RGB"
    code, out, _ = run("info", "photos", "--json", "--no-sheet")
    assert json.loads(out)["problems"] == [rows["problems"]]
    code, out, _ = run("info", "photos", "--sheet", "new/x.png")  # as in the other commands
    assert code == 0 and (tmp_path / "new" / "x.png").is_file()
    code, out, _ = run("info", "photos", "--sheet", "x" * 300 + ".png")
    assert code == 0 and "cannot be written (File name too long)" in out
    (tmp_path / "file").touch()
    code, out, err = run("info", "photos", "--sheet", "file/x.png")
    assert code == 2 and "cannot make the folder file" in err and not out


def test_info_where_nothing_can_be_read_whole(run, tmp_path):
    (tmp_path / "pics").mkdir()
    for i in range(2):
        whole = encoded(picture((64, 64), seed=i), "JPEG")
        (tmp_path / "pics" / f"{i}.jpg").write_bytes(whole[: len(whole) // 2])
    code, out, err = run("info", "pics")
    assert code == 0 and "none of the images looked at can be read" in out, err
    assert out.count("broken image (image file is truncated") == 2


def test_a_config_json_among_pictures_makes_no_network(run, tmp_path):
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "config.json").write_text("{}")
    (tmp_path / "pics" / "a.png").write_bytes(encoded(picture()))
    code, out, err = run("info", "pics", "--no-sheet")
    assert code == 0 and "8x8 px (1)" in out, err
