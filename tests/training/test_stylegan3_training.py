# SPDX-License-Identifier: Apache-2.0
import copy
import dataclasses

import pytest
import torch
from support.pictures import encoded, picture
from support.runs import lines, trainer
from support.tiny import tiny

from stylegan import UserError
from stylegan.config import Config
from stylegan.runs.resume import Difference, differences
from stylegan.training.blur import blur, blur_sigma
from stylegan.training.memory import estimate_memory_gb
from stylegan.training.setup import fit_to_data
from stylegan.training.step import TrainingStep
from stylegan.training.transfer import Sides, copy_weights, transfer
from stylegan.training.transfer.labels import Classes

CPU = torch.device("cpu")
BLUR = dict(name="stylegan3-r", blur_fade_kimg=0.03)


def test_the_blur_fades_linearly():
    assert [blur_sigma(10, 200, kimg * 1000) for kimg in (0, 50, 200, 300)] == [10, 7.5, 0, 0]
    assert blur_sigma(0, None, 0) == 0


def test_the_blur_by_its_formula():
    x = torch.zeros(1, 1, 41, 41)
    x[0, 0, 20, 20] = 1
    y = blur(x, 2.5)[0, 0]
    assert y.sum().item() == pytest.approx(1, rel=1e-5)
    assert (y[20] / y[20, 20]).nonzero().flatten().tolist() == list(range(13, 28))  # 3 sigma: 7
    assert (y[20, 24] / y[20, 20]).item() == pytest.approx(2 ** -((4 / 2.5) ** 2), rel=1e-4)
    torch.testing.assert_close(y, y.T)
    assert blur(x, 0.3) is x


def test_d_sees_blurred_images_in_every_phase():
    m = TrainingStep(tiny(**BLUR), CPU)
    seen = []
    m.D.register_forward_pre_hook(lambda D, args: seen.append(_detail(args[0])))
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    m.step(images)
    blurred, seen[:] = list(seen), []
    m.images_seen, m.steps = 30, 0
    m.step(images)
    assert len(blurred) == len(seen) == 4  # G main, D main twice, R1
    assert all(a < 0.3 * b for a, b in zip(blurred[2:], seen[2:]))  # real images
    assert seen[2] == pytest.approx(_detail(images))
    assert all(a < b for a, b in zip(blurred, seen))


def _detail(images):
    return images.diff(dim=3).abs().mean().item()


def test_running_means_move_with_the_images_of_d_alone():
    m = TrainingStep(tiny("stylegan3-t"), CPU)
    before = magnitudes(m.G)
    m.g_main()
    m.d_r1(torch.zeros(4, 3, 16, 16))
    assert magnitudes(m.G) == before
    m.d_main(torch.zeros(4, 3, 16, 16))
    assert all(a != b for a, b in zip(magnitudes(m.G), before))
    m.step(torch.zeros(4, 3, 16, 16))
    assert magnitudes(m.G_ema) == magnitudes(m.G)


def magnitudes(G):
    return [b.item() for name, b in G.named_buffers() if name.endswith("magnitude_ema")]


def test_running_means_move_as_far_however_the_batch_is_cut():
    after = []
    for batch_gpu in (8, 2):
        m = TrainingStep(tiny("stylegan3-t", batch=8, batch_gpu=batch_gpu), CPU)
        ws = m.G.mapping(torch.randn(1, 8)).detach().expand(8, -1, -1)
        m._latents = lambda n, ws=ws: (ws[:n], None)
        m.d_main(torch.zeros(8, 3, 16, 16))
        after.append(magnitudes(m.G))
    assert after[0] == pytest.approx(after[1], rel=1e-3)


@pytest.mark.parametrize("batch_gpu", [2, pytest.param(4, marks=pytest.mark.thorough)])
def test_resume_is_exact(images, tmp_path, batch_gpu):
    settings = dict(BLUR, batch_gpu=batch_gpu)
    whole = trainer(images, tmp_path / "whole", **settings)
    whole.run()
    snapshot = trainer(images, tmp_path / "parts", **settings | {"kimg": 0.012}).run()
    second = trainer(images, tmp_path / "parts", **settings)
    second.resume(snapshot)
    second.run()
    for a, b in zip(lines(whole.run_dir), lines(second.run_dir), strict=True):
        assert a["loss/D"] == b["loss/D"] and a["loss/G"] == b["loss/G"]
    for name in ("G", "D", "G_ema"):
        for key, value in getattr(whole.model, name).state_dict().items():
            assert torch.equal(value, getattr(second.model, name).state_dict()[key]), key


def test_path_length_and_mixing_work_too():
    m = TrainingStep(tiny("stylegan3-t", pl_weight=2, style_mixing=0.9), CPU)
    m.step(torch.zeros(4, 3, 16, 16))
    means = m.stats.means()
    assert means["loss/path_length"] >= 0 and means["nonfinite_gradients"] == 0


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_steps_stay_finite_and_close(precision):
    results = []
    for p in ("float32", precision):
        m = TrainingStep(tiny("stylegan3-t", precision=p), CPU)
        m.step(torch.zeros(4, 3, 16, 16))
        assert all(v.isfinite().all() for v in m.G.parameters())
        results.append(m.stats.means())
    assert results[1]["nonfinite_gradients"] == 0
    for name in ("loss/G", "loss/D"):
        assert results[1][name] == pytest.approx(results[0][name], rel=0.1, abs=0.01), name


def test_weights_of_stylegan2_for_its_d_and_mapping(images, tmp_path):
    folder = trainer(images, tmp_path / "run", kimg=0.004).run()
    model = TrainingStep(tiny("stylegan3-t", seed=5), CPU)
    before = copy.deepcopy(model.G.state_dict())
    rows = {tuple(line.split()[:2]): line for line in transfer(model, folder)}
    assert rows["D", "b16"].split()[2] == rows["D", "b16"].split()[4] != "0"
    assert "0 of 7" in rows["G", "synthesis.L3_36_8"]
    changed = {k for k, v in model.G.state_dict().items() if not torch.equal(before[k], v)}
    assert changed and all(k.startswith("mapping.") for k in changed)


def test_settings_of_another_model_are_one_difference():
    rows = differences(tiny(), tiny("stylegan3-t"))
    assert rows == [Difference("model", "stylegan2", "stylegan3")]
    rows = differences(tiny("stylegan3-t"), tiny("stylegan3-r"))
    assert Difference("--conv-kernel", "3", "1") in rows
    assert Difference("--blur-sigma", "0", "10") in rows


def test_old_settings_are_as_new_ones():
    """Those of a run from before there was StyleGAN3."""
    old = tiny().to_dict()
    for part, name in (("G", "model"), ("train", "blur_sigma"), ("train", "blur_fade_kimg")):
        del old[part][name]
    assert differences(Config.from_dict(old), tiny()) == []


@pytest.mark.parametrize("size, nearest", [((24, 16), 16), ((48, 48), 64)])
def test_data_that_do_not_fit_are_refused(tmp_path, size, nearest):
    (tmp_path / "a.png").write_bytes(encoded(picture(size)))
    config = tiny("stylegan3-t")
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=str(tmp_path)))
    what = rf"not {size[0]}x{size[1]}; the nearest is {nearest} \(--resolution crops and resizes\)"
    with pytest.raises(UserError, match=what):
        fit_to_data(config)


def test_memory_estimate():
    narrow, wide = (
        estimate_memory_gb(tiny("stylegan3-t", channel_base=n, channel_max=n // 8), CPU)
        for n in (128, 4096)
    )
    assert wide > narrow > 0.3


def test_another_resolution_keeps_its_own_filters():
    """Of the same name and shape, but other frequencies."""
    small, large = (
        TrainingStep(tiny("stylegan3-t", resolution=r, seed=r), CPU).G for r in (32, 64)
    )
    own = {k: v.clone() for k, v in large.state_dict().items()}
    copy_weights(
        large, small.state_dict(), Sides(large.config, small.config, Classes(0), Classes(0))
    )
    theirs, taken, kept = small.state_dict(), 0, 0
    for key, value in large.state_dict().items():
        if key.endswith(("_filter", "transform")):
            assert torch.equal(value, own[key])
        layer = key.rsplit(".", 1)[0] + ".up_filter"
        if key.endswith(".weight") and "affine" not in key and layer in theirs:
            same = all(
                torch.allclose(theirs[name], own[name], rtol=1e-4, atol=1e-6)
                if theirs[name].shape == own[name].shape
                else False
                for name in (layer, layer.replace("up_", "down_"))
            )
            if theirs[key].shape == value.shape and same:
                assert torch.equal(value, theirs[key])
                taken += 1
            else:  # weights trained with other filters do not fit
                assert torch.equal(value, own[key])
                kept += 1
    assert taken and kept


def test_a_trained_discriminator_meets_no_blur():
    config = tiny(**BLUR)
    assert config.resolved().train.blur_sigma > 0
    train = dataclasses.replace(config.train, init_from="somewhere")
    assert dataclasses.replace(config, train=train).resolved().train.blur_sigma == 0
