# SPDX-License-Identifier: Apache-2.0
"""Which strategy runs: by rule, or by measuring once."""

import time

import pytest
import torch

import stylegan_ops
from stylegan_ops.runtime import plan

CPU = torch.device("cpu")
SHAPE = (("x", (1, 2, 3)),)


@pytest.fixture(autouse=True)
def no_plans(monkeypatch):
    monkeypatch.setattr(plan, "_plans", type(plan._plans)())
    monkeypatch.delenv("STYLEGAN_OPS_PLAN", raising=False)


@pytest.fixture
def runner(monkeypatch):
    """runner(name=ms, ...): run(name) that takes so many ms, and the names it was called with."""

    def make(**ms):
        calls = []

        def timed(run, name, device):
            return ms[name], run(name)

        def run(name):
            calls.append(name)
            return name

        monkeypatch.setattr(plan, "_timed", timed)
        return run, calls

    return make


@pytest.mark.parametrize("slow, fast", [("a", "b"), ("b", "a")])
def test_the_fastest_is_found_once_and_kept(runner, slow, fast):
    run, calls = runner(**{slow: 12.0, fast: 3.0})
    assert plan.run_fastest("op", SHAPE, ("a", "b"), CPU, run) == fast
    assert calls.count(slow) == 1  # that much slower in the first round: not tried again
    calls.clear()
    assert [plan.run_fastest("op", SHAPE, ("a", "b"), CPU, run) for _ in range(3)] == [fast] * 3
    assert calls == [fast] * 3
    assert plan.plans("op", "cpu") == [
        {"x": (1, 2, 3), "strategy": fast, "ms": {slow: 12.0, fast: 3.0}}
    ]


def test_the_rule_holds_unless_another_is_clearly_faster(runner):
    run, _ = runner(a=8.0, b=7.9)
    assert plan.run_fastest("op", SHAPE, ("a", "b"), CPU, run) == "a"


def test_a_run_is_timed():
    slow, fast = (plan._timed(time.sleep, s, CPU)[0] for s in (0.02, 0.0))
    assert slow >= 20 and fast >= 0


def test_a_failure_leaves_no_plan():
    def run(name):
        raise MemoryError

    with pytest.raises(MemoryError):
        plan.run_fastest("op", SHAPE, ("a", "b"), CPU, run)
    assert plan.plans("op", "cpu") == []


def test_what_does_not_fit_in_memory_is_not_taken():
    def run(name):
        if name == "b":
            raise torch.OutOfMemoryError
        return name

    assert plan.run_fastest("op", SHAPE, ("a", "b"), CPU, run) == "a"
    assert plan.plans("op", "cpu")[0]["strategy"] == "a"


def test_only_so_many_are_kept(monkeypatch):
    monkeypatch.setattr(plan, "MAX_PLANS", 2)
    for i in range(4):
        plan.run_fastest("op", (("x", i),), ("a", "b"), CPU, str)
    assert [row["x"] for row in plan.plans("op", "cpu")] == [2, 3]


def test_settled_without_measuring():
    names = ("a", "b")
    assert plan.settled(names, (), CPU, differentiable=False) is None
    assert plan.settled(names, (), CPU, differentiable=True) == "a"
    assert plan.settled(("a",), (), CPU, differentiable=False) == "a"
    assert plan.settled(names, (), torch.device("mps"), differentiable=False) == "a"
    with stylegan_ops.planning("fixed"):
        assert plan.settled(names, (), CPU, differentiable=False) == "a"
        with stylegan_ops.planning("measure", unless_set=True):
            assert plan.settled(names, (), CPU, differentiable=False) == "a"
    with plan.forced("c"):
        assert plan.settled(names, ("c",), CPU, differentiable=True) == "c"
        assert plan.settled(names, (), CPU, differentiable=False) is None


def test_deterministic_where_asked(monkeypatch):
    torch.use_deterministic_algorithms(True)
    try:
        assert plan.settled(("a", "b"), (), CPU, differentiable=False) == "a"
    finally:
        torch.use_deterministic_algorithms(False)
    monkeypatch.setenv("STYLEGAN_OPS_PLAN", "fixed")
    assert plan.settled(("a", "b"), (), CPU, differentiable=False) == "a"
    monkeypatch.setenv("STYLEGAN_OPS_PLAN", "quick")
    with pytest.raises(ValueError, match="STYLEGAN_OPS_PLAN: expected one of measure, fixed"):
        plan.settled(("a", "b"), (), CPU, differentiable=False)


def test_rejects():
    with pytest.raises(ValueError, match="planning: expected one of measure, fixed, got 'fast'"):
        with stylegan_ops.planning("fast"):
            pass


def test_info_shows_what_was_measured(auto_backend):
    x, weight, styles = torch.randn(1, 8, 4, 4), torch.randn(8, 8, 3, 3), torch.rand(1, 8)
    with torch.no_grad():
        first, again = (stylegan_ops.modulated_conv2d(x, weight, styles) for _ in range(2))
    assert torch.equal(first, again)
    (plan,) = stylegan_ops.info()["modulated_conv2d"]["cpu"]["plans"]
    assert plan["weight"] == (8, 8, 3, 3) and plan["strategy"] in plan["ms"]


def test_a_plan_is_for_calls_that_its_strategy_supports(monkeypatch):
    """Which these are depends on more than the shapes that a time depends on."""
    seen = []

    def timed(run, name, device):
        seen.append(name)
        return {"winograd": 1, "weights": 2, "sandwich": 3}.get(name, 9), run(name)

    monkeypatch.setattr(plan, "_timed", timed)
    x = torch.randn(1, 256, 32, 32).contiguous(memory_format=torch.channels_last)
    weight, styles = torch.randn(256, 256, 3, 3), torch.randn(1, 256)
    with torch.no_grad(), plan.planning("measure"):
        stylegan_ops.modulated_conv2d(x, weight, styles, padding=1, act="lrelu")
        for padding, act, size in (
            ([1, 0, 1, 0], "lrelu", (31, 31)),
            ([0, 2, 1, 1], "lrelu", (32, 32)),
            (-1, "lrelu", (28, 28)),
            (1, "swish", (32, 32)),
        ):
            y = stylegan_ops.modulated_conv2d(x, weight, styles, padding=padding, act=act)
            assert tuple(y.shape[2:]) == size, (padding, act)
        noise = torch.randn(1, 256, 32, 32)
        stylegan_ops.modulated_conv2d(x, weight, styles, noise, padding=1)
    native = stylegan_ops.info()["winograd"]["cpu"]["backend"] == "native"
    assert ("winograd" in seen) == native
