# SPDX-License-Identifier: Apache-2.0
import functools
import json
import re
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from support.native import needs_native
from support.pictures import encoded, picture

import stylegan_ops
from stylegan import Pipeline, UserError
from stylegan.cli.main import COMMANDS, program
from stylegan.training.loop import Trainer

TINY = ["--channel-base", "128", "--channel-max", "8", "--batch", "4", "--device", "cpu"]


def test_train_prints_the_header_and_leaves_a_run(run, tmp_path):
    code, out, err = run("train", *TINY, "--resolution", "16", "--kimg", "0.004")
    assert code == 0, err
    for part in (
        "4,000, 16x16 px, RGB",
        "labels  10 labels (glasses, sunglasses, beard, moustache, hat, long_hair, smile",
        "), used",
        "parameters",
        "memory  about",
        "snapshot: ",
    ):
        assert part in out
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["00000-faces-64-16x16"]


def test_train_on_a_folder_of_odd_pictures(run, tmp_path):
    (tmp_path / "pics").mkdir()
    for i, mode in enumerate(["RGB", "L", "RGBA", "RGB", "1"]):
        image = picture((30 + i, 20), "RGBA", seed=i).convert(mode)
        (tmp_path / "pics" / f"{i} é.png").write_bytes(encoded(image))
    code, out, err = run(
        "train", "--data", "pics", "--resolution", "24x16", "--mirror", *TINY, "--kimg", "0.004"
    )
    assert code == 0, err
    assert "5, 24x16 px, RGB, mirrored" in out
    snapshot = next((tmp_path / "runs").glob("*/snapshots/*"))
    assert Pipeline.from_pretrained(snapshot, "cpu")(seeds=[0]).images[0].size == (24, 16)


def test_dry_run_writes_nothing(run, tmp_path):
    code, out, _ = run("train", "--dry-run", "--device", "cpu")
    assert code == 0 and "32x32 px" in out and list(tmp_path.iterdir()) == []


def test_resume_goes_on_in_the_same_folder(run, tmp_path):
    assert run("train", *TINY, "--resolution", "16", "--kimg", "0.004")[0] == 0
    run_dir = next((tmp_path / "runs").iterdir())
    code, _, err = run("train", "--resume", run_dir, "--kimg", "0.012", "--device", "cpu")
    assert code == 0, err
    assert [p.name for p in sorted(run_dir.glob("snapshots/*"))] == ["000000.004", "000000.012"]
    lines = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["kimg"] == 0.012
    (tmp_path / "grey").mkdir()
    (tmp_path / "grey" / "a.png").write_bytes(encoded(picture((16, 16), "L")))
    code, _, err = run("train", "--resume", run_dir, "--kimg", "1", "--data", "grey", "--no-cond")
    assert code == 2 and re.search(r"--channels +3 +1\n", err) and "is a run with other" in err
    code, _, err = run("train", "--resume", run_dir, "--device", "cpu")
    assert code == 2 and "is at 0.012 kimg and ends at 0.012" in err
    code, _, err = run(
        *("train", "--resume", run_dir, "--kimg", "1", "--device", "cpu"),
        *("--batch", "8", "--pl-weight", "0.5", "--snapshot-minutes", "3", "--workers", "2"),
    )
    *table, line = err.splitlines()
    assert code == 2 and [row.split() for row in table] == [
        ["setting", str(run_dir), "now"],
        ["--batch", "4", "8"],
        ["--pl-weight", "0", "0.5"],
    ]
    assert line.startswith(f"stylegan: {run_dir}: is a run with other settings (above); ")


def test_an_older_snapshot_becomes_a_run_of_its_own(run, tmp_path):
    args = [*TINY, "--resolution", "16", "--snapshot-kimg", "0.004"]
    assert run("train", *args, "--kimg", "0.008")[0] == 0
    first = next((tmp_path / "runs").iterdir())
    older = first / "snapshots" / "000000.004"
    code, out, err = run("train", "--resume", older, "--kimg", "0.012", "--device", "cpu")
    assert code == 0, err
    assert [p.name for p in sorted(first.glob("snapshots/*"))] == ["000000.004", "000000.008"]
    second = sorted((tmp_path / "runs").iterdir())[1]
    names = [p.name for p in sorted(second.glob("snapshots/*"))]
    assert names == ["000000.008", "000000.012"] and str(second) in out.replace(
        "runs", str(tmp_path / "runs")
    )


def test_kimg_lifts_the_time_limit_of_the_demo(run):
    assert "at most 13 minutes" in run("train", "--dry-run", "--device", "cpu")[1]
    assert "at most" not in run("train", "--dry-run", "--kimg", "9", "--device", "cpu")[1]
    assert "at most" not in run("train", "--dry-run", "--minutes", "0", "--device", "cpu")[1]
    limited = run("train", "--dry-run", "--kimg", "9", "--minutes", "3", "--device", "cpu")[1]
    assert "9 kimg" in limited and "at most 3 minutes" in limited


def test_the_end_by_time_is_said(run):
    code, out, _ = run("train", *TINY, "--resolution", "16", "--kimg", "999", "--minutes", "0.01")
    assert code == 0 and "ended by --minutes 0.01 at" in out and "--resume" in out


@pytest.mark.parametrize("name", ["train", "generate", "info"])
def test_a_wrong_environment_variable(run, monkeypatch, name):
    monkeypatch.setenv("STYLEGAN_OPS", "fast")
    code, _, err = run(name)
    assert code == 2 and "STYLEGAN_OPS: expected auto, native or reference" in err


def test_generate_files(run, trained, tmp_path):
    code, _, err = run(
        "generate", trained, "--seeds", "3,5-6", "--trunc", "0.7", "--class", "food & drink"
    )
    assert code == 0, err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        f"seed000{i}-class2-trunc0.7.png" for i in (3, 5, 6)
    ]
    with Image.open(tmp_path / "out" / "seed0005-class2-trunc0.7.png") as image:
        assert image.size == (16, 16) and image.mode == "RGB"
        assert image.text["seed"] == "5" and image.text["trunc"] == "0.7"
        assert image.text["network"] == str(trained) and image.text["class"] == "Food & Drink"
        pixels = np.asarray(image)
    pipe = Pipeline.from_pretrained(trained, "cpu")
    same = pipe(seeds=[5], truncation_psi=0.7, label=2).images[0]
    assert np.abs(np.asarray(same).astype(int) - pixels).max() <= 1


def test_generate_compiled(run, trained, tmp_path, monkeypatch):
    quick = functools.partial(torch.compile, backend="eager")  # half a minute less
    monkeypatch.setattr(torch, "compile", quick)
    args = ["generate", trained, "--seeds", "0-2", "--grid", "--batch", "2", "--device", "cpu"]
    for more in (["--outdir", "plain"], ["--outdir", "compiled", "--compile"]):
        code, _, err = run(*args, *more)
        assert code == 0, err
    plain, compiled = (
        np.asarray(Image.open(tmp_path / name / "grid.png")).astype(int)
        for name in ("plain", "compiled")
    )
    assert np.abs(plain - compiled).max() <= 1
    torch.compiler.reset()


def test_generate_a_sheet_as_webp(run, trained, tmp_path):
    code, _, err = run(
        "generate", trained, "--seeds", "0-6", "--grid", "--columns", "3", "--format", "webp"
    )
    assert code == 0, err
    with Image.open(tmp_path / "out" / "grid.webp") as image:
        assert image.size == (8 * 48, 8 * 48)
        assert json.loads(image.getexif()[0x010E])["seeds"] == "0,1,2,3,4,5,6"


def test_mix(run, trained, tmp_path):
    code, _, err = run(
        "mix", trained, "--rows", "1,2", "--columns", "3-5", "--layers", "0-1", "--class", "1"
    )
    assert code == 0, err
    with Image.open(tmp_path / "mix.png") as image:
        assert image.size == (4 * 128, 3 * 128) and image.text["layers"] == "0,1"


def test_info(run, trained):
    code, out, err = run("info", trained)
    assert code == 0, err
    assert "0.008 kimg" in out and "Food & Drink" in out and "16x16 px, 3 channels" in out
    code, out, _ = run("info", trained, "--json")
    assert re.fullmatch(r"[\d,]+ parameters", json.loads(out)["G_ema"])
    code, out, _ = run("info", "emoji")
    assert code == 0 and "3,080" in out and "Smileys & Emotion (166)" in out
    code, out, _ = run("info")
    assert code == 0 and "4,000" in out and "sunglasses" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(run, name):
    code, out, _ = run(name, "--help")
    assert code == 0 and f"  stylegan {name} " in out


@pytest.mark.parametrize(
    "args, message",
    [
        ("train --batch many", "Invalid value for '--batch'"),
        ("train --batch 2.5", "'2.5' is not a whole number\n"),
        ("train --colour", "No such option"),
        ("train --zz", "No such option '--zz'; stylegan train --help shows what there is\n"),
        ("train --kimg 0,5", "'0,5' is not a number like 0.7\n"),
        ("train photos", "(photos); --data gives the images, as in stylegan train --data photos\n"),
        ("train --data nothing", "nothing: there is no such folder or zip"),
        ("train --data {empty}", "holds no images that can be opened"),
        ("train --data {text}", "expected a folder or a zip"),
        ("train --resolution 99", "99x99 px cannot be halved"),
        ("train --resolution 64x", "expected a size like 256"),
        ("train --batch 6 --batch-gpu 4", "4 does not divide batch 6; 3 does\n"),
        (
            "train --device gpu9",
            "device 'gpu9': expected auto, cpu, cuda, cuda:1, mps or xpu\n",
        ),
        ("train --resample-filter 1,-1", "resample_filter: the taps add up to 0"),
        (
            "train --mapping-layers 0 --z-dim 64",
            "mapping_layers: without layers z is w: expected z_dim and w_dim to be equal, got 64",
        ),
        (
            "train --mapping-layers 0 --cond",
            "mapping_layers: expected 1 or more in a network with labels, got 0\n",
        ),
        (
            "train --mbstd-channels 5000 --device cpu",
            "mbstd_channels: expected 0 or a divisor of 128, the channels of the last block of D; "
            "got 5000\n",
        ),
        ("train --resume nothing", "nothing: there is no such folder"),
        ("train --resume {trained} --preset auto", "--preset does not go with --resume"),
        ("generate", "'NETWORK'; stylegan generate --help shows what there is\n"),
        ("generate nothing", "nothing: there is no such folder"),
        ("generate {text}", "expected the folder of a run or of a snapshot, or a network file"),
        ("generate {trained} --seeds 1,x", "expected numbers like 0,3,5-9"),
        ("generate {trained} --seeds 5-1", "'5-1' counts down; write 1-5\n"),
        ("generate {trained} --seeds 9999999999", "seed: expected an integer"),
        (
            "generate {trained} --class Cars",
            "class 'Cars': expected a number from 0 to 7 or one of Activities",
        ),
        ("generate {trained} --class 8", "class '8': expected a number from 0 to 7"),
        ("generate {trained} --seeds 0-9999999", "'0-9999999' is more than a million numbers\n"),
        ("generate {trained} --trunc 0,7", "'0,7' is not a number like 0.7\n"),
        ("generate {trained} --trunc nan", "expected a finite number"),
        ("generate {trained} --outdir {text}/x", "cannot make the folder"),
        ("generate {trained} --device meta", "device 'meta': expected auto, cpu, cuda"),
        (
            "generate {trained} --seeds 0-2000 --grid --columns 2000 --format webp",
            "at most 16383 px a side",
        ),
        ("mix {trained} --layers 5-9", "layers: expected numbers from 0 to 5"),
        ("mix {trained} --layers 0-99", "from 0 to 5, got [6, 7, 8]\n"),
        ("mix {trained} --out mix.bmp", "ends in .png or .webp"),
        ("info nothing", "nothing: there is no such folder or file; check the path\n"),
        ("info {empty} --sheet a.txt", "expected a name that ends in .png, got a.txt\n"),
        ("spectra nothing", "nothing: there is no such folder or file; check the path\n"),
        ("paint", "No such command 'paint'; stylegan --help shows what there is\n"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(run, trained, tmp_path, args, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("hello")
    places = {"trained": trained, "empty": tmp_path / "empty", "text": tmp_path / "text"}
    code, out, err = run(*(part.format(**places) for part in args.split()))
    assert code == 2
    assert message in err and err.startswith("stylegan") and err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_debug_shows_the_traceback(run):
    for args in (["--debug", "info", "nothing"], ["info", "nothing", "--debug"]):
        result = CliRunner().invoke(program, args)
        assert isinstance(result.exception, UserError)  # it came out instead of a line


@needs_native
def test_native_kernels_alone(run, monkeypatch):
    options = "train --ops native --device cpu --resolution 16 --dry-run".split()
    code, out, err = run(*options)
    assert code == 0 and "ops     compiled kernels for this CPU" in out, err
    monkeypatch.setattr(stylegan_ops, "load", lambda device: "there is no compiler")
    code, _, err = run(*options)
    assert code == 2 and err.endswith("backend native: no cpu kernels: there is no compiler\n")


def test_a_folder_of_runs_means_the_newest(trained, run, tmp_path):
    for name in ("00001-old-16x16", "00002-new-16x16"):
        shutil.copytree(trained, tmp_path / "runs" / name)
    shutil.rmtree(tmp_path / "runs" / "00002-new-16x16" / "snapshots")  # has only begun
    code, out, err = run("info", "runs", "--json")
    assert code == 0 and "00001-old-16x16" in json.loads(out)["snapshot"], (out, err)
    code, out, _ = run("generate", "runs", "--seeds", "1")
    assert code == 0 and out == "1 image in out\n"


@pytest.mark.parametrize(
    "command, advice",
    [
        ("train", "--batch-gpu with a smaller number needs less"),
        ("generate", "--batch with a smaller number needs less"),
        ("mix", "--batch with a smaller number needs less"),
        ("spectra", "--batch with a smaller number needs less"),
    ],
)
def test_out_of_memory_says_what_needs_less(command, advice, trained, run, monkeypatch):
    def fail(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Pipeline, "from_pretrained", fail)
    monkeypatch.setattr(Trainer, "__init__", fail)
    args = ["--resolution", "16", "--device", "cpu"] if command == "train" else [trained]
    code, _, err = run(command, *args)
    assert code == 1 and err.endswith(f"out of memory; {advice} (CUDA out of memory)\n"), err
