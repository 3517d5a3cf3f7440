# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch
from support.runs import lines, trainer
from support.tiny import tiny

from stylegan.errors import TrainingError
from stylegan.snapshots import snapshots_of
from stylegan.training import guards
from stylegan.training.step import TrainingStep

CPU = torch.device("cpu")
NAN = float("nan")


def reals(n=4):
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def poison(layer, value=NAN):
    """Make the gradient of one parameter hold `value` in one place."""

    def hook(grad):
        grad = grad.clone()
        grad[0, 0, 0, 0] = value
        return grad

    return layer.register_hook(hook)


@pytest.mark.parametrize("value", [NAN, float("inf"), -float("inf")])
def test_gradients_are_counted_by_layer(value):
    m = TrainingStep(tiny(), CPU)
    m.d_main(reals())
    assert m.finite.take() is None and m.finite.healthy()
    m.D.requires_grad_(True)
    handle = poison(m.D.b8.conv1.weight, value)
    m.d_main(reals())
    handle.remove()
    replaced = {"nan": 0, "inf": 1e5, "-inf": -1e5}[str(value)]
    assert m.D.b8.conv1.weight.grad[0, 0, 0, 0] == replaced
    assert m.stats.means()["nonfinite_gradients"] == 0.5
    line = m.finite.take()
    assert line == (
        "not finite: losses or gradients of 1 of 2 updates; gradients most in D.b8.conv1.weight (1)"
    )
    assert m.finite.healthy()  # one value is no failed update


def test_lines_become_rarer():
    m = TrainingStep(tiny(), CPU)
    bad = reals()
    bad[0, 0, 0, 0] = NAN
    told = []
    for _ in range(9):
        m.d_main(bad)
        told.append(m.finite.take() is not None)
    assert told == [True, True, False, True, False, False, False, True, False]


def test_counting_without_a_look_at_the_sums(monkeypatch):
    """The way that a GPU takes, which is not asked in between, gives the same."""
    results = []
    for kind in ("cpu", "cuda"):
        m = TrainingStep(tiny(), CPU)
        m.d_main(reals())
        assert (guards._clean(m.D, CPU) is None) and guards._clean(m.D, Device("cuda")).sum() == 0
        m.D.b8.conv1.weight.grad[0, 0, 0, 1] = NAN
        m.D.b4.out.bias.grad[0] = -float("inf")
        counts = guards._clean(m.D, Device(kind))
        results.append((counts.tolist(), [p.grad.clone() for p in m.D.parameters()]))
    assert results[0][0] == results[1][0] and sum(results[0][0]) == 2
    assert all(torch.equal(a, b) for a, b in zip(results[0][1], results[1][1]))


class Device:
    """Says that it is one kind, while tensors are on the CPU."""

    def __init__(self, kind):
        self.type = kind


def test_path_lengths_that_are_not_finite_do_not_stay(monkeypatch):
    m = TrainingStep(tiny(), CPU)
    m.g_path_length()
    mean = m.pl_mean.clone()
    monkeypatch.setattr("stylegan.training.losses.path_lengths", lambda *a: a[0].sum()[None] * NAN)
    m.g_path_length()
    assert torch.equal(m.pl_mean, mean) and mean > 0


def test_failing_for_good_stops_the_run(images, tmp_path, monkeypatch):
    t = trainer(images, tmp_path / "run", kimg=1, snapshot_kimg=0.004, pl_weight=0)
    step, broken = t.model.step, []

    def fail(reals, c):
        if t.kimg >= 0.012:
            broken.append(t.kimg)
            with torch.no_grad():  # not a weight: what a weight does in float16
                t.model.D.b8.conv0.forward = lambda x, gain=1: x * NAN
        step(reals, c)

    monkeypatch.setattr(t.model, "step", fail)
    with pytest.raises(TrainingError) as e:
        t.run()
    text = str(e.value)
    for part in (
        "training failed at 0.",
        "the loss of G main and the loss of D main was not finite 20 times in a row, or nearly",
        "most in",
        "first in the output of D.b8.conv0",
        f"the last good snapshot is {snapshots_of(t.run_dir)[-1]}",
        "--init-from",
        "--g-lr",
    ):
        assert part in text, part
    assert guards.LIMIT <= len(broken) <= guards.LIMIT + 16
    # Two failures in a row may be an accident, and are saved; more are not.
    assert snapshots_of(t.run_dir)[-1].name in ("000000.012", "000000.016", "000000.020")
    last = lines(t.run_dir, events=True)[-1]
    assert last["event"] == "failed" and last["text"].startswith("training failed")
    warning = lines(t.run_dir, events=True)[-2]
    assert warning["event"] == "warning" and "not finite: losses or gradients" in warning["text"]


def test_a_layer_that_fails_for_good_stops_the_run(images, tmp_path):
    t = trainer(images, tmp_path / "run", kimg=1, pl_weight=0, r1_gamma=0)
    t.model.D.requires_grad_(True)
    t.model.D.b8.conv1.weight.register_hook(lambda grad: grad * NAN)
    with pytest.raises(TrainingError, match="the gradient of D.b8.conv1.weight in D main was not"):
        t.run()


@pytest.mark.parametrize("fails, stops", [(lambda i: i % 7, True), (lambda i: i % 2, False)])
def test_failing_nearly_always_is_failing(fails, stops):
    m = TrainingStep(tiny(), CPU)
    m.d_main(reals())
    for i in range(200):
        bad = torch.tensor(bool(fails(i)))
        m.finite.update("D main", "D", bad)
    assert m.finite.failing() == (["the loss of D main"] if stops else [])
    assert not m.finite.healthy()
    for _ in range(100):
        m.finite.update("D main", "D", torch.tensor(False))
    assert m.finite.healthy()


def test_failures_are_counted_on_after_a_snapshot():
    m, n = TrainingStep(tiny(), CPU), TrainingStep(tiny(), CPU)
    m.d_main(reals())
    for i in range(guards.LIMIT):
        if i == 12:
            n.d_main(reals())
            n.load_state_dict(m.state_dict())
        for step in (m, n)[: 1 + (i >= 12)]:
            step.finite.update("D main", "D", torch.tensor(True))
    assert m.finite.failing() == n.finite.failing() == ["the loss of D main"]
    assert m.finite.take() == n.finite.take() is not None


def test_weights_that_are_not_finite_are_not_saved(images, tmp_path, monkeypatch):
    t = trainer(images, tmp_path / "run", snapshot_kimg=0.004)
    step = t.model.step

    def spoil(reals, c):
        step(reals, c)
        if t.kimg == 0.008:
            t.model.G.mapping.fc0.weight.data[0, 0] = NAN

    monkeypatch.setattr(t.model, "step", spoil)
    with pytest.raises(TrainingError, match="1 weights are not finite, G.mapping.fc0.weight the"):
        t.run()
    assert [p.name for p in snapshots_of(t.run_dir)] == ["000000.004"]


def test_the_first_layer_that_is_not_finite():
    m = TrainingStep(tiny(), CPU)
    assert m.first_nonfinite(reals()) is None
    m.D.b8.conv1.weight.data[0, 0, 0, 0] = NAN
    assert m.first_nonfinite(reals()) == "D.b8.conv1"
    m.G.synthesis.b8.conv1.weight.data[0, 0, 0, 0] = NAN
    assert m.first_nonfinite(reals()).startswith("G.synthesis.b8.conv1")


GOOD = {"sign/real": 0.4, "sign/fake": -0.3, "std/real": 0.5, "std/fake": 0.4}


@pytest.mark.parametrize(
    "means, text",
    [
        ({"sign/real": 0.99, "sign/fake": -0.99}, "D tells real from generated almost always"),
        ({"sign/real": 0.99, "sign/fake": 0.99}, "D says the same of all images"),
        ({"sign/real": -1, "sign/fake": -1}, "D says the same of all images"),
        ({"std/fake": 0.05}, "generated images are nearly all alike (they differ by 0.050, real"),
    ],
)
def test_signs_of_collapse(means, text):
    watch = guards.Collapse()
    bad = {**GOOD, **means}
    assert not any(watch(bad, 1000) for _ in range(20))  # the beginning
    assert not any(watch(GOOD, 100_000) for _ in range(20))
    for _ in range(2):  # each time it comes back
        told = [watch(bad, 100_000) for _ in range(20)]
        assert [len(t) for t in told] == [0] * 4 + [1] + [0] * 15
        assert text in told[4][0]
        watch(GOOD, 100_000)
    assert watch({}, 100_000) == []  # a batch of one has no spread


def test_collapse_is_warned_of_in_the_log(images, tmp_path, monkeypatch):
    monkeypatch.setattr(guards, "WARM_UP", 0)
    t = trainer(images, tmp_path / "run")
    monkeypatch.setattr(t.model, "_synthesis", lambda ws, **_: 0 * t.model.G.synthesis(ws))
    t.run()
    told = [e["text"] for e in lines(t.run_dir, events=True) if e["event"] == "warning"]
    assert any(text.startswith("generated images are nearly all alike") for text in told)
    assert json.loads((t.run_dir / "log.jsonl").read_text().splitlines()[1])["kimg"] == 0.004
