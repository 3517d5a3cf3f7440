# SPDX-License-Identifier: Apache-2.0
import importlib.util
import json

import numpy as np
import pytest
from PIL import Image
from support.pictures import encoded, picture


@pytest.fixture
def pictures(tmp_path):
    """A folder of pictures of 16 px, some transparent."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.png").write_bytes(encoded(picture((16, 16), "RGBA", seed=i)))
    return folder


def test_a_data_set_beside_a_network(run, trained, pictures, tmp_path):
    args = ["--images", "4", "--out", "new/s.npz", "--out", "s.json", "--device", "cpu"]
    code, out, err = run("spectra", pictures, trained, *args)
    assert code == 0, err
    assert out == "new/s.npz\ns.json\n"
    with np.load(tmp_path / "new" / "s.npz") as content:
        assert content["names"].tolist() == ["pictures", trained.name]
        assert content["power_0"].shape == content["power_1"].shape == (16, 16)
    content = json.loads((tmp_path / "s.json").read_text())
    assert [entry["images"] for entry in content.values()] == [4, 4]


def test_a_plot(run, pictures, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, err = run("spectra", pictures)
    assert code == 0, err
    with Image.open(tmp_path / "spectra.png") as image:
        assert image.width > 2 * image.height


def test_other_sizes_are_made_one(run, pictures, tmp_path):
    (pictures / "large.png").write_bytes(encoded(picture((40, 24))))
    assert run("spectra", pictures, "--out", "s.npz")[0] == 2
    code, _, err = run("spectra", pictures, "--out", "s.npz", "--resolution", "12x8")
    assert code == 0, err
    with np.load(tmp_path / "s.npz") as content:
        assert content["power_0"].shape == (12, 12)


def test_without_matplotlib_one_line_comes_before_the_work(run, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = run("spectra", "emoji")
    assert code == 2 and "pip install 'stylegan[plot]'" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "args, message",
    [
        ("", "Missing argument 'SOURCE...'"),
        ("nothing --out a.npz", "nothing: there is no such folder"),
        ("nothing.zip --out a.npz", "nothing.zip: there is no such folder or zip"),
        ("text --out a.npz", "text: is a text; expected the folder of a run or of a snapshot"),
        ("{pictures} --out a.txt", "ends in .png, .pdf, .svg, .npz or .json"),
        ("{pictures} --out text/a.npz", "cannot make the folder"),
        ("{pictures} --out folder.npz", "is a directory"),
    ],
)
def test_wrong_input_is_one_line(run, pictures, tmp_path, args, message):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "folder.npz").mkdir()
    code, _, err = run("spectra", *args.format(pictures=pictures).split())
    assert code == 2 and message in err and err.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.npz", "pictures", "text"]
