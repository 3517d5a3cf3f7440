# SPDX-License-Identifier: Apache-2.0
"""Files that people have: each gives a correct picture or a clear line, and nothing else."""

import io
import json
import os
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.pictures import encoded, picture

RED, SIZE = (200, 30, 40), 16


def flat(mode="RGB", color=RED, size=(SIZE, SIZE)):
    return Image.new("RGB", size, color).convert(mode)


def png_with_header(width, height):
    """A PNG that claims a size and holds one row."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def turned():
    """Red on the left half as it is to be seen; stored lying on its side."""
    image = Image.new("RGB", (SIZE, SIZE), "blue")
    image.paste(RED, (0, 0, SIZE // 2, SIZE))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    buffer = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


def frames(kind):
    buffer = io.BytesIO()
    flat().save(buffer, kind, save_all=True, append_images=[flat(color="blue")] * 3)
    return buffer.getvalue()


def broken_exif():
    buffer = io.BytesIO()
    flat().save(buffer, "PNG", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")
    return buffer.getvalue()


def sixteen_bits():
    return encoded(Image.fromarray(np.full((SIZE, SIZE), 257 * 100, np.uint16)))


def floats():
    return encoded(Image.fromarray(np.full((SIZE, SIZE), 100 / 255, np.float32)), "TIFF")


def half_transparent(mode):
    image = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0)).convert("RGBA")
    return encoded(image.convert(mode) if mode != "P" else image.quantize(4))


LONG = encoded(picture((64, 64)))
GREY, WHITE = (100, 100, 100), (255, 255, 255)

# A file beside a good one -> the colour that it must have, or what must be said of it.
FILES = {
    "truncated.png": (LONG[: len(LONG) // 2], "broken image (image file is truncated"),
    "truncated.jpg": (encoded(picture((64, 64)), "JPEG")[:700], "broken image"),
    "pointer.png": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 9\n",
        "not an image but a Git LFS pointer",
    ),
    "page.jpg": (b"<!DOCTYPE html><html>", "not an image but a web page"),
    "clip.png": (b"\0\0\0\x20ftypisom", "not an image but a video"),
    "scan.png": (b"%PDF-1.7", "not an image but a PDF"),
    "weights.png": (b"\x80\x02}q\0.", "not an image but a pickle"),
    "only the magic.png": (LONG[:8], "not an image"),
    "flipped bits.png": (LONG[:400] + bytes(80) + LONG[480:], "broken image"),
    "zero.png": (b"", "empty file"),
    "text.png": (b"hello, this is no image\n", "not an image that Pillow can read"),
    "bomb.png": (png_with_header(60000, 60000), "more than 179 million pixels, not opened"),
    "one row of many.png": (png_with_header(100, 3000), "broken image"),
    "code.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", None),
    "phone.heic": (b"\0\0\0\x18ftypheic", "pip install pillow-heif"),
    "animated.gif": (frames("GIF"), RED),
    "animated.png": (frames("PNG"), RED),
    "animated.webp": (frames("WEBP"), RED),
    "16 bit grey.png": (sixteen_bits(), GREY),
    "floats.tiff": (floats(), GREY),
    "CMYK.jpg": (encoded(flat("CMYK"), "JPEG"), RED),
    "grey.png": (encoded(flat("L", GREY)), GREY),
    "one bit.png": (encoded(flat("1", "white")), WHITE),
    "palette.png": (encoded(flat().quantize(2)), RED),
    "clear palette.png": (half_transparent("P"), WHITE),
    "grey and alpha.png": (half_transparent("LA"), WHITE),
    "RGBA.png": (half_transparent("RGBA"), WHITE),
    "broken exif.png": (broken_exif(), RED),
    "1x1.png": (encoded(flat(size=(1, 1))), RED),
    "30000x10.png": (encoded(flat(size=(30000, 10))), RED),
    "CAPITALS.PNG": (encoded(flat()), RED),
    " with  spaces .png": (encoded(flat()), RED),
    "Füße 猫 🐈.png": (encoded(flat()), RED),
    "-rf.png": (encoded(flat()), RED),
    "line\nbreak \x1b[31m.png": (b"", "line\\nbreak \\x1b[31m.png"),
    "archive.zip": (b"PK\3\4", "an archive in the data is not opened"),
}


@pytest.fixture
def prepared(run, tmp_path):
    """prepared(source) -> (images by name of out.zip, what was printed), and a look that nothing
    was written anywhere else; the files of the source are as before."""

    def go(source, *options):
        before = tree(tmp_path)
        code, out, err = run("dataset", source, "out.zip", "--resolution", SIZE, *options)
        assert code == 0, err
        assert "Traceback" not in out + err
        after = tree(tmp_path)
        assert {k: v for k, v in after.items() if k != "out.zip"} == before
        with zipfile.ZipFile(tmp_path / "out.zip") as z:
            names = [n for n in z.namelist() if n.endswith(".png")]
            return [np.asarray(Image.open(io.BytesIO(z.read(n)))) for n in names], out

    return go


def tree(folder):
    return {
        str(p.relative_to(folder)): p.lstat().st_mtime_ns
        for p in sorted(folder.rglob("*"))
        if p.is_symlink() or p.is_file()
    }


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_file(run, prepared, tmp_path, name, kind):
    content, expected = FILES[name]
    files = {"a good one.png": encoded(flat(color="blue")), name: content}
    if kind == "folder":
        source = tmp_path / "source"
        source.mkdir()
        for n, data in files.items():
            (source / n).write_bytes(data)
    else:
        source = tmp_path / "source.zip"
        with zipfile.ZipFile(source, "w") as z:
            for n, data in files.items():
                z.writestr(n, data)
    images, out = prepared(source, "--channels", "3", "--workers", "0")
    if isinstance(expected, tuple):
        assert len(images) == 2
        other = next(i for i in images if not (i == (0, 0, 255)).all())
        assert other.shape == (SIZE, SIZE, 3)
        assert np.abs(other.astype(int) - expected).max() <= 3
    else:
        assert len(images) == 1 and (expected is None or expected in out)
    small = ["--channel-base", "128", "--resolution", SIZE, "--device", "cpu", "--dry-run"]
    code, out, err = run("train", "--data", source, *small)
    assert code == 0 and "Traceback" not in out + err, err
    code, out, err = run("info", source, "--no-sheet")
    assert code == 0 and "Traceback" not in out + err, err


def test_a_turned_photo(prepared, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.png").write_bytes(turned())
    (image,), _ = prepared(tmp_path / "source")
    assert (image[:, : SIZE // 2] == RED).all() and (image[:, SIZE // 2 :] == (0, 0, 255)).all()


def test_names_in_a_zip(prepared, tmp_path):
    with zipfile.ZipFile(tmp_path / "source.zip", "w") as z:
        z.writestr("a.png", encoded(flat()))
        for name in ("../../up.png", "x/../../up.png", "..\\up.png"):
            z.writestr(name, encoded(flat()))
        z.writestr("/absolute.png", encoded(flat()))
        with pytest.warns(UserWarning, match="Duplicate name"):
            z.writestr("a.png", encoded(flat(color="green")))
        z.writestr(".hidden.png", b"")
        z.writestr("__MACOSX/._a.png", b"")
    images, out = prepared(tmp_path / "source.zip")
    assert [tuple(i[0, 0]) for i in images] == [(0, 128, 0), RED]  # a, absolute
    assert out.count("its name leads out of the archive") == 3
    assert "a.png" in out and "is in the archive 2 times; the last one counts" in out


@pytest.mark.skipif(sys.platform != "linux", reason="links, and names that are bytes")
def test_links_and_names_that_are_no_text(prepared, tmp_path):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "good.png").write_bytes(encoded(flat()))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "linked.png").write_bytes(encoded(flat()))
    (source / "deep" / "up").symlink_to(source)
    (source / "itself.png").symlink_to("itself.png")
    (source / "gone.png").symlink_to("nowhere")
    (source / "unreadable.png").symlink_to("/proc/self/mem")
    (source / "folder.png").mkdir()
    (source / "linked").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(source / "pipe.png")
    Path(os.fsdecode(os.fsencode(source) + b"/\xff\xfe.png")).write_bytes(b"")
    images, out = prepared(source)
    assert len(images) == 2  # good.png and linked/linked.png
    told = dict(line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  "))
    assert told["deep/up"] == "a link to a folder that it is in"
    assert told["itself.png"] == told["gone.png"] == "a link to nothing"
    assert "cannot be read (Input/output error)" in told["unreadable.png"]
    assert told["ÿþ.png"] == "empty file"
    assert "are read as latin-1, a guess; --zip-encoding sets another" in out


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"labels": [\n  ["a.png", 1],\n  ["b.png" 0]\n]}', "dataset.json: line 3, column 12"),
        ('{"labels": [["a.png", 0.5], ["b.png", 1]]}', "label of a.png is 0.5, expected a class"),
        ('{"labels": [["a.png", 0], ["b.png", "x"]]}', 'label of b.png is "x", expected a class'),
        ('{"labels": [["a.png", [1, 2]], ["b.png", [1]]]}', "b.png is [1], expected a list of 2"),
        ('{"labels": "many"}', '"labels" must be a list of [file name, label]'),
        ("\xff\xfe", "not UTF-8 text"),
        ("[" * 100_000, "brackets are nested too deeply"),
    ],
)
@pytest.mark.parametrize("command", ["dataset", "info", "train", "train without --cond"])
def test_labels_that_are_wrong(run, tmp_path, command, text, message):
    """An error for a command that needs labels, and a line for others."""
    (tmp_path / "source").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "source" / name).write_bytes(encoded(flat()))
    (tmp_path / "source" / "dataset.json").write_bytes(text.encode("latin-1"))
    train = ["train", "--data", "source", "--dry-run", "--device", "cpu"]
    args = {
        "dataset": ["dataset", "source", "out"],
        "info": ["info", "source", "--no-sheet"],
        "train": [*train, "--cond"],
        "train without --cond": train,
    }
    code, out, err = run(*args[command])
    if command in ("dataset", "train"):
        assert code == 2 and message in err and err.count("\n") == 1
    else:
        assert code == 0 and out.count(message) == 1, err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source"]


def test_labels_and_files_that_do_not_match(prepared, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (source / name).write_bytes(encoded(flat()))
    content = {"labels": [["c.png", 1], ["a.png", 0], ["gone.png", 1]], "label_names": ["x", "y"]}
    (source / "dataset.json").write_text(json.dumps(content))
    images, out = prepared(source)
    told = dict(line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  "))
    assert told == {
        "gone.png": "has a label, but does not exist",
        "b.png": "has no label in dataset.json",
    }
    with zipfile.ZipFile(tmp_path / "out.zip") as z:
        written = json.loads(z.read("dataset.json"))
    assert written["label_names"] == ["x", "y"]
    assert [label for _, label in written["labels"]] == [0, 1]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: p.mkdir(), "holds no images that can be opened"),
        (lambda p: None, "there is no such folder or "),
        (lambda p: p.write_bytes(b"hello"), "expected a folder or a zip"),
        (lambda p: p.write_bytes(b""), "is an empty file; download it again"),
        (lambda p: zipfile.ZipFile(p, "w").close(), "holds no images that can be opened"),
        (lambda p: (p.mkdir(), (p / "a.png").write_bytes(b"x")), "none of 1 files looked at can"),
        (
            lambda p: (p.mkdir(), (p / "a.txt").write_bytes(b"x")),
            "holds no images that can be opened",
        ),
        (lambda p: p.symlink_to(p), "there is no such folder or "),
    ],
)
@pytest.mark.parametrize("command", ["dataset", "info", "train"])
def test_sources_that_are_wrong(run, tmp_path, command, make, message):
    make(tmp_path / "source")
    before = tree(tmp_path)
    args = {"dataset": ["source", "out"], "info": ["source"], "train": ["--data", "source"]}
    code, out, err = run(command, *args[command])
    assert code == 2 and message in err and err.count("\n") == 1, err
    assert tree(tmp_path) == before


def test_a_zip_that_was_cut_off(run, tmp_path):
    path = tmp_path / "cut.zip"
    with zipfile.ZipFile(path, "w") as z:
        for i in range(5):
            z.writestr(f"{i}.png", encoded(picture((64, 64), seed=i)))
    path.write_bytes(path.read_bytes()[:-100])
    code, _, err = run("dataset", path, "out", "--resolution", "16")
    assert code == 2 and "a zip archive whose end is missing" in err
