# SPDX-License-Identifier: Apache-2.0
import io
import json
import multiprocessing
import os
import signal
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image
from support.pictures import encoded, picture

from stylegan import UserError
from stylegan.data import decode, preparation, target
from stylegan.data.dataset import ImageDataset
from stylegan.data.source import Problem


def split(size=(40, 20)):
    """Red, with a blue middle half."""
    image = Image.new("RGB", size, "red")
    image.paste("blue", (size[0] // 4, 0, size[0] * 3 // 4, size[1]))
    return image


def is_colour(pixel, name):
    colours = {"red": (255, 0, 0), "blue": (0, 0, 255), "black": (0, 0, 0)}
    return np.abs(np.asarray(pixel, int) - colours[name]).max() <= 3


@pytest.mark.parametrize("suffix", ["", ".zip", ".tar", ".TAR"])
def test_what_is_written_can_be_trained_on(store, tmp_path, suffix):
    files = {f"{c}/{i}.png": encoded(picture((9, 9), seed=i)) for c in "ab" for i in range(3)}
    source, dest = store(files), tmp_path / f"out{suffix}"
    done = preparation.prepare(source, dest, size=(8, 8), workers=0)
    assert (done.written, done.class_names, done.failures) == (6, ("a", "b"), [])
    data, direct = ImageDataset(dest), ImageDataset(source, resolution=(8, 8))
    assert data.class_names == ("a", "b") and data.resolution == (8, 8)
    for (x, c), (y, d) in zip(data, direct, strict=True):
        assert (x == y).all() and (c == d).all()


def test_processes_change_nothing(store, tmp_path):
    files = {f"{i:02}.png": encoded(picture((9, 9), seed=i)) for i in range(50)}
    source, dests = store({**files, "07.png": b"x"}), [tmp_path / f"{i}.zip" for i in range(3)]
    results = [preparation.prepare(source, d, (8, 8), workers=w) for d, w in zip(dests, (0, 1, 3))]
    assert [r.failures for r in results] == [
        [Problem("07.png", "not an image that Pillow can read")]
    ] * 3
    assert len({d.read_bytes() for d in dests}) == 1


def test_no_process_is_left(store, tmp_path):
    """Or Python may print a traceback when it ends."""
    source = store({f"{i:02}.png": encoded(picture(seed=i)) for i in range(20)})
    before = set(multiprocessing.active_children())
    preparation.prepare(source, tmp_path / "out", workers=2)
    assert set(multiprocessing.active_children()) <= before


def kill_at(name):
    open_image = decode.open_image

    def read(data, file, load=True):
        if file == name and load:
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        return open_image(data, file, load)

    return read


def test_a_file_that_kills_the_process_that_reads_it(store, tmp_path, monkeypatch):
    files = {f"{i:02}.png": encoded(picture(seed=i)) for i in range(60)}
    monkeypatch.setattr(decode, "open_image", kill_at("31.png"))  # processes are forked
    done = preparation.prepare(store(files), tmp_path / "out.zip", workers=2)
    assert done.failures == [Problem("31.png", "kills the process that reads it")]
    assert done.written == 59
    data = ImageDataset(tmp_path / "out.zip")
    names = [n for n in sorted(files) if n != "31.png"]
    for name, (x, _) in zip(names, data, strict=True):
        assert (
            x.numpy().transpose(1, 2, 0) == np.asarray(Image.open(io.BytesIO(files[name])))
        ).all()


@pytest.mark.parametrize(
    "transform, size, shape, at",
    [
        ("center-crop", (8, 8), (8, 8), {(4, 2): "blue", (4, 5): "blue"}),
        ("fit", (8, 8), (8, 8), {(4, 0): "red", (4, 4): "blue", (4, 7): "red"}),
        (
            "pad",
            (16, 16),
            (16, 16),
            {(1, 8): "black", (8, 0): "red", (8, 8): "blue", (14, 8): "black"},
        ),
        ("center-crop-wide", (8, 16), (16, 16), {(1, 8): "black", (8, 0): "red", (8, 8): "blue"}),
        ("center-crop-wide", (8, 12), (12, 12), {(0, 6): "black", (6, 6): "blue"}),
    ],
)
@pytest.mark.parametrize("channels", [3, 4])
def test_transforms(store, tmp_path, transform, size, shape, at, channels):
    source = store({"a.png": encoded(split())})
    done = preparation.prepare(source, tmp_path / "out", size, transform, channels, workers=0)
    pixels = ImageDataset(tmp_path / "out", channels=channels).pixels(0)
    assert done.size == shape and pixels.shape == (channels, *shape)
    for (y, x), colour in at.items():
        assert is_colour(pixels[:3, y, x], colour), (y, x)
        if channels == 4:
            assert pixels[3, y, x] == (0 if colour == "black" else 255)


@pytest.mark.parametrize("size", [(1, 1), (30000, 10), (3, 5000)])
@pytest.mark.parametrize("transform", ["center-crop", "center-crop-wide", "fit", "pad"])
def test_odd_shapes(store, tmp_path, size, transform):
    source = store({"a.png": encoded(Image.new("RGB", size, "blue"))})
    done = preparation.prepare(source, tmp_path / "out", (16, 24), transform, workers=0)
    pixels = ImageDataset(tmp_path / "out").pixels(0)
    assert done.written == 1 and np.abs(pixels.max(axis=(1, 2)) - [0, 0, 255]).max() <= 3


@pytest.mark.parametrize(
    "modes, channels",
    [("L L L", 1), ("L RGB L", 3), ("RGB RGB RGBA", 3), ("RGBA RGBA RGB", 4), ("LA LA L", 4)],
)
def test_channels_are_what_most_images_have(store, tmp_path, modes, channels):
    images = [picture((8, 8), "RGBA", i).convert(m) for i, m in enumerate(modes.split())]
    source = store({f"{i}.png": encoded(image) for i, image in enumerate(images)})
    assert preparation.prepare(source, tmp_path / "out", workers=0).channels == channels
    assert ImageDataset(source).channels == channels


def test_opaque_alpha_is_no_transparency(store, tmp_path):
    source = store({"a.png": encoded(picture().convert("RGBA"))})
    assert preparation.prepare(source, tmp_path / "out", workers=0).channels == 3


def test_colours_that_cannot_be_seen_are_gone(store, tmp_path):
    image = Image.new("RGBA", (8, 8), (200, 100, 50, 0))
    image.paste((10, 20, 30, 255), (0, 0, 4, 8))
    pixels = ImageDataset(store({"a.png": encoded(image)})).pixels(0)
    assert pixels.shape == (4, 8, 8)
    assert pixels[:, 0, 0].tolist() == [10, 20, 30, 255] and not pixels[:, 0, 7].any()


def test_duplicates(store, tmp_path):
    image = picture((8, 8))
    files = {"a/1.png": encoded(image), "a/2.bmp": encoded(image, "BMP")}
    files |= {"b/3.png": encoded(picture(seed=5)), "b/4.webp": encoded(image, "PNG")}
    source = store(files)
    done = preparation.prepare(source, tmp_path / "out.zip", dedupe=True, workers=2)
    assert done.written == 2 and done.duplicates == 2
    with zipfile.ZipFile(tmp_path / "out.zip") as z:
        assert [label for _, label in json.loads(z.read("dataset.json"))["labels"]] == [0, 1]
    assert preparation.prepare(source, tmp_path / "all.zip", workers=0).written == 4


def test_the_same_images_give_the_same_archive(store, tmp_path):
    source = store({"a.png": encoded(picture()), "b.png": encoded(picture(seed=1))})
    for suffix in (".zip", ".tar"):
        first, second = tmp_path / f"1{suffix}", tmp_path / f"2{suffix}"
        preparation.prepare(source, first, workers=0)
        preparation.prepare(source, second, workers=0)
        assert first.read_bytes() == second.read_bytes()


def test_a_tar_has_the_files_of_a_zip(store, tmp_path):
    source = store({f"{c}/{i}.png": encoded(picture(seed=i)) for c in "ab" for i in range(3)})
    for name in ("a.zip", "a.tar"):
        preparation.prepare(source, tmp_path / name, workers=0)
    with zipfile.ZipFile(tmp_path / "a.zip") as z, tarfile.open(tmp_path / "a.tar", "r:") as t:
        assert t.getnames() == z.namelist() and t.getnames()[-1] == "dataset.json"
        for entry in t:
            assert t.extractfile(entry).read() == z.read(entry.name) or entry.name[-1] == "n"
            about = entry.mtime, entry.uid, entry.gid, entry.uname, entry.mode
            assert about == (0, 0, 0, "", 0o644)


def test_without_labels_folders_are_no_classes(store, tmp_path):
    source = store({f"{c}/0.png": encoded(picture()) for c in "ab"})
    preparation.prepare(source, tmp_path / "out", labels=False, workers=0)
    assert ImageDataset(tmp_path / "out").labels is None


def test_small_and_other_files_are_counted(store, tmp_path):
    files = {"a.png": encoded(picture((4, 9))), "b.png": encoded(picture((9, 9)))}
    source = store({**files, "notes.txt": b"", "Makefile": b"", "x.tar.gz": b""})
    done = preparation.prepare(source, tmp_path / "out", (8, 8), workers=0)
    assert done.enlarged == 1 and done.ignored == {".txt": 1, "no ending": 1}
    assert done.failures == [
        Problem("x.tar.gz", "an archive in the data is not opened; unpack it first")
    ]


def test_places_that_are_not_written_to(tmp_path):
    source, full = tmp_path / "source", tmp_path / "full"
    for folder in (source, full):
        folder.mkdir()
        (folder / "a.png").write_bytes(encoded(picture()))
    (tmp_path / "text.zip").write_text("precious")
    (tmp_path / "text.tar").write_text("precious")
    (tmp_path / "dataset.json").write_text("{}")
    zipfile.ZipFile(tmp_path / "zip without its ending", "w").close()
    for dest, overwrite, message in (
        (source, True, "lies in the source"),
        (source / "deep" / "out.zip", False, "lies in the source"),
        (full, False, "is a folder without dataset.json, not a data set; not replaced"),
        (tmp_path, True, "holds the source, .*, and is not replaced"),
        (full, True, "is a folder without dataset.json, not a data set; not replaced"),
        (tmp_path / "text.zip", True, "is not a zip archive; not replaced"),
        (tmp_path / "text.tar", True, "is not a tar archive; not replaced"),
        (tmp_path / "new.tar.gz", False, "only .zip and .tar without compression are written"),
        (tmp_path / "new.tgz", False, "end the name in .zip or .tar"),
        (tmp_path / "new.7z", False, "end the name in .zip or .tar"),
        (tmp_path / "zip without its ending", True, "is not a zip archive; not replaced"),
    ):
        with pytest.raises(UserError, match=message):
            preparation.prepare(source, dest, overwrite=overwrite, workers=0)
    assert (tmp_path / "text.zip").read_text() == "precious" and (full / "a.png").exists()
    for dest in (tmp_path / "new", tmp_path / "new.zip", tmp_path / "new.tar"):
        preparation.prepare(source, dest, workers=0)
        with pytest.raises(UserError, match="already exists; --overwrite replaces it"):
            preparation.prepare(source, dest, workers=0)
        preparation.prepare(source, dest, workers=0, overwrite=True)
        assert len(ImageDataset(dest)) == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("name", ["out", "out.zip", "out.tar"])
def test_whole_or_not_at_all(store, tmp_path, monkeypatch, error, name):
    source = store({f"{i}.png": encoded(picture(seed=i)) for i in range(20)})
    before = sorted(p.name for p in tmp_path.iterdir())
    kinds = {"": target.FolderTarget, ".zip": target.ZipTarget, ".tar": target.TarTarget}
    kind = kinds[name[3:]]
    write, count = kind.write, iter(range(99))

    def fail(self, *args):
        if next(count) == 10:
            raise error
        write(self, *args)

    monkeypatch.setattr(kind, "write", fail)
    with pytest.raises(type(error)):
        preparation.prepare(source, tmp_path / name, workers=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_what_a_killed_process_left_is_cleared(store, tmp_path, monkeypatch, name):
    source = store({"a.png": encoded(picture())})
    left = tmp_path / f".part-1-{name}"  # of another process
    with monkeypatch.context() as patch:

        def fill(*args):
            (mine,) = tmp_path.glob(".*")
            assert mine.name == f".part-{os.getpid()}-{name}"
            mine.rename(left)  # as if it had been killed
            raise ZeroDivisionError

        patch.setattr(preparation, "_fill", fill)
        with pytest.raises(ZeroDivisionError):
            preparation.prepare(source, tmp_path / name, workers=0)
    assert list(tmp_path.glob(".*")) == [left]
    others = [tmp_path / f".{name}.backup", tmp_path / f".part-1-{name}.backup"]
    for other in others:
        other.write_text("precious")
    preparation.prepare(source, tmp_path / name, workers=0)
    assert sorted(tmp_path.glob(".*")) == sorted(others)
    assert len(ImageDataset(tmp_path / name)) == 1


def test_into_a_folder_that_is_there(store, tmp_path, monkeypatch):
    """It stays the same folder: it may be a mount point, or the current one."""
    source = store({"a.png": encoded(picture())})
    dest = tmp_path / "here"
    dest.mkdir()
    monkeypatch.chdir(dest)
    inode = dest.stat().st_ino
    preparation.prepare(source, ".", workers=0)
    preparation.prepare(source, ".", size=(4, 4), workers=0, overwrite=True)
    assert dest.stat().st_ino == inode
    assert sorted(p.name for p in dest.iterdir()) == ["00000", "dataset.json"]
    assert ImageDataset(dest).resolution == (4, 4)


def test_one_image_beside_the_classes_is_named(store, tmp_path):
    files = {f"{c}/{i}.png": encoded(picture(seed=i)) for c in "ab" for i in range(10)}
    source = store({**files, "stray.png": encoded(picture())})
    done = preparation.prepare(source, tmp_path / "out", workers=0)
    assert done.written == 21 and not done.labelled
    told = "lies beside the folders, so that they are not classes"
    assert done.failures == [Problem("stray.png", f"{told} (it is used)")]
    assert ImageDataset(source).notes == [f"stray.png: {told}"]


def test_many_images_without_a_label(store, tmp_path):
    labels = [[f"{i}.png", 0] for i in range(0, 4000, 2)]
    files = {f"{i}.png": b"" for i in range(1, 4000)} | {"0.png": encoded(picture())}
    source = store({**files, "dataset.json": json.dumps({"labels": labels}).encode()})
    done = preparation.prepare(source, tmp_path / "out", workers=0)
    assert done.written == 1 and len(done.failures) == 3999
