# SPDX-License-Identifier: Apache-2.0
"""Pictures that one can use: --scale, --captions and the corner of mix, in every command."""

import json

import numpy as np
import pytest
from PIL import Image
from support.snapshots import classes, snapshot

from stylegan.cli.mix import _layers_text
from stylegan.cli.pictures import class_text


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nets")
    return {
        "rgb": snapshot(folder / "rgb", architecture="skip"),
        "rgba": snapshot(folder / "rgba", architecture="skip", channels=4),
        "grey": snapshot(folder / "grey", architecture="skip", channels=1),
        "classes": classes(folder / "classes", names=("cat", "犬", "a" * 60), counts=(3, 3, 3)),
    }


def ok(result):
    code, out, err = result
    assert code == 0, err
    return out


def read(path):
    with Image.open(path) as image:
        image.load()
    return image


@pytest.mark.parametrize(
    "args, file, size, scale",
    [
        ("generate {} --seeds 3 --outdir .", "seed0003.png", (16, 16), "1"),
        ("generate {} --seeds 3 --scale auto --outdir .", "seed0003-x8.png", (128, 128), "8"),
        ("generate {} --seeds 3 --scale 3x --outdir .", "seed0003-x3.png", (48, 48), "3"),
        ("generate {} --seeds 3 --scale 1 --outdir .", "seed0003.png", (16, 16), "1"),
        ("generate {} --seeds 0-31 --grid --outdir .", "grid.png", (1024, 512), "8"),
        ("generate {} --seeds 0-3 --grid --scale 2 --outdir .", "grid-x2.png", (64, 64), "2"),
        ("mix {}", "mix.png", (7 * 128, 5 * 128), "8"),
        ("mix {} --scale 2", "mix.png", (7 * 32, 5 * 32), "2"),
        ("video {} --frames 1 --out a.webp", "a.webp", (256, 256), 16),
        ("video {} --frames 1 --grid 2x1 --out a.gif", "a.gif", (512, 256), 16),
        ("video {} --frames 1 --scale 3 --out a.gif", "a.gif", (48, 48), 3),
    ],
)
def test_small_pictures_are_enlarged(run, nets, tmp_path, args, file, size, scale):
    ok(run(*args.format(nets["rgb"]).split()))
    image = read(tmp_path / file)
    assert image.size == size
    if file.endswith(".png"):
        assert image.text["scale"] == scale
    elif file.endswith(".gif"):
        assert json.loads(image.info["comment"])["scale"] == scale
    else:
        assert json.loads(image.getexif()[0x010E])["scale"] == scale


def test_an_mp4_can_be_seen(run, nets, tmp_path):
    av = pytest.importorskip("av")
    ok(run("video", nets["rgb"], "--frames", "1"))
    with av.open(str(tmp_path / "video.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (256, 256)
        assert json.loads(container.metadata["comment"])["scale"] == 16


def test_the_pixels_are_those_of_the_picture(run, nets):
    ok(run("generate", nets["rgba"], "--seeds", "0-1", "--outdir", "."))
    ok(run("generate", nets["rgba"], "--seeds", "0-1", "--grid", "--outdir", "."))
    sheet = np.asarray(read("grid.png"))
    for i in range(2):
        small = np.asarray(read(f"seed000{i}.png"))
        assert (sheet[::8, 128 * i : 128 * i + 128 : 8] == small).all()


@pytest.mark.parametrize("net, colour", [("rgb", (140,) * 3), ("rgba", (0,) * 4), ("grey", 140)])
def test_the_corner_of_mix_is_not_black(run, nets, net, colour):
    ok(run("mix", nets[net], "--rows", "0", "--columns", "1"))
    assert read("mix.png").crop((0, 0, 128, 128)).getcolors() == [(128 * 128, colour)]
    ok(run("mix", nets[net], "--rows", "0", "--columns", "1", "--captions", "--out", "b.png"))
    sheet = read("b.png")
    corner = np.asarray(sheet.crop((0, 0, 128, 128)).convert("L"))
    assert sheet.height > 2 * 128 and (corner == 140).mean() > 0.8 and (corner < 50).any()


def test_captions_of_mix_name_what_is_mixed(run, nets, monkeypatch):
    import stylegan.imaging

    seen = []
    grid = stylegan.imaging.grid

    def spy(images, columns, scale, captions=None):
        seen.append(captions)
        return grid(images, columns, scale, captions)

    monkeypatch.setattr(stylegan.imaging, "grid", spy)
    args = ["--rows", "0-1", "--columns", "7", "--captions", "--layers", "0-2,4", "--class", "1"]
    ok(run("mix", nets["classes"], *args))
    corner = "layers 0-2,4 of the columns, class 1"  # the font lacks its name
    assert seen == [[corner, "7", "0", "0 + 7", "1", "1 + 7"]]
    ok(run("generate", nets["rgb"], "--seeds", "3-4", "--save-ws", "a.npz"))
    args = ["--row-latents", "a.npz", "--columns", "7", "--captions", "--out", "b.png"]
    ok(run("mix", nets["rgb"], *args))
    assert seen[1][1:3] == ["7", "a-0"] and seen[1][3:] == ["a-0 + 7", "a-1", "a-1 + 7"]
    ok(run("generate", nets["rgb"], "--latents", "a.npz", "--grid", "--captions"))
    assert seen[2] == ["a\nrow 0", "a\nrow 1"]
    ok(run("generate", nets["classes"], "--seeds", "0-2", "--grid", "--captions", "--outdir", "b"))
    assert seen[3] == ["seed 0\ncat", "seed 1\nclass 1", "seed 2\n" + "a" * 60]
    ok(run("generate", nets["rgb"], "--seeds", "0-1", "--grid", "--captions", "--outdir", "c"))
    assert seen[4] == ["seed 0", "seed 1"]
    ok(run("generate", nets["rgb"], "--seeds", "0-1", "--grid", "--outdir", "c"))
    assert seen[5] is None  # captions are on request


@pytest.mark.parametrize(
    "args, message",
    [
        ("generate {} --scale 0", "--scale': expected a number from 1 to 64, or auto, got '0'"),
        ("mix {} --scale 65", "expected a number from 1 to 64, or auto, got '65'"),
        ("video {} --scale big", "expected a number from 1 to 64, or auto, got 'big'"),
        ("video {} --scale 1.5", "expected a number from 1 to 64, or auto, got '1.5'"),
        ("generate {} --captions", "--captions goes with --grid, which writes one sheet"),
        (
            "generate {} --seeds 0-999 --grid --scale 64",
            "--scale 64 makes a picture of 40960x25600 px, which is too large; give a smaller",
        ),
        ("mix {} --rows 0-99 --columns 0-9 --scale 64", "which is too large; give a smaller"),
        ("generate {} --grid --seeds 0-999 --scale 50 --format webp", "at most 16383 px a side"),
        ("video {} --grid 20x20 --scale 64 --out a.gif", "20480x20480 px, which is too large"),
    ],
)
def test_wrong_input_is_one_line(run, nets, tmp_path, args, message):
    code, _, err = run(*args.format(nets["rgb"]).split())
    assert code == 2 and message in err and err.count("\n") == 1, err
    assert list(tmp_path.iterdir()) == []


def test_a_class_without_letters_is_a_number():
    assert class_text("cat", 3) == "cat" and class_text("猫", 3) == "class 3"
    assert class_text("", 3) == "class 3"
    assert _layers_text([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8" and _layers_text([4]) == "4"
