# SPDX-License-Identifier: Apache-2.0
import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from support.pictures import encoded, picture

from stylegan import UserError
from stylegan.data import dataset
from stylegan.data.dataset import ImageDataset, ImageStream


def test_the_embedded_classes():
    data = ImageDataset("emoji")
    assert len(data) == 3080 and data.resolution == (64, 64) and data.channels == 3
    assert len(data.class_names) == 8 and data.c_dim == 8
    pixels, label = data[7]
    assert pixels.shape == (3, 64, 64) and pixels.dtype == torch.uint8
    assert label.sum() == 1 and data.class_names[label.argmax()] == "Symbols"


def test_pixels_are_those_of_the_file(store):
    image = picture()
    data = ImageDataset(
        store({"a.png": encoded(image), "notes.txt": b"no image", ".hidden.png": b""})
    )
    assert len(data) == 1
    assert np.array_equal(data[0][0].numpy(), np.asarray(image).transpose(2, 0, 1))
    assert np.array_equal(data[0, True][0].numpy(), np.asarray(image)[:, ::-1].transpose(2, 0, 1))


def test_nested_folders_are_classes(store):
    files = {
        f"{c}/deep/{i}.png": encoded(picture(seed=i)) for c in ("dog", "cat") for i in range(3)
    }
    data = ImageDataset(store(files))
    assert len(data) == 6 and data.class_names == ("cat", "dog")
    assert [data[i][1].argmax().item() for i in range(6)] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("as_dict", [False, True])
def test_labels_of_dataset_json(store, as_dict):
    labels = [["sub/b.png", 2], ["a.png", 0]]
    content = {"labels": dict(labels) if as_dict else labels, "label_names": ["x", "y", "z"]}
    files = {name: encoded(picture()) for name, _ in labels}
    data = ImageDataset(store({**files, "dataset.json": json.dumps(content).encode()}))
    assert data.class_names == ("x", "y", "z") and data.c_dim == 3
    assert [data[i][1].tolist() for i in range(2)] == [[1, 0, 0], [0, 0, 1]]


def test_a_folder_around_everything_does_not_hide_the_labels(store):
    files = {f"photos/{c}/{c}.png": encoded(picture()) for c in "ab"}
    assert ImageDataset(store(files)).class_names == ("a", "b")


@pytest.mark.parametrize("names", [("/x/a.png", "/y/b.png"), ("/x/a.png", "y/b.png", "../c.png")])
def test_odd_names_in_a_zip_are_only_names(tmp_path, names):
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as z:
        for name in names:
            z.writestr(name, encoded(picture()))
    data = ImageDataset(tmp_path / "odd.zip")
    assert data.files == ["x/a.png", "y/b.png"] and data[0][0].shape == (3, 8, 8)
    assert data.class_names == ("x", "y")
    odd = ["../c.png: its name leads out of the archive"]
    assert data.notes == (odd if len(names) == 3 else [])


def test_a_folder_around_dataset_json(store):
    content = {"labels": [["a.png", 1], ["deep/b.png", 0]]}
    files = {f"photos/{name}": encoded(picture()) for name in ("a.png", "deep/b.png")}
    data = ImageDataset(store({**files, "photos/dataset.json": json.dumps(content).encode()}))
    assert [data[i][1].tolist() for i in range(2)] == [[0, 1], [1, 0]]


def test_labels_that_are_vectors(store):
    content = {"labels": [["a.png", [0.5, 2]], ["b.png", [1, -1]]]}
    files = {name: encoded(picture()) for name in ("a.png", "b.png")}
    data = ImageDataset(store({**files, "dataset.json": json.dumps(content).encode()}))
    assert data.class_names == () and data.c_dim == 2 and data[1][1].tolist() == [1, -1]


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"labels": [\n["a.png", 1],\n]}', "dataset.json: line 3, column 1"),
        ('{"labels": []}', "no label for a.png"),
        ('{"labels": [["a.png", -1]]}', "label of a.png is -1, expected a class number"),
        ('{"labels": [["a.png", 0.5]]}', "label of a.png is 0.5, expected a class number"),
        ('{"labels": [["a.png", {"x": 1}]]}', "label of a.png is .*, expected a class number"),
        ('{"labels": [["a.png", [1, NaN]]]}', "label of a.png is .*, expected a list of 2 numbers"),
        ('{"labels": [["a.png", []]]}', "label of a.png is .*expected"),
        ("[" * 100_000, "brackets are nested too deeply"),
        ('{"labels": [3]}', "must be a list of"),
        (
            '{"labels": [["a.png", 3]], "label_names": ["x"]}',
            'class 3 has no name; the last number in "label_names" is 0',
        ),
    ],
)
def test_labels_that_do_not_fit(store, text, message):
    path = store({"a.png": encoded(picture()), "dataset.json": text.encode()})
    with pytest.raises(UserError, match=message) as e:
        ImageDataset(path)
    assert "\n" not in str(e.value)


def test_no_labels(store):
    data = ImageDataset(store({"a.png": encoded(picture()), "dataset.json": b'{"labels": null}'}))
    assert data.c_dim == 0 and data.class_names == () and data[0][1].shape == (0,)


@pytest.mark.parametrize("channels, shape", [(None, 3), (1, 1), (3, 3), (4, 4)])
def test_channels(store, channels, shape):
    data = ImageDataset(store({"a.png": encoded(picture())}), channels=channels)
    assert data[0][0].shape == (shape, 8, 8)
    if channels == 4:
        assert (data[0][0][3] == 255).all()


@pytest.mark.parametrize("mode, channels", [("L", 1), ("RGB", 3), ("RGBA", 4), ("LA", 4), ("1", 1)])
def test_natural_channels(store, mode, channels):
    image = picture(mode="RGBA").convert(mode)
    assert ImageDataset(store({"a.png": encoded(image)})).channels == channels


def test_transparency_is_laid_over_white(store):
    image = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    data = ImageDataset(store({"a.png": encoded(image)}), channels=3)
    assert (data[0][0] == 255).all()


def test_sixteen_bits_of_grey_are_scaled(store):
    image = Image.fromarray(np.full((8, 8), 32768, np.uint16))
    assert (ImageDataset(store({"a.png": encoded(image)}), channels=1)[0][0] == 128).all()


def test_resolution_crops_at_the_centre_and_resizes(store):
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (10, 0, 30, 20))
    data = ImageDataset(store({"a.png": encoded(image)}), resolution=(8, 8))
    assert data[0][0].shape == (3, 8, 8)
    # Lanczos reaches a little beyond the crop; further in, nothing of the red margin is left.
    blue = torch.tensor([0, 0, 255])[:, None, None]
    assert (data[0][0].int() - blue).abs().max() <= 16
    assert (data[0][0].int() - blue)[:, :, 1:-1].abs().max() <= 1


def test_images_of_several_sizes(store):
    files = {"a.png": encoded(picture()), "b.png": encoded(picture((9, 8)))}
    with pytest.raises(UserError, match="b.png has 9x8 px but a.png has 8x8; --resolution"):
        ImageDataset(store(files))


def test_what_cannot_be_used_is_passed_over_and_named(store, monkeypatch):
    monkeypatch.setattr(dataset, "OPEN_FIRST", 2)  # a and d
    whole = encoded(picture((64, 64)))
    files = {"b.png": whole[: len(whole) // 2], "c.png": b"hello", "e.png": encoded(picture())}
    data = ImageDataset(store({"a.png": whole, "d.png": whole, "f.png": whole, **files}))
    for i, instead in ((0, 0), (1, 3), (2, 3), (3, 3), (4, 5)):
        assert torch.equal(data[i][0], data[instead][0])
    told = {problem.name: problem.why for problem in data.take_skipped()}
    assert list(told) == ["b.png", "c.png", "e.png"] and data.take_skipped() == []
    assert told["b.png"].startswith("broken image (")
    assert told["c.png"] == "not an image that Pillow can read"
    assert told["e.png"] == "8x8 px, not 64x64"
    with pytest.raises(UserError, match="^b.png: broken image"):
        data.pixels(1)


def test_nothing_can_be_used(store):
    files = {f"{i}.png": b"hello" for i in range(3)}
    with pytest.raises(UserError, match="none of 3 files looked at can be used; 0.png: not an"):
        ImageDataset(store(files))


def test_a_disk_that_goes_away_is_not_the_files_fault(store):
    data = ImageDataset(store({f"{i:03}.png": encoded(picture(seed=i)) for i in range(120)}))
    fail = 'raise UserError("a.png", "gone")'
    data.source.read = lambda name: exec(fail, {"UserError": UserError})
    with pytest.raises(UserError, match="100 files in a row cannot be used; the last: a.png: gone"):
        data[30]


def test_a_subset_keeps_its_labels(store):
    files = {f"{'abc'[i % 3]}/{i:02}.png": encoded(picture(seed=i)) for i in range(30)}
    path = store(files)
    data = ImageDataset(path, max_images=7, seed=1)
    assert len(data) == 7 and data.c_dim == 3 and data.files == sorted(data.files)
    assert [data.class_names[int(c.argmax())] for _, c in data] == [f[0] for f in data.files]
    assert ImageDataset(path, max_images=7, seed=1).fingerprint == data.fingerprint
    assert ImageDataset(path, max_images=7, seed=2).fingerprint != data.fingerprint
    assert len(ImageDataset(path, max_images=99)) == 30


def test_labels_of_files_that_are_not_there(store):
    content = json.dumps({"labels": [["a.png", 0], ["x.png", 1], ["y.png", 1]]}).encode()
    data = ImageDataset(store({"a.png": encoded(picture()), "dataset.json": content}))
    assert data.notes == ["x.png and 1 more: in the labels, but without a file"]


@pytest.mark.parametrize("files", [{}, {"readme.txt": b""}])
def test_no_images(tmp_path, files):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="holds no images that can be opened"):
        ImageDataset(tmp_path)


def test_paths_that_are_no_data(tmp_path):
    with pytest.raises(UserError, match="no such folder or zip"):
        ImageDataset(tmp_path / "nothing")
    (tmp_path / "bad.zip").write_bytes(b"PK\3\4 not really")
    with pytest.raises(UserError, match="a zip archive whose end is missing"):
        ImageDataset(tmp_path / "bad.zip")


def test_a_damaged_zip_names_the_file(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name in ("a.png", "b.png"):
            z.writestr(name, encoded(picture((64, 64))))
    content = bytearray(path.read_bytes())
    half = len(content) * 3 // 4
    content[half - 200 : half] = bytes(200)
    path.write_bytes(content)
    data = ImageDataset(path)
    with pytest.raises(UserError, match="images.zip: cannot read b.png|b.png: broken image"):
        data.pixels(1)


def test_loader_processes_read_too(store):
    files = {f"{i}.png": encoded(picture(seed=i)) for i in range(12)}
    data = ImageDataset(store(files))
    expected = [data[i][0] for i in range(12)]
    fresh = pickle.loads(pickle.dumps(ImageDataset(data.path)))
    loader = torch.utils.data.DataLoader(fresh, batch_size=4, num_workers=2)
    assert torch.equal(torch.cat([x for x, _ in loader]), torch.stack(expected))


def test_the_stream_is_a_function_of_seed_and_position():
    def take(stream, n):
        draw = iter(stream)
        return [next(draw) for _ in range(n)]

    whole = take(ImageStream(10, seed=1, mirror=True), 35)
    assert take(ImageStream(10, seed=1, mirror=True, position=13), 22) == whole[13:]
    assert [sorted(i for i, _ in whole[s : s + 10]) for s in (0, 10, 20)] == [list(range(10))] * 3
    assert whole[:10] != whole[10:20] and whole != take(ImageStream(10, seed=2, mirror=True), 35)
    assert {flip for _, flip in whole} == {True, False}
    assert not any(flip for _, flip in take(ImageStream(10, seed=1), 35))


def test_embedded_data_sets(tmp_path, monkeypatch):
    """By name; a folder of that name comes first."""
    monkeypatch.chdir(tmp_path)
    faces = ImageDataset("faces")
    assert (len(faces), faces.resolution, faces.channels, faces.c_dim) == (4000, (64, 64), 3, 10)
    assert faces.path == ImageDataset().path and "glasses" in faces.labels.attributes
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "mine.png").write_bytes(encoded(picture((16, 16))))
    assert len(ImageDataset("faces")) == 1


def test_the_default_is_embedded_whatever_folders_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "mine.png").write_bytes(encoded(picture((16, 16))))
    assert len(ImageDataset()) == 4000
