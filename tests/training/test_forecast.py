# SPDX-License-Identifier: Apache-2.0
"""How long a run takes: measured on a copy that leaves no trace, and other settings that take
less."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny import tiny

from stylegan import preset
from stylegan.training import forecast as module
from stylegan.training import session, timing
from stylegan.training.forecast import forecast, proposals, shapes_kimg
from stylegan.training.plan import Request, make_plan
from stylegan.training.timing import seconds_per_image
from stylegan.training.work import work_of

CPU = torch.device("cpu")
SMALL = dict(channel_base=64, channel_max=8, batch=4, kimg=0.1, resolution=(16, 16))
nothing = lambda text: None


def plan_of(images, outdir, **more):
    fields = {**SMALL, "path": str(images), **more}
    return make_plan(Request(fields, outdir=str(outdir), device="cpu"), nothing)


@pytest.mark.parametrize("side, kimg", [(32, 12), (64, 12), (128, 34), (256, 96), (1024, 770)])
def test_shapes(side, kimg):
    assert shapes_kimg(preset("auto", resolution=side)) == kimg


@pytest.mark.parametrize(
    "fields, seen, text",
    [
        (
            dict(kimg=100),
            0,
            "about 10 images/s; first shapes after 20 minutes (12 kimg, a guess), the end after "
            "2.8 hours (--kimg)",
        ),
        (
            dict(kimg=100, minutes=30),
            0,
            "about 10 images/s; first shapes after 20 minutes (12 kimg, a guess), the end after "
            "30 minutes (about 18 kimg, --minutes)",
        ),
        (dict(kimg=100), 90_000, "about 10 images/s; the end after 16 minutes (--kimg)"),
        (dict(kimg=5), 0, "about 10 images/s; the end after 8 minutes (--kimg)"),
        (dict(kimg=100, init_from="net"), 0, "about 10 images/s; the end after 2.8 hours (--kimg)"),
    ],
)
def test_a_forecast(fields, seen, text):
    expected = forecast(tiny(**fields), 0.1, seen)
    assert str(expected) == text and not expected.absurd


@pytest.mark.parametrize(
    "speed, text", [(0.0312, "0.031"), (2.14, "2.1"), (37.4, "37"), (371, "371")]
)
def test_a_speed(speed, text):
    assert str(forecast(tiny(), 1 / speed)).startswith(f"about {text} images/s;")


@pytest.mark.parametrize("seconds, kimg, absurd", [(20, 25000, True), (0.1, 25000, False)])
def test_what_nobody_waits_for(seconds, kimg, absurd):
    assert forecast(tiny(kimg=kimg), seconds).absurd == absurd


@pytest.mark.parametrize("fields", [dict(pl_weight=2, r1_gamma=1), dict(pl_weight=0, r1_gamma=0)])
def test_timing_leaves_no_trace(images, tmp_path, fields):
    """Random numbers go on, and no image counts as read or skipped."""
    plan = plan_of(images, tmp_path, **fields)
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    expected = torch.rand(3), np.random.rand(), random.random()
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    assert 0 < seconds_per_image(plan.config, plan.dataset, CPU) < 10
    found = torch.rand(3), np.random.rand(), random.random()
    assert torch.equal(found[0], expected[0]) and found[1:] == expected[1:]
    assert not plan.dataset.skipped.any() and not plan.dataset.take_skipped()


@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_is_the_same_with_and_without_timing(images, tmp_path, resumed):
    states = []
    for timed in (True, False):
        out = tmp_path / str(timed)
        plan = plan_of(images, out)
        if resumed:
            first = session.carry_out(
                plan, nothing, time_it=False, on_progress=lambda p: p.kimg == 0
            )
            again = Request({}, resume=str(first.run_dir), outdir=str(out), device="cpu")
            plan = make_plan(again, nothing)
        lines = []
        result = session.carry_out(plan, lines.append, time_it=timed)
        assert any(line.startswith("time    about") for line in lines) == timed
        states.append((result.snapshot / "G.safetensors").read_bytes())
    assert states[0] == states[1]


def test_a_slow_machine_is_timed_with_one_step(images, tmp_path, monkeypatch):
    """Regularizers and more images are then a guess."""
    plan = plan_of(images, tmp_path, batch=8)
    steps = []
    clock = iter(range(0, 10_000, 60))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    for name in ("g_main", "g_path_length", "d_main", "d_r1"):
        monkeypatch.setattr(timing.TrainingStep, name, lambda self, *_, n=name: steps.append(n))
    seconds = seconds_per_image(plan.config, plan.dataset, CPU)
    assert steps == ["g_main", "d_main"]
    shares = 1 + timing.PATH_LENGTH / 4 + timing.R1 / 16
    assert seconds == pytest.approx(60 / timing.FIRST_IMAGES * shares)


def test_little_memory_is_no_error(images, tmp_path, monkeypatch):
    def fail(*_, **more):
        raise MemoryError("no memory")

    monkeypatch.setattr(session, "seconds_per_image", fail)
    lines = []
    session.carry_out(plan_of(images, tmp_path), lines.append, dry_run=True)
    assert "time    unknown, a step failed (no memory)" in lines


def test_reading_images_takes_time_too(images, tmp_path, monkeypatch):
    plan = plan_of(images, tmp_path)
    monkeypatch.setattr(timing, "_training", lambda *_: 1.0)
    monkeypatch.setattr(plan.dataset, "_cache", None)  # as if there were too many for memory
    read = plan.dataset.pixels

    def slow(index):
        timing.time.sleep(0.02)
        return read(index)

    monkeypatch.setattr(plan.dataset, "pixels", slow)
    assert 1.02 <= seconds_per_image(plan.config, plan.dataset, CPU) < 3


def test_work_orders_settings():
    work = {
        (name, side): work_of(preset(name, resolution=side).resolved())
        for name in ("auto", "small")
        for side in (64, 128)
    }
    assert work["small", 64] < work["small", 128] < work["auto", 64] < work["auto", 128]
    assert 8 < work["auto", 64] / work["small", 64] < 16
    one, many = (tiny(batch_gpu=n) for n in (1, 4))
    assert work_of(one) == pytest.approx(work_of(many), rel=0.05)
    assert work_of(tiny(pl_weight=0)) < work_of(tiny())


@pytest.fixture
def slow_plan(images, tmp_path):
    fields = dict(path=str(images), resolution=(256, 256))
    return make_plan(Request(fields, outdir=str(tmp_path), device="cpu"), nothing)


def test_proposals(slow_plan, monkeypatch):
    monkeypatch.setattr(module, "MEASURE_SECONDS", 1e9)
    found = proposals(slow_plan, 5, lambda config: 0.5)
    assert [p.options for p in found] == [
        "--preset small",
        "--channel-base 4096",
        "--preset small --resolution 128",
        "--resolution 128",
    ]
    assert all(p.within(24 * 3600) for p in found)
    lines = session.proposal_lines(found)
    assert "other settings" in lines[0] and lines[1].startswith("        --preset small  ")
    assert all(line.endswith("; measured") for line in lines[1:])


def test_the_quickest_is_proposed_where_none_is_quick(slow_plan):
    (found,) = proposals(slow_plan, 1e6, lambda config: 1e5)
    assert found.options == "--preset small --resolution 32"
    assert session.proposal_lines([found])[1].endswith("; estimated")


def test_proposals_keep_what_the_user_gave(slow_plan):
    """An option of the user stands, so that a preset may help nothing."""
    wanted = replace(slow_plan.wanted, fields={**slow_plan.wanted.fields, "channel_base": 16384})
    for options, config in module._candidates(replace(slow_plan, wanted=wanted)):
        assert config.G.channel_base == (4096 if "--channel-base" in options else 16384)


def test_small_is_a_preset_for_any_size():
    for side in (32, 64, 256):
        config = preset("small", resolution=side).resolved()
        assert config.G.resolution == (side, side) and config.train.pl_weight == 0
        assert config.G.mapping_layers == 2 and Path(config.G.model).name == "stylegan2"
