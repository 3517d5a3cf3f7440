# SPDX-License-Identifier: Apache-2.0
"""--label with the names of labels, from the data set to the pictures."""

import json

import pytest
from PIL import Image
from support.pictures import encoded, picture
from support.snapshots import named, snapshot

from stylegan import Pipeline
from stylegan.runs.report import write_report


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return named(tmp_path_factory.mktemp("named") / "net")


def ok(result):
    code, out, err = result
    assert code == 0, err
    return out, err


def read(path):
    with Image.open(path) as image:
        image.load()
        return image


def test_pictures_of_labels_by_name(run, net, tmp_path):
    out, err = ok(run("generate", net, "--label", "GLASSES,hat", "--seeds", "0-1"))
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == [f"seed000{i}-label-glasses,Hat.png" for i in range(2)] and "note" not in err
    images = [read(tmp_path / "out" / name) for name in names]
    assert [image.text["label"] for image in images] == ["glasses,Hat"] * 2
    values = [image.text["label_values"] for image in images]
    assert values == ["glasses=1,Hat=1,é=0.5", "glasses=1,Hat=1,é=0"]
    expected = Pipeline.from_pretrained(net, "cpu")(seeds=[0, 1], label={"glasses": 1, "hat": 1})
    assert [i.tobytes() for i in images] == [i.tobytes() for i in expected.images]
    # What the file says draws it again.
    ok(run("generate", net, "--label", values[1], "--seeds", "1", "--outdir", "again"))
    (again,) = (tmp_path / "again").iterdir()
    assert read(again).tobytes() == images[1].tobytes()


def test_several_labels_and_numbers(run, net, tmp_path):
    labels = ["--label", "hat=0", "--label", "glasses=0.5,é", "--label", "1,0,0"]
    ok(run("generate", net, *labels, "--seeds", "3"))
    names = {p.name.removeprefix("seed0003-") for p in (tmp_path / "out").iterdir()}
    assert names == {"label-Hat=0.png", "label-glasses=0.5,é.png", "label1,0,0.png"}
    assert read("out/seed0003-label1,0,0.png").text["label"] == "1,0,0"
    ok(run("generate", net, *labels, "--seeds", "0-2", "--grid", "--captions"))
    (sheet,) = (tmp_path / "out").glob("grid*")
    assert sheet.name == "grid-label-Hat=0-label-glasses=0.5,é-label1,0,0-captions.png"
    assert read(sheet).text["label"] == "Hat=0; glasses=0.5,é; 1,0,0"
    ok(run("generate", net, "--seeds", "0-2", "--grid", "--captions"))
    ok(run("generate", net, "--seeds", "0"))
    image = read("out/seed0000.png")  # as before, and the names
    assert image.text["label"] == "1,1,0.5"
    assert image.text["label_values"] == "glasses=1,Hat=1,é=0.5"


def test_names_that_no_file_can_have(run, tmp_path):
    net = named(tmp_path / "net", ("a/b", "x.csv", "c" * 60))
    (tmp_path / "x.csv").write_text("0,0,1")
    for label in ("A/B", "c" * 60):
        ok(run("generate", net, "--label", label, "--seeds", "0"))
    files = [p.name for p in (tmp_path / "out").glob("seed0000-label-????????.png")]
    assert len(files) == 2
    ok(run("generate", net, "--label", "x.csv", "--seeds", "0"))  # the label, not the file
    assert read("out/seed0000-label-x.csv.png").text["label"] == "x.csv"
    ok(run("generate", net, "--label", "./x.csv", "--seeds", "0"))
    assert read("out/seed0000-label0,0,1.png").text["label"] == "0,0,1"


@pytest.mark.parametrize("command", ["mix", "video"])
def test_other_commands(run, net, tmp_path, command):
    out = {"mix": ["--out", "a.png"], "video": ["--frames", "1", "--out", "a.webp"]}[command]
    ok(run(command, net, "--label", "hat,glasses=0", *out, "--save-ws", "a.npz"))
    if command == "mix":
        assert read("a.png").text["label"] == "Hat,glasses=0"
    code, _, err = run(command, net, "--label", "hats", *out, "--overwrite")
    assert code == 2 and "label 'hats': expected one of glasses, Hat, é" in err


def test_keyframes_take_labels_in_turn_by_their_seeds(run, net):
    import numpy as np

    args = ["--label", "glasses", "--label", "hat=0", "--seeds", "1-3", "--frames", "1"]
    ok(run("video", net, *args, "--no-loop", "--out", "a.webp", "--save-ws", "a.npz"))
    labels = [{"glasses": 1}, {"hat": 0}, {"glasses": 1}]
    expected = Pipeline.from_pretrained(net, "cpu").map([1, 2, 3], label=labels).ws
    assert np.allclose(np.load("a.npz")["ws"], expected, atol=1e-6)


def test_a_note_on_labels_that_no_image_has(run, net):
    _, err = ok(run("generate", net, "--label", "glasses=0,hat=0", "--seeds", "0"))
    line = "note: no training image that the network keeps has glasses=0,Hat=0; other labels are 0"
    assert line in err.splitlines()


@pytest.mark.parametrize(
    "args, message",
    [
        (["--label", "glases"], "stylegan: label 'glases': expected one of glasses, Hat, é"),
        (["--label", "hat=much"], "stylegan: label 'hat': expected a number, got 'much'"),
        (["--label", "hat,hat"], "label 'hat': is given twice"),
        (["--label", ""], "label '': expected one of glasses"),
        (["--label", "gone.csv"], "gone.csv: cannot be read (No such file"),
        (["--label", "1,0"], "--label 1,0: this network takes labels of 3 numbers, got 2"),
        (["--class", "hat"], "not classes; give --label Hat in place of --class hat"),
    ],
)
def test_wrong_labels_are_one_line(run, net, args, message):
    code, out, err = run("generate", net, *args)
    assert code == 2 and message in err and err.count("\n") == 1 and not out, err


def test_a_network_that_keeps_only_names(run, tmp_path):
    data = {"name": "x", "class_names": [], "label_names": ["a", "b", "c"]}
    net = snapshot(tmp_path / "net", {"dataset": data}, c_dim=3)
    code, _, err = run("generate", net)
    assert code == 2 and "the file keeps none of them; give --label a" in err
    _, err = ok(run("generate", net, "--label", "b", "--seeds", "0"))
    assert read("out/seed0000-label-b.png").text["label_values"] == "a=0,b=1,c=0"
    assert "note" not in err


def test_names_from_the_data_to_the_pictures(run, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    labels = [[1, 1], [1, 0], [0, 1], [0, 0]]
    for i in range(4):
        (folder / f"{i}.png").write_bytes(encoded(picture((16, 16), seed=i)))
    rows = [[f"{i}.png", label] for i, label in enumerate(labels)]
    content = {"labels": rows, "label_names": ["smile", "<hat>"]}
    (folder / "dataset.json").write_text(json.dumps(content))
    small = "--channel-base 128 --channel-max 8 --batch 4 --kimg 0.004 --device cpu"
    train = ["train", "--data", folder, "--resolution", "16", *small.split()]
    out, _ = ok(run(*train, "--cond"))
    assert "labels  2 labels (smile, <hat>), used" in out.splitlines()
    assert "labels    2 labels (smile, <hat>)" in ok(run("info", folder))[0].splitlines()
    (found,) = (tmp_path / "runs").iterdir()
    assert json.loads(ok(run("info", found, "--json"))[0])["labels"] == ["smile", "<hat>"]
    page = write_report(found).read_text("utf-8")
    assert "<dt>Labels</dt>" in page and "<li>smile</li><li>&lt;hat&gt;</li></ul>" in page
    assert "<dt>Classes</dt>" not in page and "label names" not in page
    ok(run("generate", "runs", "--label", "smile", "--seeds", "0-7"))
    assert len({read(p).text["label_values"] for p in (tmp_path / "out").iterdir()}) == 2
    ok(run("convert", found, "copy"))
    ok(run("generate", "copy", "--label", "smile", "--seeds", "0-7", "--outdir", "again"))
    for p in (tmp_path / "out").iterdir():
        assert read(p).tobytes() == read(tmp_path / "again" / p.name).tobytes()
    ok(run("train", "--resume", found, "--kimg", "0.008"))
    out, _ = ok(run(*train, "--outdir", "plain"))
    assert "labels  2 labels (smile, <hat>), not used (--cond uses them)" in out.splitlines()
    (plain,) = (tmp_path / "plain").iterdir()
    assert "not used in training" in write_report(plain).read_text("utf-8")
