# SPDX-License-Identifier: Apache-2.0
"""What one command does right, the others do too."""

import json

import click
import numpy as np
import pytest
from PIL import Image

from stylegan.cli.drawing import Drawing
from stylegan.cli.main import COMMANDS, program
from stylegan.cli.params import Command
from stylegan.inference.pipeline import Pipeline

DRAW = ("generate", "mix", "video")


def command_of(name):
    return program.get_command(click.Context(program), name)


def options_of(name):
    return [p for p in command_of(name).params if isinstance(p, click.Option)]


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_given_twice_adds_up_or_is_refused(name):
    command = command_of(name)
    assert isinstance(command, Command)
    for option in options_of(name):
        if option.is_flag and not option.secondary_opts or option.name == "help":
            continue
        words = [option.opts[0], *([] if option.is_flag else ["1"])]
        if option.multiple:
            continue
        with pytest.raises(click.UsageError, match="given 2 times; give it once"):
            command.make_context(name, [*words, *words])


def test_options_of_two_names_and_their_opposites(run, places):
    for args in (
        "train --preset demo --cfg auto",
        "train --mirror --no-mirror",
        "train --batch 4 --batch=8",
        f"video {places['net']} --loop --no-loop",
        f"dataset {places['data']} x --labels --no-labels",
    ):
        code, _, err = run(*args.split())
        assert code == 2 and "given 2 times; give it once" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "args, values",
    [
        ("generate N --seeds 1 --seeds 4-5,1", {"seeds": [1, 4, 5, 1]}),
        ("generate N", {"seeds": [*range(16)]}),
        ("generate N --class 1 --class 0", {"classes": ("1", "0")}),
        ("generate N --label 1,2 --label a.npy", {"labels": ("1,2", "a.npy")}),
        ("generate N --latents a --latents b", {"latents": ("a", "b")}),
        ("mix N --rows 1 --rows 3 --columns 0 --columns 9", {"rows": [1, 3], "columns": [0, 9]}),
        ("mix N --layers 0 --layers 4-5", {"layers": [0, 4, 5]}),
        ("mix N", {"rows": [0, 1, 2, 3], "layers": [0, 1, 2, 3]}),
        ("video N --seeds 1 --seeds 2", {"seeds": [1, 2]}),
        ("video N", {"seeds": None}),
        ("video N --keyframes a --keyframes b", {"keyframes": ("a", "b")}),
        ("metrics N --metrics eqt --metrics eqr,eqt", {"names": ["eqt", "eqr", "eqt"]}),
        ("spectra N --out a.npz --out b.npz", {"outs": ("a.npz", "b.npz")}),
    ],
)
def test_lists_add_up(args, values):
    name, *rest = args.split()
    with command_of(name).make_context(name, rest) as context:
        assert {key: context.params[key] for key in values} == values


def test_commands_that_draw_have_the_same_options():
    wanted = set(Drawing.__dataclass_fields__) - {"network"}
    for name in DRAW:
        options = {o.name: o for o in options_of(name)}
        assert wanted <= options.keys()
        for key in wanted - {"noise_mode"}:
            first = next(o for o in options_of("generate") if o.name == key)
            assert (options[key].opts, options[key].help) == (first.opts, first.help)
        assert "--save-ws" in [o.opts[0] for o in options_of(name)]


@pytest.mark.parametrize("name", ["generate", "mix", "video", "metrics", "spectra"])
def test_commands_that_draw_have_a_device_a_batch_and_truncation(name):
    flags = {flag for option in options_of(name) for flag in option.opts}
    assert {"--device", "--batch", "--trunc", "--overwrite"} <= flags


@pytest.mark.parametrize(
    "args",
    [
        "generate {net} --seeds 0-3 --batch 1",
        "mix {net} --rows 0-1 --columns 2-3 --batch 1",
        "video {net} --seeds 0-1 --frames 3 --out a.gif --batch 1",
        "spectra {net} --images 3 --out a.npz --batch 1",
    ],
)
def test_batch_is_the_number_of_images_at_once(run, places, monkeypatch, args):
    from stylegan.inference import drawer

    batches = []

    def noted(run, count, batch, *rest):
        batches.append(min(batch, count))
        return in_batches(run, count, batch, *rest)

    in_batches = drawer.in_batches
    monkeypatch.setattr(drawer, "in_batches", noted)
    code, _, err = run(*args.format(**places).split())
    assert code == 0 and set(batches) == {1}, err


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize(
    "args, message",
    [
        ("--trunc nan", "expected a finite number"),
        ("--trunc-cutoff -1", "-1 is not in the range x>=0"),
        ("--batch 0", "0 is not in the range x>=1"),
        ("--device meta", "device 'meta': expected auto, cpu, cuda"),
        ("--noise-mode some", "'some' is not one of"),
        ("--save-ws text/a.npz", "cannot make the folder"),
        ("--save-ws folder.npz", "is a directory"),
        ("{seeds} 0-1,4294967296", "seed: expected an integer from 0 to 2^32 - 1, got 4294967296"),
        ("{seeds} 5-1", "counts down; write 1-5"),
    ],
)
def test_the_same_errors(run, places, tmp_path, name, args, message):
    (tmp_path / "text").touch()
    (tmp_path / "folder.npz").mkdir()
    before = sorted(tmp_path.iterdir())
    args = args.format(seeds="--rows" if name == "mix" else "--seeds").split()
    out = ["--out", "a.gif"] if name == "video" else []
    code, text, err = run(name, places["net"], *args, *out)
    assert code == 2 and message in err and err.count("\n") == 1 and not text, err
    left = [p for p in tmp_path.iterdir() if p.name != "out"]
    assert sorted(left) == before


@pytest.mark.parametrize(
    "args",
    [
        "generate {net} --seeds 0-2100 --grid --columns 2 --format webp",
        "generate {net} --seeds 0-2000 --grid --columns 2000 --format webp",
        "mix {net} --rows 0-1100 --columns 0 --out a.webp",
        "mix {net} --rows 0 --columns 0-1100 --out a.WEBP",
        "video {net} --grid 1x1100 --out a.webp",
        "video {net} --grid 1100x1 --out a.webp",
    ],
)
def test_the_size_limit_of_webp(run, places, monkeypatch, args):
    monkeypatch.setattr(Pipeline, "__call__", None)
    code, _, err = run(*args.format(**places).split())
    assert code == 2 and "holds at most 16383 px a side" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "args, message",
    [
        ("generate {net3} --seeds 0-1 --noise-mode random", "--noise-mode random has no effect"),
        ("generate {net3} --seeds 0-1 --noise-mode none", "no noise inputs; --noise-mode none has"),
        ("mix {net3} --rows 0 --columns 1 --noise-mode random", "has no noise inputs"),
        ("video {net3} --frames 1 --noise-mode none --out a.gif", "has no noise inputs"),
        ("generate {net} --seeds 0-2 --trunc 0", "--trunc 0 draws the average image, the same for"),
        ("mix {net} --rows 0 --columns 1 --trunc 0", "--trunc 0 draws the average image"),
        ("video {net} --frames 1 --trunc 0 --out a.gif", "--trunc 0 draws the average image"),
        ("spectra {data} --trunc 0.5 --out a.npz", "--trunc has no effect without a network"),
        ("spectra {net} --images 2 --resolution 8 --out a.npz", "--resolution has no effect"),
    ],
)
def test_options_without_effect_get_a_note(run, places, args, message):
    code, _, err = run(*args.format(**places).split())
    notes = [line for line in err.splitlines() if line != "data: 3 of 3 images"]  # of spectra
    assert code == 0 and notes[0].startswith("note: ") and message in notes[0], err
    assert len(notes) == 1, err


@pytest.mark.parametrize(
    "args, message",
    [
        ("generate {net} --columns 3", "--columns goes with --grid, which writes one sheet"),
        ("info {net} --sheet a.png", "--sheet is for data sets"),
        ("info {data} --like {net}", "--like is for networks"),
        ("info {data} --sheet a.png --no-sheet", "--sheet does not go with --no-sheet"),
    ],
)
def test_options_that_would_be_dropped_are_refused(run, places, tmp_path, args, message):
    code, _, err = run(*args.format(**places).split())
    assert code == 2 and message in err and list(tmp_path.iterdir()) == []


def test_suffixes_may_be_capitals(run, places, tmp_path):
    for args in (
        "mix {net} --rows 0 --columns 1 --out a.PNG",
        "video {net} --frames 1 --out b.WebP",
        "spectra {net} --images 2 --out c.JSON --out d.NPZ",
    ):
        code, _, err = run(*args.format(**places).split())
        assert code == 0, err
    assert Image.open("a.PNG").format == "PNG" and Image.open("b.WebP").format == "WEBP"
    assert json.loads((tmp_path / "c.JSON").read_text())["net"]["images"] == 2
    assert "power_0" in np.load("d.NPZ").files
