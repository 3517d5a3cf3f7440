# SPDX-License-Identifier: Apache-2.0
"""The controller of adaptive augmentation, alone and in training."""

import pytest
import torch
from support.runs import lines, trainer
from support.tiny import tiny

from stylegan.snapshots import snapshots_of
from stylegan.training.adapt import INTERVAL, PATIENCE, Adaptation, AtLimit
from stylegan.training.step import TrainingStep

CPU = torch.device("cpu")


def adaptation(p=0.0, target=0.6, kimg=1, max_p=0.8):
    return Adaptation(torch.tensor(p), target, kimg, max_p)


def run(a, logits, steps, batch=10):
    values = []
    for step in range(1, steps + 1):
        a.observe(logits)
        a.step(step, batch)
        values.append(round(float(a.p), 6))
    return values


def test_p_moves_every_fourth_step_by_the_images_seen():
    values = run(adaptation(), torch.ones(10), 9)
    assert values == [0, 0, 0, 0.04, 0.04, 0.04, 0.04, 0.08, 0.08]


def test_p_stays_within_its_limits():
    rising = run(adaptation(), torch.full([10], 7.0), 200)
    assert rising[-1] == max(rising) == 0.8
    falling = run(adaptation(p=0.2), torch.full([10], -7.0), 200)
    assert falling[-1] == min(falling) == 0


@pytest.mark.parametrize("positive, direction", [(7, -1), (8, 0), (9, 1)])
def test_the_target_is_a_mean_sign(positive, direction):
    logits = torch.tensor([2.5] * positive + [-0.1] * (10 - positive))
    a = adaptation(p=0.4)
    run(a, logits, INTERVAL)
    assert float(a.p) == pytest.approx(0.4 + 0.04 * direction)


def test_a_logit_of_zero_has_no_sign():
    a = adaptation(p=0.4, target=0)
    run(a, torch.zeros(10), INTERVAL)
    assert float(a.p) == pytest.approx(0.4)


def test_all_logits_since_the_last_change_count():
    a = adaptation(p=0.4)
    a.observe(torch.ones(8))
    a.observe(torch.full([2], -1.0))  # a mean sign of 0.6, the target
    a.step(INTERVAL, 10)
    assert float(a.p) == pytest.approx(0.4)
    run(a, torch.full([10], -1.0), INTERVAL)
    assert float(a.p) == pytest.approx(0.36)


def test_a_maximum_that_lasts_is_told_once():
    warn = AtLimit(0.8)
    told = [warn(p) for p in [0.5] + [0.8] * (2 * PATIENCE) + [0.7] + [0.8] * PATIENCE]
    assert sum(text is not None for text in told) == 2
    assert told[PATIENCE].startswith("the probability of augmentation is at its maximum, 0.8")


def test_a_maximum_of_0_is_no_limit_to_tell_of():
    warn = AtLimit(0)
    assert not any(warn(0) for _ in range(2 * PATIENCE))


def reals(n=4):
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_discriminator_that_knows_the_images_raises_p():
    m = TrainingStep(tiny(aug="ada", ada_kimg=0.1, ada_max_p=0.3, g_lr=1e-6), CPU)
    seen = []
    for _ in range(40):
        m.step(reals())
        seen.append(float(m.augment.p))
    assert seen[0] == 0 and max(seen) == pytest.approx(0.3)


def test_all_that_d_sees_is_augmented(monkeypatch):
    m = TrainingStep(tiny(aug="fixed", aug_p=1), CPU)
    seen = []
    images = m.augment.images
    forward = images.forward
    monkeypatch.setattr(images, "forward", lambda x: seen.append(x.requires_grad) or forward(x))
    m.step(reals())
    # G main, generated and real in D main, real in R1, with respect to the image before.
    assert seen == [True, False, False, True]


def test_r1_is_that_of_the_image_before_augmentation():
    m = TrainingStep(tiny(aug="fixed", aug_p=1, r1_gamma=1), CPU)
    state = m.rng.get_state()
    m.d_r1(reals())
    penalty = m.stats.means()["loss/r1"]
    x = reals().requires_grad_()
    m2 = TrainingStep(tiny(aug="fixed", aug_p=1, r1_gamma=1), CPU)
    m2.rng.set_state(state)
    (grad,) = torch.autograd.grad(m2.D(m2.augment(x)).sum(), x)
    assert penalty == pytest.approx(float(grad.square().sum(dim=(1, 2, 3)).mean()), rel=1e-4)


@pytest.mark.parametrize("aug, channels", [("ada", 3), ("fixed", 1), ("diff", 4)])
def test_a_resumed_run_continues_bit_for_bit(images, tmp_path, aug, channels):
    how = dict(aug=aug, ada_kimg=0.05, ada_target=-0.5, channels=channels, batch=4, tick_kimg=0.004)
    whole = trainer(images, tmp_path / "whole", kimg=0.048, snapshot_kimg=0.024, **how)
    whole.run()
    first = trainer(images, tmp_path / "parts", kimg=0.024, **how)
    first.run()
    second = trainer(images, tmp_path / "parts", kimg=0.048, **how)
    second.resume_newest()
    second.run()
    if aug == "ada":
        values = [line["augment_p"] for line in lines(whole.run_dir)]
        assert 0 < values[-1] <= 0.8 and len(set(values)) > 2
        assert values == [line["augment_p"] for line in lines(second.run_dir)]
    ends = [snapshots_of(t.run_dir)[-1] for t in (whole, second)]
    for name in ("G", "D", "G_ema"):
        a, b = ((end / f"{name}.safetensors").read_bytes() for end in ends)
        assert a == b


def test_a_run_from_before_augmentation_can_be_resumed():
    m = TrainingStep(tiny(), CPU)
    m.step(reals())
    state = m.state_dict()
    del state["augment"]
    resumed = TrainingStep(tiny(aug="ada"), CPU)
    with pytest.raises(KeyError):  # this one needs it
        resumed.load_state_dict(state)
    resumed = TrainingStep(tiny(), CPU)
    resumed.load_state_dict(state)
    assert (resumed.images_seen, resumed.steps) == (4, 1)


def test_the_logits_of_r1_count_too():
    m = TrainingStep(tiny(aug="ada", r1_interval=1, ada_target=0), CPU)
    seen = []
    m.augment.adaptation.observe = lambda logits: seen.append(len(logits))
    m.step(reals())
    assert seen == [4, 4]
