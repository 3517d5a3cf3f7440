# SPDX-License-Identifier: Apache-2.0
"""`stylegan.data` as programs and notebooks use it."""

import ast
import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch.utils.data import DataLoader

import stylegan
from stylegan import UserError
from stylegan.cli.main import program

ROOT = Path(__file__).parents[2]
TEN = "10 labels (glasses, sunglasses, beard, moustache, hat, long_hair, smile, ...)"


@pytest.fixture
def photos(tmp_path):
    """A folder of six pictures of two sizes in two classes, a broken one, and a text."""
    rng = np.random.RandomState(0)
    for i in range(6):
        path = tmp_path / "photos" / ("cat", "dog")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (24, 20 if i < 4 else 30, 3)
        Image.fromarray(rng.randint(0, 256, shape, dtype=np.uint8)).save(path)
    (tmp_path / "photos/cat/broken.png").write_bytes(b"no picture")
    (tmp_path / "photos/notes.txt").write_text("x")
    return tmp_path / "photos"


def test_describe(photos):
    found = stylegan.data.describe(photos)
    assert (found.images, found.opened, found.path) == (7, 7, photos)
    assert found.sizes == {(24, 20): 4, (24, 30): 2} and found.channels == {3: 6}
    assert found.class_names == ("cat", "dog") and found.class_counts == (4, 3)
    assert found.c_dim == 2 and found.others == {".txt": 1} and found.made is None
    assert [problem.name for problem in found.problems] == ["cat/broken.png"]
    lines = repr(found).splitlines()
    assert lines[0] == f"path       {photos}" and lines[1] == "images     7"
    assert "classes    cat (4), dog (3)" in lines
    assert "sizes      20x24 px (4), 30x24 px (2)" in lines
    assert stylegan.data.describe(photos, max_opened=2).opened < 7
    assert copy.deepcopy(found) == found == pickle.loads(pickle.dumps(found))


def test_describe_and_info_agree(photos):
    result = CliRunner().invoke(program, ["info", str(photos), "--no-sheet", "--json"])
    rows, told = stylegan.data.describe(photos).rows(), json.loads(result.output)
    for name in ("path", "images", "sizes", "channels", "no images", "problems"):
        assert rows[name] == told[name], name
    assert rows["classes"] == ", ".join(told["classes"])


def test_describe_and_info_agree_on_labels(photos):
    """About broken labels, and about images without a label that are broken too."""
    for text in ("{", '{"labels": [["cat/0.png", [1, 2]]], "label_names": ["a", "b"]}'):
        (photos / "dataset.json").write_text(text)
        result = CliRunner().invoke(program, ["info", str(photos), "--json"])
        rows, told = stylegan.data.describe(photos).rows(), json.loads(result.output)
        assert rows["labels"] == told["labels"] and rows["problems"] == told["problems"]
        assert rows.get("notes") == told.get("notes")
    assert len(rows["problems"]) == 6


@pytest.mark.parametrize("name", ["emoji", "faces"])
def test_the_data_that_comes_with_the_package(name):
    assert name in stylegan.data.DEMOS
    dataset = stylegan.data.ImageDataset(name, max_images=4)
    assert len(dataset) == 4 and dataset[0][0].shape == (3, 64, 64)
    with pytest.raises(UserError):
        stylegan.data.describe("nothing")


def test_prepare(photos, tmp_path):
    calls = []
    done = stylegan.data.prepare(
        photos, tmp_path / "new" / "a.zip", resolution=16, progress=lambda *c: calls.append(c)
    )
    assert calls == [(i, 7) for i in range(1, 8)]
    assert done.written == 6 and done.class_names == ("cat", "dog") and done.size == (16, 16)
    facts = "6 images, 16x16 RGB, 2 classes, 1 not used, see .failures"
    assert repr(done) == f"Prepared({tmp_path / 'new' / 'a.zip'}, {facts})"
    assert [failure.name for failure in done.failures] == ["cat/broken.png"]
    assert "center-crop" in stylegan.data.describe(done.path).made
    with pytest.raises(UserError, match="already exists"):
        stylegan.data.prepare(photos, done.path, resolution=16)
    again = stylegan.data.prepare(
        photos, done.path, (16, 32), "pad", 1, False, overwrite=True, format="webp"
    )
    assert again.size == (16, 32) and again.channels == 1 and again.formats == {"webp": 6}
    assert stylegan.data.describe(done.path).class_names == ()


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"transform": "crop"}, "^transform: expected one of center-crop, .*, got 'crop'"),
        ({"channels": 2}, "^channels: expected one of 1, 3, 4, got 2"),
        ({"format": "gif"}, "^format: expected one of keep, png"),
        ({"resolution": "big"}, "^resolution: expected an int or"),
        ({"resolution": 0}, "^resolution: expected an int or"),
        ({"resolution": None}, "photos: .* px but"),
        ({"value_range": (3, 1)}, "^range: expected LOW below HIGH"),
    ],
)
def test_what_cannot_be_prepared(photos, tmp_path, wrong, message):
    with pytest.raises(UserError, match=message):
        stylegan.data.prepare(photos, tmp_path / "a", **{"resolution": 16, **wrong})
    assert not (tmp_path / "a").exists()


def test_an_error_in_the_progress_leaves_nothing(photos, tmp_path):
    with pytest.raises(ZeroDivisionError):
        stylegan.data.prepare(photos, tmp_path / "a", 16, progress=lambda *_: 1 / 0)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("how", ["here", "fork", pytest.param("spawn", marks=pytest.mark.thorough)])
@pytest.mark.parametrize("archive", [False, True])
def test_a_plain_data_loader(photos, tmp_path, how, archive):
    if how == "fork" and sys.platform == "win32":
        pytest.skip("Windows does not fork")
    if archive:
        photos = stylegan.data.prepare(photos, tmp_path / "a.zip", 16).path
    dataset = stylegan.data.ImageDataset(photos, resolution=16)
    assert repr(dataset) == f"ImageDataset({photos}, {len(dataset)} images, 16x16 RGB, 2 classes)"
    more = {} if how == "here" else {"num_workers": 1, "multiprocessing_context": how}
    batches = list(DataLoader(dataset, batch_size=4, **more))
    images, labels = (torch.cat(part) for part in zip(*batches))
    assert images.dtype == torch.uint8 and images.shape == (len(dataset), 3, 16, 16)
    assert labels.dtype == torch.float32 and labels.sum(1).tolist() == [1] * len(dataset)
    for i in range(len(dataset)):
        assert torch.equal(images[i], dataset[i][0]) and torch.equal(labels[i], dataset[i][1])


def test_a_size_as_one_number(photos):
    assert stylegan.data.ImageDataset(photos, resolution=16).resolution == (16, 16)
    assert stylegan.data.ImageDataset(photos, resolution=(16, 8))[0][0].shape == (3, 16, 8)
    with pytest.raises(UserError, match="^resolution: expected an int or"):
        stylegan.data.ImageDataset(photos, resolution="64")
    with pytest.raises(UserError, match="^channels: expected one of 1, 3, 4, got 2"):
        stylegan.data.ImageDataset(photos, resolution=16, channels=2)
    plain = stylegan.data.ImageDataset("faces", max_images=2, resolution=8)
    assert repr(plain).endswith("faces-64.zip, 2 images, 8x8 RGB, " + TEN + ")")


def test_torch_is_imported_when_it_is_needed(photos):
    code = (
        "import sys, stylegan; stylegan.data; from stylegan.data import describe, prepare; "
        f"describe({str(photos)!r}); print('torch' in sys.modules); stylegan.data.ImageDataset; "
        "print('torch' in sys.modules); print(callable(stylegan.data.prepare))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["False", "True", "True"], done.stderr


# Names


def names_of(path):
    """The names that a module binds by its import statements."""
    tree = ast.parse(path.read_text("utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in found for alias in node.names}


def test_editors_know_the_names_that_are_imported_at_first_use():
    assert names_of(ROOT / "stylegan/__init__.pyi") == set(stylegan.__all__) - {"__version__"}
    known = names_of(ROOT / "stylegan/data/__init__.py")
    assert set(stylegan.data.__all__) <= known
    for module in (stylegan, stylegan.data):
        assert dir(module) == sorted(module.__all__)
        for name in module.__all__:
            assert getattr(module, name) is not None


def test_public_names_are_on_the_page():
    page = (ROOT / "docs/api.md").read_text("utf-8")
    listed = {line.split(".")[-1] for line in page.splitlines() if line.startswith("::: ")}
    public = set(stylegan.__all__) - {"__version__", "data", "train"} | set(stylegan.data.__all__)
    assert public - listed - {"DEMOS"} == set()
    for name in sorted(public - {"DEMOS"}):
        owner = stylegan if hasattr(stylegan, name) else stylegan.data
        assert getattr(owner, name).__doc__, name


@pytest.mark.parametrize(
    "module, name, hint",
    [
        ("stylegan", "load", "; there is stylegan.load_networks or stylegan.Pipeline"),
        ("stylegan", "Pipelin", "$"),
        ("stylegan", "ImageDataset", "; there is stylegan.data.ImageDataset"),
        ("stylegan.data", "Dataset", "$"),
    ],
)
def test_names_that_do_not_exist(module, name, hint):
    with pytest.raises(AttributeError, match=f"^module '{module}' has no attribute '{name}'{hint}"):
        getattr(sys.modules[module], name)
