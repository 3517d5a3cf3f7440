# SPDX-License-Identifier: Apache-2.0
"""`--resume auto` and `--init-from`."""

import json
import os
import re
import shutil

import pytest
from support.pictures import encoded, picture

from stylegan import load_networks
from stylegan.runs.folder import read_about, runs_of
from stylegan.snapshots import snapshots_of

SMALL = "--channel-base 128 --channel-max 8 --batch 4 --resolution 16 --device cpu".split()


@pytest.fixture
def train(run, tmp_path):
    """train("--kimg", "1") -> (exit code, standard output, standard error, run folders)."""

    def go(*options, small=SMALL):
        rest = list(small)
        for option in {o for o in options if str(o).startswith("--")}.intersection(
            small
        ):  # given twice it would be refused
            at = rest.index(option)
            del rest[at : at + 2]
        code, out, err = run("train", *rest, *options)
        return code, out, err, runs_of(tmp_path / "runs")

    return go


def test_auto_begins_goes_on_and_is_finished(train):
    auto = ("--resume", "auto", "--kimg", "0.012")
    code, out, err, runs = train(*auto, "--minutes", "0.00001")
    assert code == 0 and len(runs) == 1 and "ended by --minutes" in out, err
    for _ in range(2):
        code, out, err, runs = train(*auto)
        assert code == 0 and len(runs) == 1, err
    assert "is finished, at 0.012 kimg" in out
    assert snapshots_of(runs[0])[-1].name == "000000.012"


def test_auto_takes_no_run_with_other_settings(train):
    assert train("--resume", "auto", "--kimg", "0.004")[0] == 0
    code, out, err, runs = train("--resume", "auto", "--kimg", "0.008", "--mirror", "--g-lr", "0.1")
    assert code == 0 and len(runs) == 2, err
    assert "has these settings, so a new one begins" in out and re.search(
        r"--g-lr +0.0025 +0.1\n", out
    )
    code, out, err, runs = train("--resume", "auto", "--kimg", "0.008")
    assert code == 0 and len(runs) == 2 and f"folder  runs/{runs[0].name}" in out
    assert read_about(runs[0])["config"].train.kimg == 0.008


def test_auto_takes_no_run_on_other_images(train, tmp_path):
    assert train("--resume", "auto", "--kimg", "0.004")[0] == 0
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "a.png").write_bytes(encoded(picture((16, 16))))
    options = ["--preset", "demo", "--kimg", "0.008", "--data", "pics", "--resume", "auto"]
    code, out, err, runs = train(*options)
    assert code == 0 and len(runs) == 2 and "--data" in out, err


def test_a_run_that_was_killed_before_its_first_snapshot(train):
    _, _, _, (run_dir,) = train("--kimg", "0.008")
    expected = (run_dir / "log.jsonl").read_text()
    for snapshot in snapshots_of(run_dir):
        for path in snapshot.iterdir():
            path.unlink()
        snapshot.rmdir()
    code, out, err, runs = train("--resume", run_dir, small=["--device", "cpu"])
    assert code == 0 and runs == [run_dir], err
    losses = [
        [json.loads(line).get("loss/G") for line in text.splitlines() if "loss/G" in line]
        for text in (expected, (run_dir / "log.jsonl").read_text())
    ]
    assert losses[0] == losses[1] and losses[0]


def test_init_from_says_what_fits(train):
    emoji = ("--data", "emoji", "--kimg", "0.004")
    _, _, _, (first,) = train(*emoji, "--cond")
    code, out, err, runs = train(*emoji, "--init-from", first, "--seed", "7")
    assert code == 0 and len(runs) == 2, err
    assert f"weights of {first}" in out and "8 classes" in out
    rows = {tuple(line.split()[:2]): line for line in out.splitlines()}
    assert rows["G", "mapping"].endswith("5 of 5  the mean of its labels")
    assert "D learns b4 anew and keeps the rest" in out
    assert rows["D", "b16"].split()[2] == rows["D", "b16"].split()[4] != "0"
    assert read_about(runs[1])["config"].train.init_from == os.path.abspath(first)
    assert json.loads((runs[1] / "log.jsonl").read_text().splitlines()[1])["kimg"] == 0.004
    code, out, err, runs = train("--resume", runs[1], "--kimg", "0.008", small=["--device", "cpu"])
    assert code == 0 and "weights of" not in out, err


PLAIN = "--batch 4 --kimg 0.004 --resolution 16 --device cpu --dry-run --data emoji".split()


def test_init_from_takes_the_structure_of_the_network(train):
    layers = ("--mapping-layers", "8", "--z-dim", "16", "--w-dim", "16", "--d-channel-max", "6")
    _, _, _, (first,) = train("--kimg", "0.004", "--data", "emoji", *layers)
    code, out, err, _ = train("--init-from", first, small=PLAIN)
    assert code == 0, err
    assert f"structure of {first}: --z-dim 16 --w-dim 16 --mapping-layers 8" in out
    assert "G keeps everything: the first sheet shows its images\n  D keeps everything" in out
    # Options come first, and the table says what they cost.
    code, out, _, _ = train("--init-from", first, "--mapping-layers", "2", small=PLAIN)
    assert code == 0 and "8 layers there, 2 here" in out
    assert "the first sheet shows noise" in out
    assert "to make more of it fit: --mapping-layers 8" in out
    code, _, err, _ = train(
        "--init-from",
        first,
        "--z-dim",
        "8",
        "--channel-max",
        "4",
        "--d-channel-max",
        "4",
        small=PLAIN,
    )
    assert code == 2 and "nothing of it fits the new network" in err
    assert "--z-dim 16" in err and err.count("\n") == 1
    # A preset sets how to train.
    code, out, err, _ = train("--init-from", first, "--cfg", "paper256", small=PLAIN)
    assert code == 0 and "G keeps everything" in out and "R1 gamma 1," in out, err


def test_init_from_takes_the_model_of_the_network(train):
    _, _, _, (first,) = train("--kimg", "0.004", "--cfg", "stylegan3-r")
    code, out, err, _ = train("--init-from", first, small=PLAIN)
    assert code == 0 and "StyleGAN3-R" in out and "G keeps everything" in out, err
    code, out, err, _ = train("--init-from", first, "--cfg", "stylegan3-t", small=PLAIN)
    assert code == 2 or "StyleGAN3-T" in out and "G keeps everything" not in out


def test_init_from_moves_the_weights(train):
    """A step so small that nothing else does."""
    tiny = ("--g-lr", "1e-12", "--d-lr", "1e-12")
    _, _, _, (first,) = train("--kimg", "0.004")
    _, _, _, runs = train("--kimg", "0.004", "--init-from", first, "--seed", "7", *tiny)
    a, b = (load_networks(r, "cpu").G.mapping.fc0.weight for r in runs)
    assert (a - b).abs().max() < 1e-6 and a.abs().max() > 0.1


def test_init_from_and_resume(train):
    code, _, err, _ = train("--init-from", "a", "--resume", "b", small=[])
    assert code == 2 and "--init-from starts a new run, --resume continues one" in err
    code, _, err, runs = train("--init-from", "nothing")
    assert code == 2 and "nothing: there is no such folder" in err and not runs


def test_max_images_and_channels(train):
    code, out, err, _ = train("--max-images", "9", "--channels", "1", "--dry-run")
    assert code == 0 and "images  9, 16x16 px, grey" in out, err


def test_rgba_trains_with_previews_on_a_checkerboard(train, tmp_path):
    from PIL import Image

    (tmp_path / "pics").mkdir()
    for i in range(4):
        (tmp_path / "pics" / f"{i}.png").write_bytes(encoded(Image.new("RGBA", (16, 16))))
    options = ["--data", "pics", "--preset", "demo", "--kimg", "0.008"]
    code, out, err, (run_dir,) = train(*options)
    assert code == 0 and "4, 16x16 px, RGBA" in out, err
    reals = Image.open(run_dir / "samples" / "reals.png")
    assert reals.mode == "RGB" and sorted(reals.getcolors())[0][1] == (204, 204, 204)
    assert {c for _, c in reals.getcolors()} == {(204, 204, 204), (255, 255, 255)}
    assert Image.open(run_dir / "samples" / "000000.008.png").mode == "RGB"
    assert load_networks(run_dir, "cpu").G_ema.config.channels == 4


def test_labels_that_are_not_used_are_warned_of(train, tmp_path):
    for c in "ab":
        (tmp_path / "pics" / c).mkdir(parents=True)
        (tmp_path / "pics" / c / "0.png").write_bytes(encoded(picture((16, 16))))
    options = ["--data", "pics", "--dry-run", "--batch", "2"]
    assert train(*options)[1].count("not used (--cond uses them)") == 1  # in the row of labels
    assert "not used" not in train(*options, "--cond")[1]


def test_a_snapshot_anywhere_goes_on_as_a_new_run(train, tmp_path):
    _, _, _, (first,) = train("--kimg", "0.004")
    shutil.copytree(snapshots_of(first)[-1], tmp_path / "best")
    code, out, err, runs = train("--resume", "best", "--kimg", "0.008", small=["--device", "cpu"])
    assert code == 0 and len(runs) == 2, err
    assert "resume  continues at 0.004 kimg from " in out
    assert snapshots_of(runs[1])[-1].name == "000000.008"
    code, _, err, _ = train("--resume", "best", small=["--device", "cpu"])
    assert code == 2 and "best: is at 0.004 kimg and ends at 0.004" in err


def test_a_run_whose_description_is_damaged(train):
    _, _, _, (run_dir,) = train("--kimg", "0.004")
    (run_dir / "run.json").write_text("{")
    code, _, err, runs = train("--resume", run_dir, "--kimg", "0.008", small=["--device", "cpu"])
    assert code == 0, err
    assert read_about(run_dir)["config"].train.kimg == 0.008


def test_a_run_goes_on_from_another_folder(train, tmp_path, monkeypatch):
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "a.png").write_bytes(encoded(picture((16, 16))))
    _, _, _, (run_dir,) = train("--data", "pics", "--preset", "demo", "--kimg", "0.004")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, _, err, _ = train("--resume", run_dir, "--kimg", "0.008", small=["--device", "cpu"])
    assert code == 0, err


def test_auto_minds_init_from(train):
    _, _, _, (first,) = train("--kimg", "0.004", "--seed", "1")
    auto = ("--resume", "auto", "--init-from", first)
    code, out, err, runs = train(*auto, "--kimg", "0.004", "--seed", "1")
    assert code == 0 and len(runs) == 2 and "weights of" in out, err
    code, out, err, runs = train(*auto, "--kimg", "0.008", "--seed", "1")
    assert code == 0 and len(runs) == 2 and "weights of" not in out, err
    assert read_about(runs[0])["config"].train.init_from is None
    code, out, err, runs = train("--resume", "auto", "--kimg", "0.008", "--seed", "1")
    assert code == 0 and f"folder  {runs[0]}".endswith(out.split("folder  ")[1].split()[0]), err


def test_dry_run_of_a_run_that_was_begun_with_another(train, tmp_path):
    _, _, _, (first,) = train("--kimg", "0.004")
    _, _, _, runs = train("--kimg", "0.004", "--init-from", first)
    first.rename(tmp_path / "moved")
    options = ["--resume", runs[1], "--kimg", "0.008", "--dry-run"]
    code, out, err, _ = train(*options, small=["--device", "cpu"])
    assert code == 0 and "weights of" not in out, err
