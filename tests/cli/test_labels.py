# SPDX-License-Identifier: Apache-2.0
"""--class and --label of the commands that draw."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.pictures import encoded, picture
from support.snapshots import classes, snapshot, vectors

from stylegan import Networks, Pipeline, build_generator
from stylegan.metrics.labels import TrainingLabels


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    made = {"classes": classes, "vectors": vectors, "plain": snapshot}
    return {name: make(folder / name) for name, make in made.items()}


def ok(result):
    code, out, err = result
    assert code == 0, err
    return out, err


def read(path):
    with Image.open(path) as image:
        image.load()
        return image


def test_each_class_has_files_of_its_own(run, nets, tmp_path):
    """`--class 0` and then `--class 1` into one folder; and both in one call."""
    for name in ("cat", "1"):
        ok(run("generate", nets["classes"], "--class", name, "--seeds", "0-1"))
    ok(run("generate", nets["classes"], "--class", "0", "--trunc", "0.5", "--seeds", "0-1"))
    names = [p.name for p in sorted((tmp_path / "out").iterdir())]
    assert names == [
        "seed0000-class0-trunc0.5.png",
        "seed0000-class0.png",
        "seed0000-class1.png",
        "seed0001-class0-trunc0.5.png",
        "seed0001-class0.png",
        "seed0001-class1.png",
    ]
    args = ["--class", "cat", "--class", "dog", "--seeds", "0-1"]
    out, _ = ok(run("generate", nets["classes"], *args, "--outdir", "both"))
    assert out == "4 images in both\n"
    for p in (tmp_path / "both").iterdir():
        assert read(p).tobytes() == read(tmp_path / "out" / p.name).tobytes()
    assert read("both/seed0000-class1.png").text["class"] == "dog"
    ok(run("generate", nets["classes"], *args, "--grid", "--scale", "1"))
    sheet = read("out/grid-class0-class1-x1.png")
    assert sheet.size == (32, 32) and sheet.text["class"] == "cat; dog"
    row = sheet.crop((0, 16, 16, 32)).tobytes()
    assert row == read("both/seed0000-class1.png").tobytes()


def test_classes_without_images_are_drawn_on_request_only(run, nets):
    ok(run("generate", nets["classes"], "--seeds", "0-5"))
    drawn = {read(f"out/seed000{i}.png").text["class"] for i in range(6)}
    assert drawn == {"cat", "é"}
    _, err = ok(run("generate", nets["classes"], "--seeds", "0", "--class", "e\u0301"))
    assert read("out/seed0000-class2.png").text["class"] == "é"


@pytest.mark.parametrize("command", ["generate", "mix", "video"])
def test_labels_of_the_training_set_by_default(run, nets, command):
    pipe = Pipeline.from_pretrained(nets["vectors"], "cpu")
    out = {"generate": [], "mix": ["--out", "a.png"], "video": ["--frames", "1", "--out", "a.gif"]}
    ok(run(command, nets["vectors"], *out[command]))
    if command == "generate":
        image = read("out/seed0003.png")
        expected = pipe(seeds=[3], label=[0.5, 0.5, 1]).images[0]
        assert image.text["label"] == "0.5,0.5,1"
        assert np.abs(np.asarray(image).astype(int) - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize(
    "make",
    [
        lambda p: np.save(p.with_suffix(".npy"), [[0.1, 0, 1], [1, 1, 0.25]]),
        lambda p: p.with_suffix(".csv").write_text("0.1,0,1\n1,1,0.25\n"),
        lambda p: p.with_suffix(".csv").write_text(
            "\ufeffa,b,c\r\n0.1, 0, 1\r\n\r\n1,1,0.25", "utf-8"
        ),
        lambda p: p.with_suffix(".csv").write_text("0,1;0;1\n1;1;0,25\n"),
        lambda p: p.with_suffix(".csv").write_text("a\tb\tc\n0.1\t0\t1\n1  1  .25 \n"),
        lambda p: p.with_suffix(".json").write_text("[[0.1, 0, 1], [1, 1, 0.25]]"),
        lambda p: p.with_suffix(".json").write_text(
            '{"labels": {"a.png": [0.1, 0, 1], "b.png": [1, 1, 0.25]}}'
        ),
        lambda p: p.with_suffix(".json").write_text(
            json.dumps({"labels": [["a.png", [0.1, 0, 1]], ["b.png", [1, 1, 0.25]]]})
        ),
    ],
    ids=[
        "npy",
        "csv",
        "csv-heading",
        "csv-semicolons",
        "csv-tabs",
        "json",
        "by-name",
        "dataset.json",
    ],
)
def test_labels_from_a_file(run, nets, tmp_path, make):
    make(tmp_path / "labels")
    (file,) = tmp_path.glob("labels.*")
    ok(run("generate", nets["vectors"], "--label", file.name, "--seeds", "4"))
    ok(run("generate", nets["vectors"], "--label", "1,1,0.25", "--seeds", "4", "--outdir", "one"))
    a, b = read("out/seed0004-label1,1,0.25.png"), read("one/seed0004-label1,1,0.25.png")
    assert a.tobytes() == b.tobytes() and a.text["label"] == "1,1,0.25"
    assert (tmp_path / "out" / "seed0004-label0.1,0,1.png").is_file()


def test_a_single_row_and_a_long_one(run, nets, tmp_path):
    np.save("one.npy", np.float32([1, 1, 0.25]))
    ok(run("generate", nets["vectors"], "--label", "one.npy", "--seeds", "4"))
    assert (tmp_path / "out" / "seed0004-label1,1,0.25.png").is_file()
    label = "0.123456789,-0.123456789,1e-7"
    ok(run("generate", nets["vectors"], "--label", label, "--seeds", "4"))
    (path,) = (tmp_path / "out").glob("*-label-????????.png")
    assert read(path).text["label"] == "0.12345679,-0.12345679,0.0000001"


def test_a_mixture_of_classes(run, nets):
    ok(run("generate", nets["classes"], "--label", "0.5,0.5,0", "--seeds", "1"))
    pipe = Pipeline.from_pretrained(nets["classes"], "cpu")
    expected = pipe(seeds=[1], label=[0.5, 0.5, 0]).images[0]
    assert read("out/seed0001-label0.5,0.5,0.png").tobytes() == expected.tobytes()
    names = pipe.networks.class_names
    by_name = f"{names[0]}=0.5,{names[1]}=0.5"
    ok(run("generate", nets["classes"], "--label", by_name, "--seeds", "1", "--outdir", "named"))
    (path,) = Path("named").glob("*.png")
    assert read(path).tobytes() == expected.tobytes()
    code, _, err = run("generate", nets["classes"], "--label", f"{names[0]}=0.5,bird=1")
    assert code == 2 and "label 'bird': expected one of " in err


def test_keyframes_take_the_classes_in_turn(run, nets):
    args = ["--class", "dog", "--class", "é", "--seeds", "1-2", "--frames", "1", "--no-loop"]
    ok(run("video", nets["classes"], *args, "--out", "a.webp", "--save-ws", "a.npz"))
    pipe = Pipeline.from_pretrained(nets["classes"], "cpu")
    expected = torch.cat([pipe.map([1], label="dog").ws, pipe.map([2], label="é").ws])
    assert np.allclose(np.load("a.npz")["ws"], expected, atol=1e-6)


def test_truncation_towards_the_class(run, nets, tmp_path):
    drawn = {}
    for name, more in {"all": ["--trunc-center", "all"], "class": []}.items():
        args = ["--trunc", "0", "--seeds", "0-1", "--outdir", name, *more]
        _, err = ok(run("generate", nets["classes"], "--class", "0", "--class", "1", *args))
        drawn[name] = {read(p).tobytes() for p in (tmp_path / name).iterdir()}
        same = "of a label, the same for every seed with that label"
        assert (same in err) == (name == "class")
    assert len(drawn["all"]) == 1 and len(drawn["class"]) == 2
    file = tmp_path / "class" / "seed0000-class0-trunc0.png"
    assert read(file).text["trunc_center"] == "class"
    assert (tmp_path / "all" / "seed0000-class0-trunc0-center-all.png").is_file()


@pytest.mark.parametrize("command", ["generate", "mix", "video"])
@pytest.mark.parametrize(
    "network, args, message",
    [
        (
            "vectors",
            "--class 1",
            "its labels are lists of 3 numbers, not classes; give --label 0",
        ),
        ("vectors", "--label 1,2", "--label 1,2: this network takes labels of 3 numbers, got 2"),
        ("vectors", "--label 1,2,inf", "--label 1,2,inf: expected finite numbers"),
        ("vectors", "--label nothing.csv", "nothing.csv: cannot be read (No such file"),
        ("vectors", ["--label", ""], "stylegan: --label '': expected numbers like 0.2,1,0"),
        ("vectors", "--label red", "--label red: expected numbers like 0.2,1,0, or a file"),
        ("vectors", "--label bad.json", "bad.json: cannot be read (Expecting value: line 1"),
        (
            "vectors",
            "--label names.csv",
            "names.csv: expected rows of numbers, one row for a ",
        ),
        ("vectors", "--label one.csv", "one.csv: expected rows of numbers"),
        ("vectors", "--label rows.npy", "label 1: this network takes labels of 3 numbers, got 2"),
        ("vectors", "--label objects.npy", "objects.npy: cannot be read (Object arrays cannot"),
        ("vectors", "--label empty.csv", "empty.csv: holds no labels"),
        ("plain", "--class 0", "plain: this network was trained without classes, so --class"),
        ("plain", "--label 0", "so --label does not apply; stylegan info"),
        ("plain", "--trunc-center class", "has no classes, so only all fits"),
        ("classes", "--class Cars", "class 'Cars': expected a number from 0 to 2 or one of cat,"),
        ("classes", "--label Dog", "--label Dog: is a class of this network; give --class Dog"),
        ("classes", "--class 3", "class '3': expected a number from 0 to 2"),
    ],
)
def test_wrong_labels_are_one_line(run, nets, tmp_path, command, network, args, message):
    (tmp_path / "bad.json").write_text("hello")
    (tmp_path / "names.csv").write_text("a,b,c\nx,y,z\n")
    (tmp_path / "one.csv").write_text("a,b,c")
    (tmp_path / "empty.csv").write_text("")
    np.save("rows.npy", np.zeros((2, 2)))
    np.save("objects.npy", np.array([{}]), allow_pickle=True)
    before = sorted(tmp_path.iterdir())
    out = {"video": ["--out", "a.gif"]}.get(command, [])
    args = args.split() if isinstance(args, str) else args
    code, text, err = run(command, nets[network], *args, *out)
    assert code == 2 and message in err and err.count("\n") == 1 and not text, err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "network, row",
    [
        ("plain", "classes       none"),
        ("classes", "classes       cat, dog, é"),
        ("vectors", "classes       none; labels are lists of 3 numbers, 2 of them are kept"),
    ],
)
def test_info_shows_what_labels_a_network_takes(run, nets, network, row):
    out, _ = ok(run("info", nets[network]))
    assert row in out.splitlines()


def test_classes_without_images_are_named(run, nets):
    """They are never drawn by default, so a user who asks for one learns what it is."""
    line = "note: class dog had no training images, so the network has not learned it"
    assert "no images     dog" in ok(run("info", nets["classes"]))[0].splitlines()
    for command, *out in (("generate", "--outdir", "o"), ("mix", "--out", "o.png")):
        _, err = ok(run(command, nets["classes"], "--class", "dog", *out))
        assert line in err.splitlines(), command
        _, err = ok(run(command, nets["classes"], "--class", "cat", *out, "--overwrite"))
        assert "not learned" not in err


@pytest.mark.parametrize(
    "network, line",
    [
        ("plain", None),
        ("classes", "it does not contain the names of the classes: --class takes numbers"),
        ("vectors", "it does not contain the labels of training images: draw with --label"),
    ],
)
def test_convert_says_what_a_pkl_loses_of_labels(run, nets, network, line):
    out, _ = ok(run("convert", nets[network], "a.pkl"))
    assert (line in out) if line else ("does not contain the" not in out)
    out, _ = ok(run("convert", nets[network], "a"))  # a snapshot keeps all of it
    assert "does not contain the" not in out


def test_mix_draws_one_class(run, nets):
    code, _, err = run("mix", nets["classes"], "--class", "0", "--class", "1")
    assert code == 2 and "mix draws one class; give --class or --label once" in err


@pytest.mark.parametrize("command", ["generate", "mix", "video", "spectra"])
def test_a_file_that_keeps_no_labels(run, tmp_path, command):
    """A snapshot of an earlier version."""
    data = {"name": "x", "class_names": []}
    net = snapshot(tmp_path / "net", {"dataset": data}, c_dim=3)
    out = {"video": ["--out", "a.gif"], "spectra": ["--out", "a.npz"]}.get(command, [])
    code, _, err = run(command, net, *out)
    assert code == 2 and "its labels are lists of 3 numbers, and the file keeps none" in err
    if command != "spectra":
        assert "give --label 0.5,0.5,0.5" in err
        ok(run(command, net, "--label", "1,0,0.5", *out))


# Metrics


@pytest.mark.parametrize("kind", ["counts", "vectors", "unknown"])
def test_measured_labels_follow_the_training_set(kind):
    known = {
        "counts": TrainingLabels(3, (3, 0, 9)),
        "vectors": TrainingLabels(3, vectors=torch.tensor([[0.2, 1, 0], [0.5, 0.5, 1]])),
        "unknown": TrainingLabels(3),
    }[kind]
    rng = np.random.default_rng(0)
    drawn = np.stack([known.draw(rng) for _ in range(1200)])
    rows, counts = np.unique(drawn, axis=0, return_counts=True)
    if kind == "counts":
        assert rows.tolist() == [[0, 0, 1], [1, 0, 0]]
        assert abs(counts[0] / 1200 - 0.75) < 0.05
    elif kind == "vectors":
        assert np.allclose(rows, [[0.2, 1, 0], [0.5, 0.5, 1]])
    else:
        assert len(rows) == 3 and counts.min() > 300


def test_spectra_draw_classes_as_often_as_the_training_set_has_them(nets):
    from stylegan.metrics.pictures import of_network

    pipe = Pipeline.from_pretrained(nets["classes"], "cpu")
    seen = []
    pipe.G.mapping.register_forward_pre_hook(lambda module, args: seen.append(args[1]))
    list(of_network(pipe, 400).batches)
    shares = torch.cat(seen).mean(dim=0)
    assert (shares - torch.tensor([0.25, 0, 0.75])).abs().max() < 0.07


@pytest.mark.parametrize("command", ["metrics", "spectra"])
def test_networks_of_label_vectors_are_measured(run, tmp_path, command):
    from support.tiny import tiny

    config = tiny("stylegan3-t", resolution=32, c_dim=3)
    (tmp_path / "net").mkdir()
    known = torch.tensor([[0.2, 1, 0], [0.5, 0.5, 1]])
    G = build_generator(config)
    seen = []
    G.mapping.register_forward_pre_hook(lambda module, args: seen.append(args[1]))
    nets = Networks(config, {"dataset": {"class_names": []}}, G_ema=G, label_vectors=known)
    if command == "metrics":
        from stylegan.metrics.registry import METRICS, Options

        METRICS["eqt"].measure(nets, Options(samples=8))
    else:
        from stylegan.metrics.pictures import of_network

        list(of_network(Pipeline(nets), 8).batches)
    rows = {tuple(row) for c in seen for row in c.tolist()}
    assert rows == {tuple(row) for row in known.tolist()}


# From training to pictures


def trained_on(run, tmp_path, labels, *options):
    """The run folder of a network trained for a step on pictures with these labels."""
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(len(labels)):
        (folder / f"{i}.png").write_bytes(encoded(picture((16, 16), seed=i)))
    rows = [[f"{i}.png", label] for i, label in enumerate(labels)]
    (folder / "dataset.json").write_text(json.dumps({"labels": rows}))
    small = "--channel-base 128 --channel-max 8 --batch 4 --kimg 0.004 --device cpu"
    ok(run("train", "--data", folder, "--cond", *small.split(), *options))
    (found,) = (tmp_path / "runs").iterdir()
    return found


def test_a_run_on_label_vectors_is_drawn_by_every_command(run, tmp_path):
    labels = [[0.2, 1, 0], [0.5, 0.25, 1], [0, 0, 0.75], [1, 1, 1]]
    net = trained_on(run, tmp_path, labels, "--resolution", "16")
    for args in (
        ["generate", "--seeds", "0-7"],
        ["mix", "--rows", "0", "--columns", "1"],
        ["video", "--frames", "1", "--out", "a.gif"],
        ["spectra", "--images", "4", "--out", "a.npz"],
        ["info"],
    ):
        ok(run(args[0], net, *args[1:]))
    drawn = {read(p).text["label"] for p in (tmp_path / "out").iterdir()}
    assert drawn == {",".join(f"{x:.9g}" for x in label) for label in labels}
    code, _, err = run("generate", net, "--class", "1")
    assert code == 2 and "not classes; give --label 0.5,0.5,0.5 in place of --class 1" in err
    ok(run("convert", net, "copy"))
    ok(run("generate", "copy", "--seeds", "0-7", "--outdir", "again"))
    for p in (tmp_path / "out").iterdir():
        assert read(p).tobytes() == read(tmp_path / "again" / p.name).tobytes()


@pytest.mark.thorough
def test_a_run_of_stylegan3_on_label_vectors_is_measured(run, tmp_path):
    data = [[0.2, 1, 0], [0.5, 0.25, 1], [0, 0, 0.75], [1, 1, 1]]
    net = trained_on(run, tmp_path, data, "--resolution", "32", "--cfg", "stylegan3-t")
    out, _ = ok(run("metrics", net, "--metrics", "eqt", "--samples", "8"))
    assert out.startswith("eqt_int")


def test_classes_that_are_numbered_from_1(run, tmp_path):
    net = trained_on(run, tmp_path, [1, 2, 1, 2], "--resolution", "16")
    ok(run("generate", net, "--seeds", "0-5"))
    assert {read(p).text["class"] for p in (tmp_path / "out").iterdir()} == {"1", "2"}
    ok(run("generate", net, "--seeds", "0", "--class", "0"))
    assert (tmp_path / "out" / "seed0000-class0.png").is_file()
