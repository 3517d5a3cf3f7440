# SPDX-License-Identifier: Apache-2.0
"""Every pair of the options of fine-tuning, with and without --init-from and --resume."""

import itertools

import pytest

from stylegan import UserError
from stylegan.runs.folder import read_about, runs_of
from stylegan.training.plan import OtherSettings, Request, make_plan

SMALL = "--channel-base 128 --channel-max 8 --batch 4 --resolution 16 --device cpu".split()
FREEZE = {"freeze_d": 1, "freeze_g": True, "freeze_mapping": True}
OPTIONS = {
    **FREEZE,
    "aug": "ada",
    "ada_kimg": 7,
    "ema_rampup": 0.1,
    "pl_weight": 2,
    "cond": True,
    "mirror": True,
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run without labels."""
    return _run(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def frozen(tmp_path_factory, source):
    """A run with a frozen block of D that starts with `source`."""
    return _run(tmp_path_factory.mktemp("frozen"), init_from=str(source), freeze_d=1)


def _run(folder, **fields):
    import stylegan

    small = {"resolution": 16, "channel_base": 128, "channel_max": 8, "batch": 4, "kimg": 0.008}
    small |= {"device": "cpu", "progress": False, "mapping_layers": 2}
    stylegan.train("emoji", "demo", outdir=folder, **small, **fields)
    (run_dir,) = runs_of(folder)
    return run_dir


def plan(**fields):
    resume = fields.pop("resume", None)
    wanted = {} if resume else {"path": "emoji", "resolution": (16, 16), "batch": 4, "kimg": 1}
    preset = None if resume else "demo"
    request = Request({**wanted, **fields}, preset, str(resume) if resume else None, device="cpu")
    return make_plan(request, lambda line: None)


@pytest.mark.parametrize("pair", list(itertools.combinations(OPTIONS, 2)), ids="-".join)
def test_pairs_with_init_from_are_taken_or_refused_with_the_reason(source, pair):
    fields = {name: OPTIONS[name] for name in pair}
    if set(pair) == {"freeze_g", "freeze_mapping"}:
        with pytest.raises(UserError, match="nothing of G trains"):
            plan(init_from=str(source), **fields)
        return
    train = plan(init_from=str(source), **fields).config.train
    for name in set(pair) & set(FREEZE) | set(pair) & {"aug", "ada_kimg", "ema_rampup"}:
        assert getattr(train, name) == OPTIONS[name]
    assert train.pl_weight == (2 if "pl_weight" in pair and "freeze_g" not in pair else 0)


@pytest.mark.parametrize("name", FREEZE)
def test_from_scratch_nothing_can_be_frozen(name):
    with pytest.raises(UserError, match="only a trained network can be frozen"):
        plan(**{name: OPTIONS[name]})


@pytest.mark.parametrize("name", [*FREEZE, "ema_rampup"])
def test_a_resumed_run_keeps_what_is_frozen(frozen, name):
    value = 2 if name == "freeze_d" else OPTIONS[name]
    with pytest.raises(OtherSettings) as e:
        plan(resume=frozen, kimg=1, **{name: value})
    assert name.replace("_", "-") in e.value.table[1]
    same = plan(resume=frozen, kimg=1, freeze_d=1).config.train
    assert (same.freeze_d, same.ema_rampup) == (1, 0.05)


def test_the_settings_of_the_average_are_those_of_other_runs(source):
    for how, rampup in ({}, 0.05), ({"ema_rampup": 0.2}, 0.2):
        assert plan(init_from=str(source), **how).config.train.ema_rampup == rampup


def test_the_header_and_a_resumed_run_say_what_is_frozen(run, frozen, source, tmp_path):
    options = ["--data", "emoji", "--cfg", "demo", "--kimg", "0.008", *SMALL]
    options += ["--init-from", source, "--freezed", "4", "--freeze-mapping", "--dry-run"]
    code, out, err = run("train", *options)
    assert code == 0 and "frozen  mapping network of G, D b16; " in out, err
    code, out, err = run("train", "--resume", frozen, "--kimg", "0.012", "--device", "cpu")
    assert code == 0 and "frozen  D b16; " in out, err
    assert read_about(frozen)["config"].train.freeze_d == 1


def test_what_cannot_be_frozen_in_one_line(run, source):
    options = ["--data", "emoji", "--cfg", "demo", *SMALL, "--init-from", source, "--dry-run"]
    code, out, err = run("train", *options, "--freeze-mapping", "--cond")
    assert code == 2 and "freeze_mapping: G mapping has to learn the labels, which are new" in err
    code, out, err = run("train", *options, "--freeze-d", "9")
    assert code == 2 and "freeze_d: expected 0 to 2, got 9" in err
