# SPDX-License-Identifier: Apache-2.0
"""--class, --label and --trunc-center of `metrics` and `spectra`."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from support.pictures import encoded, picture
from support.snapshots import NAMES, ROWS, classes, named, snapshot
from support.tiny import with_contrast

from stylegan import Networks, Pipeline, build_generator, load_networks
from stylegan.config import preset
from stylegan.metrics.labels import TrainingLabels


def stylegan3(folder):
    """A StyleGAN3 of 32 px whose labels have names."""
    fields = dict(resolution=32, channel_base=512, channel_max=16)
    config = preset("stylegan3-t", c_dim=3, **fields).resolved()
    torch.manual_seed(0)
    data = {"name": "x", "class_names": [], "label_names": list(NAMES)}
    folder.mkdir()
    G = with_contrast(build_generator(config))
    vectors = torch.tensor(ROWS)
    Networks(config, {"kimg": 1, "dataset": data}, G_ema=G, label_vectors=vectors).save(folder)
    return folder


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    made = {"classes": classes, "named": named, "plain": snapshot, "stylegan3": stylegan3}
    return {name: make(folder / name) for name, make in made.items()}


def spectrum(run, *args):
    code, _, err = run("spectra", *args, "--images", "4", "--out", "s.npz", "--overwrite")
    assert code == 0, err
    with np.load("s.npz") as content:
        return content["power_0"], err


@pytest.mark.parametrize(
    "network, asked",
    [
        ("classes", ["--class", "cat"]),
        ("classes", ["--label", "0.5,0,0.5"]),
        ("named", ["--label", "glasses,hat=0"]),
        ("named", ["--label", "é,others=0", "--trunc", "0.5"]),
    ],
)
def test_spectra_of_other_labels(run, nets, network, asked):
    usual, _ = spectrum(run, nets[network])
    other, err = spectrum(run, nets[network], *asked)
    assert not np.allclose(usual, other, rtol=1e-3) and "note" not in err
    again, _ = spectrum(run, nets[network], *asked)
    assert np.array_equal(again, other)


def test_spectra_truncate_towards_the_class(run, nets):
    by_class, _ = spectrum(run, nets["classes"], "--trunc", "0.3")
    by_all, _ = spectrum(run, nets["classes"], "--trunc", "0.3", "--trunc-center", "all")
    assert not np.allclose(by_class, by_all, rtol=1e-3)


def test_notes_of_spectra(run, nets, tmp_path):
    _, err = spectrum(run, nets["classes"], "--class", "dog")
    assert "note: class dog had no training images" in err
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(encoded(picture()))
    _, err = spectrum(run, "pictures", "--class", "dog", "--trunc", "0.5")
    assert "note: --trunc, --class have no effect without a network" in err


def test_metrics_of_other_labels(run, nets, tmp_path):
    values, centers = [], []
    for more in (
        [],
        ["--label", "hat=0,others=1"],
        ["--trunc", "0.5"],
        ["--trunc", "0.5", "--trunc-center", "all"],
    ):
        args = ["--metrics", "eqr", "--samples", "3", "--json", "m.json", "--overwrite", *more]
        code, _, err = run("metrics", nets["stylegan3"], *args)
        assert code == 0, err
        content = json.loads((tmp_path / "m.json").read_text())
        values.append(content["metrics"][0]["value"])
        centers.append(content.get("trunc_center"))
    assert len(set(values)) == 4
    assert centers == [None, None, "class", "all"]


def test_asked_labels_are_drawn_equally_often(nets):
    networks = load_networks(nets["named"], "cpu")
    labels = TrainingLabels.asked_for(networks, [{"glasses": 1, "hat": 1}, [0.0, 0.0, 0.0]])
    rng = np.random.default_rng(0)
    drawn = [tuple(labels.draw(rng).tolist()) for _ in range(600)]
    fits = [(1, 1, 0.5), (1, 1, 0), (0, 0, 0)]  # the rest is that of training images
    assert set(drawn) == set(fits)
    assert [
        abs(drawn.count(row) / 600 - share) < 0.08 for row, share in zip(fits, (0.25, 0.25, 0.5))
    ]


@pytest.mark.parametrize("command", ["metrics", "spectra"])
@pytest.mark.parametrize(
    "network, args, message",
    [
        ("plain", "--class 0", "this network was trained without classes, so --class does not"),
        ("plain", "--trunc-center class", "this network has no classes, so only all fits"),
        ("classes", "--class Cars", "class 'Cars': expected a number from 0 to 2 or one of cat,"),
        ("named", "--label beard", "label 'beard': expected one of glasses, Hat, é"),
        ("named", "--label others=x", "label 'others': expected a number, got 'x'"),
    ],
)
def test_wrong_labels_are_one_line(run, nets, tmp_path, command, network, args, message):
    more = {"metrics": ["--metrics", "eqt"], "spectra": ["--out", "a.npz"]}[command]
    code, text, err = run(command, nets[network], *args.split(), *more)
    assert code == 2 and message in err and err.count("\n") == 1 and not text, err


def test_others_are_the_labels_without_a_name(nets):
    pipe = Pipeline.from_pretrained(nets["named"], "cpu")
    c = pipe.labels({"hat": 0.5, "others": 0}, [0, 1]).c
    assert c.tolist() == [[0, 0.5, 0]] * 2
    assert pipe.labels("others=0,hat=0.5", [0]).c.tolist() == [[0, 0.5, 0]]


def test_many_different_labels_take_little_time(nets):
    """The mean of a vector, of which every image may have its own, takes few latents."""
    pipe = Pipeline.from_pretrained(nets["named"], "cpu")
    mapped = []
    pipe.G.mapping.register_forward_hook(lambda module, args, out: mapped.append(len(out)))
    c = torch.rand(64, 3)
    pipe.map(range(64), label=c, truncation_psi=0.5)
    assert sum(mapped) <= 64 + 64 * 256
    pipe.map(range(64), label=c, truncation_psi=0.7)
    assert sum(mapped) <= 128 + 64 * 256


def test_a_label_with_others_has_a_short_name(run, tmp_path):
    net = named(tmp_path / "net", ("a", "b", "c", "d"), ((1.0, 0.0, 0.0, 0.0),))
    code, _, err = run("generate", net, "--label", "B,others=0", "--seeds", "0")
    assert code == 0 and "note" not in err
    (file,) = (tmp_path / "out").iterdir()
    assert file.name == "seed0000-label-b,others=0.png"
    with Image.open(file) as image:
        assert image.text["label"] == "b,others=0"
        assert image.text["label_values"] == "a=0,b=1,c=0,d=0"
