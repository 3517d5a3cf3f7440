# SPDX-License-Identifier: Apache-2.0
import json
import random

import numpy as np
import pytest
import torch
from PIL import Image
from support.runs import CPU, lines, trainer

from stylegan import UserError, load_networks
from stylegan.errors import SnapshotError
from stylegan.runs import snapshot as snapshots
from stylegan.snapshots import snapshots_of
from stylegan.training.header import header


def test_a_run_leaves_log_grids_and_snapshots(images, tmp_path):
    t = trainer(images, tmp_path / "run")
    last = t.run()
    log = lines(t.run_dir)
    assert [round(line["kimg"] * 1000) for line in log] == list(range(4, 49, 4))
    assert {"loss/G", "loss/D", "images_per_s", "memory_gb", "seconds", "pl_mean"} <= set(log[-1])
    assert all("loss/r1" in line for line in log[:1]) and "loss/r1" not in log[1]
    names = sorted(p.name for p in (t.run_dir / "samples").iterdir())
    assert names == [
        "000000.000.png",
        "000000.020.png",
        "000000.040.png",
        "000000.048.png",
        "reals.png",
    ]
    sheet = Image.open(t.run_dir / "samples" / names[-2])
    assert sheet.size == (12 * 128, 8 * 128)  # eight times as large
    assert [p.name for p in snapshots_of(t.run_dir)] == ["000000.020", "000000.040", "000000.048"]
    assert last.name == "000000.048"
    assert {p.name for p in last.iterdir()} == {
        "config.json",
        "G_ema.safetensors",
        "G.safetensors",
        "D.safetensors",
        "training_state.pt",
    }


def test_a_snapshot_gives_back_the_networks(images, tmp_path):
    t = trainer(images, tmp_path / "run", cond=True)
    nets = load_networks(t.run(), "cpu")
    assert nets.config == t.config and nets.class_names == ("even", "odd")
    for name in ("G", "D", "G_ema"):
        for key, value in getattr(t.model, name).state_dict().items():
            assert torch.equal(value, getattr(nets, name).state_dict()[key]), key
    assert load_networks(t.run_dir).folder == nets.folder


@pytest.mark.parametrize(
    "stop, settings",
    [
        (0.02, dict()),
        (0.012, dict(cond=True, batch_gpu=2)),  # in the middle of an epoch of 10 images
        pytest.param(  # and of a tick
            *(0.012, dict(cond=True, workers=2, tick_kimg=0.016)), marks=pytest.mark.thorough
        ),
        pytest.param(
            *(0.028, dict(cond=True, batch_gpu=2, workers=2, max_images=7)),
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_resume_goes_on_as_if_nothing_had_happened(images, tmp_path, stop, settings):
    whole = trainer(images, tmp_path / "whole", **settings)
    whole.run()
    first = trainer(images, tmp_path / "parts", **{**settings, "kimg": stop})
    snapshot = first.run()
    second = trainer(images, tmp_path / "parts", **settings)
    second.resume(snapshot)
    second.run()
    timing = ("seconds", "images_per_s", "memory_gb")
    for a, b in zip(lines(whole.run_dir), lines(second.run_dir), strict=True):
        assert {k: v for k, v in a.items() if k not in timing} == {
            k: v for k, v in b.items() if k not in timing
        }
    for name in ("G", "D", "G_ema"):
        for key, value in getattr(whole.model, name).state_dict().items():
            assert torch.equal(value, getattr(second.model, name).state_dict()[key]), key


def test_resume_brings_back_all_random_numbers(images, tmp_path):
    def draw():
        return (
            torch.rand(3).tolist(),
            np.random.rand(3).tolist(),
            np.random.randn(),
            random.gauss(0, 1),
        )

    t = trainer(images, tmp_path / "run")
    draw()
    snapshot = t.save_snapshot()
    expected = draw()
    t = trainer(images, tmp_path / "other")
    draw()
    t.resume(snapshot)
    assert draw() == expected


def test_other_files_than_the_run_had_are_warned_of(images, tmp_path):
    snapshot = trainer(images, tmp_path / "run").save_snapshot()
    (images / "even" / "2.png").rename(images / "even" / "3.png")
    t = trainer(images, tmp_path / "run", kimg=0.008)
    t.resume(snapshot)
    t.run()
    (warning,) = [e for e in lines(t.run_dir, events=True) if e["event"] == "warning"]
    assert "the files or labels are not the 10 images that the run had" in warning["text"]


def test_the_run_ends_by_time(images, tmp_path):
    t = trainer(images, tmp_path / "run", kimg=1000, minutes=0.02)
    t.run()
    assert 0 < t.kimg < 100 and snapshots_of(t.run_dir)


def test_a_snapshot_that_fails_leaves_nothing(images, tmp_path, monkeypatch):
    t = trainer(images, tmp_path / "run")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshots.torch, "save", full)
    with pytest.raises(OSError):
        t.save_snapshot()
    assert list((t.run_dir / "snapshots").iterdir()) == []


def test_snapshots_without_their_state_or_damaged(images, tmp_path):
    t = trainer(images, tmp_path / "run")
    snapshot = t.save_snapshot()
    state = snapshot / snapshots.STATE
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(UserError, match="training_state.pt: cannot be read"):
        t.resume(snapshot)
    state.unlink()
    with pytest.raises(UserError, match="so training cannot continue from it"):
        t.resume(snapshot)
    weights = snapshot / "G_ema.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(
        UserError, match="G_ema.safetensors: does not fit its config.json, or is damaged"
    ):
        assert load_networks(snapshot).G_ema
    (snapshot / "config.json").write_text('{"format": 1,\n}')
    with pytest.raises(UserError, match="config.json: line 2"):
        load_networks(snapshot)
    with pytest.raises(UserError, match="holds no snapshot"):
        load_networks(tmp_path)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c.pop("config"), "config.json: not a valid config"),
        (lambda c: c["config"]["G"].update(nope=1), "unknown setting G.nope"),
        (lambda c: c["config"]["G"].update(channel_max="x"), "channel_max: expected a number"),
        (lambda c: c.update(version=99), "expected format stylegan-snapshot version 1, got .* 99"),
    ],
)
def test_a_config_that_is_wrong(images, tmp_path, change, message):
    snapshot = trainer(images, tmp_path / "run").save_snapshot()
    path = snapshot / "config.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        assert load_networks(snapshot).G_ema


def test_training_needs_more_than_inference(images, tmp_path):
    t = trainer(images, tmp_path / "run")
    snapshot = t.save_snapshot()
    (snapshot / "D.safetensors").unlink()
    assert load_networks(snapshot).D is None
    with pytest.raises(SnapshotError, match="has no D, so training cannot continue"):
        t.resume(snapshot)


def test_the_log_goes_on_where_the_snapshot_was(images, tmp_path):
    """Lines after the last snapshot of a run that was killed are written again, not twice."""
    t = trainer(images, tmp_path / "run", kimg=0.02)
    snapshot = t.run()
    with (t.run_dir / "log.jsonl").open("a") as f:
        f.write('{"kimg": 0.024, "loss/G": 1}\n{"kimg": 0.0')
    again = trainer(images, tmp_path / "run", kimg=0.028)
    again.resume(snapshot)
    again.run()
    log = lines(again.run_dir)
    assert [round(line["kimg"] * 1000) for line in log] == [4, 8, 12, 16, 20, 24, 28]
    assert "loss/D" in log[-2]


def test_header(images, tmp_path):
    t = trainer(images, tmp_path / "run")
    text = "\n".join(header(t.config, t.dataset, t.model, CPU))
    for part in (
        "10, 16x16 px, RGB, mirrored",
        "2 classes, not used (--cond uses them)",
        "parameters",
        "cpu (",
        "ops     ",
        "memory  about",
        "R1 gamma 1",
        "batches of 4",
    ):
        assert part in text, part


def test_data_that_cannot_be_used(images, tmp_path):
    with pytest.raises(UserError, match="no labels to train on"):
        flat = tmp_path / "flat"
        flat.mkdir()
        (images / "even" / "0.png").rename(flat / "0.png")
        trainer(flat, tmp_path / "run", cond=True)
    odd = tmp_path / "odd"
    odd.mkdir()
    Image.new("RGB", (15, 15)).save(odd / "a.png")
    with pytest.raises(UserError, match="15x15 px cannot be halved.*16x16.*--resolution"):
        trainer(odd, tmp_path / "run")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_named_and_passed_over(images, tmp_path, workers):
    whole = (images / "even" / "2.png").read_bytes()
    (images / "even" / "2.png").write_bytes(whole[: len(whole) // 2])
    t = trainer(images, tmp_path / "run", workers=workers)
    t.run()
    (warning,) = [e for e in lines(t.run_dir, events=True) if e["event"] == "warning"]
    assert warning["text"].startswith("skipped even/2.png: broken image (")
    assert lines(t.run_dir)[-1]["kimg"] == 0.048


def test_tensorboard_where_it_is_installed(images, tmp_path):
    pytest.importorskip("tensorboard")
    t = trainer(images, tmp_path / "run")
    t.run()
    assert list(t.run_dir.glob("events.out.tfevents.*"))
