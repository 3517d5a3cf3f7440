# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from PIL import Image
from support.deep_images import encoded_deep
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
        ("photos . --resolution 16", "holds the source, photos, and is not replaced"),
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
    code, out, err = run("info", "photos", "--sheet", "photos-sheet.png")
    assert code == 0, err
    rows = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert rows["images"] == "8" and rows["sizes"].startswith("30x20 px (2), ")
    assert rows["channels"] == "RGB (6), RGBA (1); trains as RGB"
    assert rows["classes"] == "cats (5), dogs & co (3)"
    assert rows["problems"] == "cats/broken.png: not an image that Pillow can read"
    with Image.open(tmp_path / "photos-sheet.png") as sheet:
        assert sheet.size == (4 * 128, 2 * 128) and sheet.mode == "RGB"  # four cats, three dogs
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
    code, out, err = run("info", "pics", "--sheet", "a.png")
    assert code == 0 and not (tmp_path / "a.png").exists(), err
    assert "none of the images looked at can be read" in out, err
    assert out.count("broken image (image file is truncated") == 2


def test_a_config_json_among_pictures_makes_no_network(run, tmp_path):
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "config.json").write_text("{}")
    (tmp_path / "pics" / "a.png").write_bytes(encoded(picture()))
    code, out, err = run("info", "pics", "--no-sheet")
    assert code == 0 and "8x8 px (1)" in out, err


def deep(folder, bits=12, count=3):
    """A folder of grey images of 16 bits that use fewer."""
    folder.mkdir()
    for i in range(count):
        values = np.random.default_rng(i).integers(0, 2**bits, (16, 16)).astype(np.uint16)
        values[0, 0] = 2**bits - 1
        (folder / f"{i}.png").write_bytes(encoded_deep(values))
    return folder


RULE = "0 is black and 4095 is white (12 bits; --range sets others)"


def test_every_data_command_tells_the_range(run, tmp_path):
    deep(tmp_path / "scans")
    network = ["--channel-base", "64", "--channel-max", "8", "--device", "cpu", "--dry-run"]
    for args in (
        ["info", "scans", "--no-sheet"],
        ["dataset", "scans", "scans.zip"],
        ["train", "--data", "scans", *network],
        ["spectra", "scans", "--out", "s.npz"],
    ):
        code, out, err = run(*args)
        assert code == 0 and RULE in out + err, args
        if args[0] in ("dataset", "spectra"):
            args = [*args, "--overwrite"]
        code, out, err = run(*args, "--range", "0,2000")
        told = out + err
        assert code == 0 and "2000 is white (as --range says)" in told, args
        assert "3 images have values outside 0 to 2000, which are cut" in told, args
        code, _, err = run(*args, "--range", "5,1")
        assert code == 2 and "range: expected LOW below HIGH, got 5,1" in err, args
        code, _, err = run(*args, "--range", "5")
        assert code == 2 and err.count("\n") == 1 and "expected two numbers" in err, args


def test_a_run_keeps_its_range(run, tmp_path):
    """Resumed with other files there, it still reads by the first choice."""
    deep(tmp_path / "scans")
    size = ["--channel-base", "64", "--channel-max", "8", "--batch", "4", "--device", "cpu"]
    args = ["train", "--data", "scans", *size, "--kimg", "0.004"]
    code, out, err = run(*args)
    assert code == 0, err
    (folder,) = (tmp_path / "runs").iterdir()
    saved = json.loads((folder / "run.json").read_text())
    assert saved["config"]["data"]["value_range"] == [0, 4095]
    deep(tmp_path / "more", bits=16)
    (tmp_path / "more" / "0.png").rename(tmp_path / "scans" / "3.png")
    code, out, err = run("train", "--resume", folder, "--kimg", "0.008", "--device", "cpu")
    assert code == 0 and "4095 is white (as --range says)" in out, err
    assert "outside 0 to 4095, which are cut" in out
    code, _, err = run("train", "--resume", folder, "--range", "0,9", "--kimg", "1")
    assert code == 2 and "--range" in err


def test_kinds_of_numbers_that_do_not_go_together(run, tmp_path):
    floats = np.random.default_rng(0).random((16, 16)).astype(np.float32)
    (deep(tmp_path / "scans") / "9.tif").write_bytes(encoded_deep(floats, "TIFF"))
    code, out, err = run("info", "scans")
    assert code == 0 and "convert one kind, or give --range" in out, err
    assert "problems" not in out  # the sheet shows all
    for args in (["dataset", "scans", "a.zip"], ["spectra", "scans", "--out", "s.npz"]):
        code, _, err = run(*args)
        assert code == 2 and err.count("\n") == 1
        assert "0.png has whole numbers of 0 to 4095, but 9.tif has floats of 0 to 1" in err


def test_files_are_kept_and_counted(run, tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(3):
        data = encoded(picture((32, 32), seed=i), "JPEG")
        (tmp_path / "photos" / f"{i}.jpg").write_bytes(data)
    (tmp_path / "photos" / "a.bmp").write_bytes(encoded(picture((32, 32)), "BMP"))
    code, out, _ = run("dataset", "photos", "a.zip")
    told = "files: 3 jpg, 1 png; 3 with the bytes of the source, without metadata"
    assert code == 0 and told in out
    code, out, _ = run("dataset", "photos", "b.zip", "--format", "webp")
    assert code == 0 and "files: 4 webp\n" in out
    code, out, _ = run("dataset", "photos", "c.zip", "--format", "jpeg", "--quality", "70")
    assert code == 0 and "files: 4 jpg\n" in out
    code, out, _ = run("info", "c.zip", "--no-sheet")
    made = next(line for line in out.splitlines() if line.startswith("made"))
    assert "from photos, 32x32 px, not resized" in made
    for options, message in (
        ("--quality 70", "goes with --format jpeg or --format webp"),
        ("--format png --quality 70", "goes with --format jpeg"),
        ("--format jpeg --channels 4", "has no transparency"),
        ("--format gif", "Invalid value for '--format'"),
    ):
        code, _, err = run("dataset", "photos", "d.zip", *options.split())
        assert code == 2 and message in err and err.count("\n") == 1


def test_small_images_are_told_by_all(run, photos):
    code, out, err = run(
        *("train", "--data", "photos", "--resolution", "64", "--device", "cpu", "--dry-run")
    )
    told = "6 of 6 images looked at are smaller than 64x64 px and are enlarged"
    assert code == 0 and f"warning {told}" in out, err
    code, _, err = run("spectra", "photos", "--resolution", "64", "--out", "s.npz")
    assert code == 0 and f"note: {told}" in err


def test_spectra_measures_each_image_once(run, photos, tmp_path):
    """A broken file is named, and no other image counts twice in its place."""
    (photos / "cats" / "broken.png").write_bytes(b"x")
    args = ["--resolution", "16", "--out", "s.json"]
    code, _, err = run("spectra", "photos", *args)
    assert code == 0 and "photos: 6 of 7 images\n" in err
    assert "photos: not used: cats/broken.png: not an image that Pillow can read\n" in err
    assert json.loads((tmp_path / "s.json").read_text())["photos"]["images"] == 6


def test_other_files_and_archives_are_told_by_all(run, photos):
    """`photos` has a text file too."""
    (photos / "more.tar.gz").write_bytes(b"x")
    told = "more.tar.gz: an archive in the data is not opened; unpack it first"
    code, out, _ = run("info", "photos", "--no-sheet")
    assert code == 0 and told in out and "no images  1 .txt" in out
    code, out, _ = run("dataset", "photos", "a.zip", "--resolution", "16")
    assert code == 0 and told.replace(": ", "  ") in out and "no images: 1 .txt" in out
    size = ["--resolution", "16"]
    code, out, err = run("train", "--data", "photos", *size, "--device", "cpu", "--dry-run")
    assert code == 0 and f"warning {told}" in out, err
    code, _, err = run("spectra", "photos", *size, "--out", "s.npz")
    assert code == 0 and told in err


def test_a_range_without_an_effect_is_told_by_all(run, photos):
    told = "--range has no effect: the images looked at have 8 bits"
    size = ["--resolution", "16"]
    for args in (
        ["info", "photos", "--no-sheet"],
        ["dataset", "photos", "a.zip", *size],
        ["train", "--data", "photos", *size, "--device", "cpu", "--dry-run"],
        ["spectra", "photos", *size, "--out", "s.npz"],
    ):
        code, out, err = run(*args, "--range", "0,4095")
        assert code == 0 and told in out + err, args
