# SPDX-License-Identifier: Apache-2.0
import copy

import pytest
import torch
from support.tiny import tiny

from stylegan.training import losses
from stylegan.training.memory import estimate_memory_gb
from stylegan.training.step import TrainingStep

CPU = torch.device("cpu")


def reals(n=4, size=16, seed=0):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_adam_is_corrected_for_lazy_regularisation():
    m = TrainingStep(tiny(), CPU)
    g, d = m.G_opt.param_groups[0], m.D_opt.param_groups[0]
    assert g["lr"] == pytest.approx(0.002 * 4 / 5) and g["betas"][1] == pytest.approx(
        0.99 ** (4 / 5)
    )
    assert d["lr"] == pytest.approx(0.002 * 16 / 17) and d["betas"][1] == pytest.approx(
        0.99 ** (16 / 17)
    )
    plain = TrainingStep(tiny(pl_weight=0, r1_gamma=0), CPU)
    for group in (plain.G_opt.param_groups[0], plain.D_opt.param_groups[0]):
        assert group["lr"] == 0.002 and group["betas"] == (0, 0.99) and group["eps"] == 1e-8


@pytest.mark.parametrize("interval", [1, 16])
def test_a_lazy_regulariser_weighs_as_much_as_one_in_every_step(interval, monkeypatch):
    """What D_opt and G_opt get: r1_interval * gamma / 2 * R1, pl_interval * pl_weight * path."""
    lazy = dict(r1_gamma=3, r1_interval=interval, pl_weight=5, pl_interval=interval)
    m = TrainingStep(tiny(batch_gpu=2, **lazy), CPU)
    totals = {}

    def update(kind, optimizer, partial_losses):
        for p in optimizer.param_groups[0]["params"]:
            p.requires_grad_()
        totals[kind] = sum(loss.item() for loss in partial_losses)

    monkeypatch.setattr(m, "_update", update)
    m.d_r1(reals())
    assert totals["D R1"] == pytest.approx(interval * 3 / 2 * m.stats.means()["loss/r1"], rel=1e-5)
    m.g_path_length()
    path_length = m.stats.means()["loss/path_length"]
    assert totals["G path length"] == pytest.approx(interval * 5 * path_length, rel=1e-5)


def test_regularisers_come_lazily_and_first():
    m = TrainingStep(tiny(), CPU)
    calls = []
    for name in ("g_main", "g_path_length", "d_main", "d_r1"):
        method = getattr(m, name)
        setattr(m, name, lambda *a, name=name, method=method: (calls.append(name), method(*a)))
    for _ in range(17):
        m.step(reals())
    assert calls[:4] == ["g_main", "g_path_length", "d_main", "d_r1"]
    assert calls.count("g_main") == calls.count("d_main") == 17
    assert calls.count("g_path_length") == 5 and calls.count("d_r1") == 2
    assert m.images_seen == 17 * 4


def test_accumulation_gives_the_gradients_of_the_whole_batch():
    """R1 has no random numbers of its own, so two ways to cut a batch must move D alike."""
    after = []
    for batch_gpu in (8, 2):
        m = TrainingStep(tiny(batch=8, batch_gpu=batch_gpu, mbstd_channels=0), CPU)
        m.d_r1(reals(8))
        after.append(m.D.state_dict())
        assert m.stats.means()["loss/r1"] > 0
    before = TrainingStep(tiny(batch=8, mbstd_channels=0), CPU).D.state_dict()
    for name in before:
        torch.testing.assert_close(after[0][name], after[1][name], rtol=1e-3, atol=1e-5)
    assert any(not torch.equal(before[name], after[0][name]) for name in before)


def test_phases_leave_the_other_network_alone():
    m = TrainingStep(tiny(), CPU)
    G, D = copy.deepcopy(m.G.state_dict()), copy.deepcopy(m.D.state_dict())
    m.g_main()
    assert all(torch.equal(D[k], v) for k, v in m.D.state_dict().items())
    assert any(not torch.equal(G[k], v) for k, v in m.G.state_dict().items())
    G = copy.deepcopy(m.G.state_dict())
    m.d_main(reals())
    assert all(torch.equal(G[k], v) for k, v in m.G.state_dict().items())
    assert any(not torch.equal(D[k], v) for k, v in m.D.state_dict().items())


def test_nonfinite_gradients_are_replaced_and_counted():
    m = TrainingStep(tiny(), CPU)
    bad = reals()
    bad[0, 0, 0, 0] = float("nan")
    m.d_main(bad)
    assert m.stats.means()["nonfinite_gradients"] > 0
    assert all(p.isfinite().all() for p in m.D.parameters())


def test_style_mixing_takes_the_tail_of_a_second_latent():
    m = TrainingStep(tiny(style_mixing=1), CPU)
    ws, c = m._latents(64)
    assert c is None
    differs = (ws != ws[:, :1]).any(dim=2)
    assert differs[:, -1].all() and not differs[:, 0].any()
    crossovers = (~differs).sum(dim=1)
    assert set(crossovers.tolist()) == set(range(1, m.G.num_ws))
    assert (differs[:, 1:] >= differs[:, :-1]).all()  # a head of one latent, a tail of the other
    plain, _ = TrainingStep(tiny(style_mixing=0), CPU)._latents(8)
    assert (plain == plain[:, :1]).all()


def test_labels_are_drawn_from_those_of_the_data():
    labels = torch.eye(3)[[0, 0, 2]]
    m = TrainingStep(tiny(c_dim=3), CPU, labels)
    _, c = m._latents(100)
    assert c.sum(0)[1] == 0 and c.sum(0)[0] > c.sum(0)[2] > 0
    m.step(reals(), labels[[0, 1, 2, 0]])


@pytest.mark.parametrize(
    "loss", ["nonsaturating", pytest.param("saturating", marks=pytest.mark.thorough)]
)
def test_it_learns_a_colour(loss):
    """Eight hundred images of one colour: what G makes comes to have it."""
    config = tiny(
        resolution=8,
        batch=8,
        g_lr=0.02,
        d_lr=0.02,
        pl_weight=0,
        loss=loss,
        ema_kimg=0.1,
        style_mixing=0,
    )
    m = TrainingStep(config, CPU)
    colour = torch.tensor([0.8, -0.6, 0.1])[:, None, None]
    x = colour.expand(8, 3, 8, 8).contiguous()
    z = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = (m.G_ema(z) - colour).abs().mean().item()
    for _ in range(100):
        m.step(x)
    with torch.no_grad():
        after = (m.G_ema(z) - colour).abs().mean().item()
    assert after < 0.1 * before


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_steps_stay_finite_and_close(precision):
    """What a GPU does by default, here on the CPU: every phase with half-precision blocks."""
    results = []
    for p in ("float32", precision):
        m = TrainingStep(tiny(resolution=32, precision=p), CPU)
        m.step(reals(size=32))
        assert all(v.isfinite().all() for v in m.G.parameters())
        assert all(v.isfinite().all() for v in m.D.parameters())
        results.append(m.stats.means())
    exact, half = results
    assert half["nonfinite_gradients"] == 0
    for name in ("loss/G", "loss/D", "loss/path_length", "loss/r1"):
        assert half[name] == pytest.approx(exact[name], rel=0.1, abs=0.01), name


@pytest.mark.parametrize("batch_gpu", [8, 2])
def test_running_means_move_once_a_step_however_the_batch_is_cut(batch_gpu):
    m = TrainingStep(tiny(batch=8, batch_gpu=batch_gpu), CPU)
    calls = []
    m.G.mapping.update_w_avg = calls.append
    m.step(reals(8))
    assert len(calls) == 1 and calls[0].shape == (8,)
    # One move from 0 by pl_decay; four would be four times as far.
    assert 0 < m.pl_mean < 2 * m.config.train.pl_decay * _path_length(m)


def _path_length(m):
    """A typical path length of m.G."""
    ws = m.G.mapping(torch.randn(8, 8)).detach().requires_grad_()
    return losses.path_lengths(m.G.synthesis(ws), ws).mean().item()


def test_memory_estimate_grows_with_what_is_done_at_once():
    few, many = (estimate_memory_gb(tiny(batch=64, batch_gpu=b), CPU) for b in (4, 64))
    assert many > few > 0.3
    wide = estimate_memory_gb(tiny(batch=64, channel_base=8192, channel_max=256), CPU)
    assert wide > many
