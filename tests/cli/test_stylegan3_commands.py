# SPDX-License-Identifier: Apache-2.0
"""StyleGAN3 at the command line."""

import json
import re

import numpy as np
import pytest
from PIL import Image


def test_train_says_what_it_trains_and_goes_on(run, tmp_path):
    small = "--channel-base 128 --channel-max 8 --batch 4 --resolution 16 --device cpu".split()
    code, out, err = run("train", "--cfg", "stylegan3-r", *small, "--kimg", "0.008")
    assert code == 0, err
    assert "parameters; StyleGAN3-R" in out and "no path length, blur 10 px until 25 kimg" in out
    run_dir = next((tmp_path / "runs").iterdir())
    code, out, err = run("train", "--resume", run_dir, "--kimg", "0.012", "--device", "cpu")
    assert code == 0 and "snapshots/000000.012" in out, err
    assert "stylegan3" in (run_dir / "report.html").read_text("utf-8")
    again = ["train", *small, "--resume", "auto", "--kimg", "0.016", "--dry-run", "--cfg"]
    code, out, err = run(*again, "stylegan3-r")
    assert code == 0 and "a new one begins" not in out, err
    code, out, err = run(*again, "auto")
    assert code == 0 and re.search(r"model +stylegan3 +stylegan2\n", out), err


def test_info_and_runs(run, trained3):
    code, out, err = run("info", trained3)
    assert code == 0 and "StyleGAN3-T; D resnet" in out and "16 ws" in out, err
    code, out, err = run("runs", trained3.parent)
    assert code == 0 and "finished" in out, err


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image).astype(int), image.text


def test_generate_moves_and_turns(run, trained3):
    args = ["generate", trained3, "--seeds", "3", "--device", "cpu", "--outdir"]
    for name, *options in (
        ("still",),
        ("moved", "--translate", "0.25,-0.125"),
        ("turned", "--rotate", "-90"),
        ("again", "--translate", "0,0", "--rotate", "0"),
    ):
        code, _, err = run(*args, name, *options)
        assert code == 0, err
    files = (
        "still/seed0003.png",
        "moved/seed0003-move0.25,-0.125.png",
        "turned/seed0003-rotate-90.png",
        "again/seed0003-move0,0-rotate0.png",
    )
    still, moved, turned, again = map(pixels, files)
    assert moved[1]["translate"] == "0.25,-0.125" and turned[1]["rotate"] == "-90.0"
    assert "rotate" not in still[1] and np.abs(still[0] - again[0]).max() <= 1
    # 4 px to the right and 2 px up.
    error = np.abs(moved[0][:14, 4:] - still[0][2:, :12]).mean()
    assert error < 0.2 * np.abs(moved[0] - still[0]).mean()
    assert np.abs(turned[0] - still[0]).max() > 3


def test_mix(run, trained3):
    code, _, err = run("mix", trained3, "--rows", "1", "--columns", "2,3", "--layers", "0-15")
    assert code == 0, err
    with Image.open("mix.png") as image:
        assert image.size == (3 * 128, 2 * 128)


@pytest.mark.parametrize(
    "args, message",
    [
        ("train --cfg stylegan3-t --resolution 48", "not 48x48; the nearest is 64"),
        ("train --cfg stylegan3-t --resolution 64x32", "not 64x32; the nearest is 32"),
        ("train --cfg stylegan3", "'stylegan3' is not one of"),
        ("train --cfg stylegan3-t --g-architecture skip", "g_architecture: stylegan3 has no such"),
        ("generate {trained} --rotate 5", "only StyleGAN3 can; this network is StyleGAN2; leave"),
        ("generate {trained} --translate 0.1,0", "translate, rotate: only StyleGAN3 can"),
        ("generate {trained3} --translate 0.1", "expected two numbers like 0.25,-0.1, got '0.1'"),
        ("generate {trained3} --translate nan,0", "expected finite numbers"),
        ("generate {trained3} --rotate inf", "expected a finite number"),
        ("mix {trained3} --layers 16", "layers: expected numbers from 0 to 15"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(run, trained, trained3, args, message):
    parts = (part.format(trained=trained, trained3=trained3) for part in args.split())
    code, out, err = run(*parts)
    assert code == 2
    assert message in err and err.startswith("stylegan") and err.count("\n") == 1


def test_the_settings_are_saved_with_their_model(trained3):
    config = json.loads((trained3 / "run.json").read_text())["config"]
    assert config["G"]["model"] == "stylegan3" and config["G"]["conv_kernel"] == 3
