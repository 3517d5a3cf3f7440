# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from support.runs import trainer
from support.tiny import tiny

from stylegan import UserError
from stylegan.training.step import TrainingStep
from stylegan.training.transfer import transfer

CPU = torch.device("cpu")


@pytest.fixture
def trained(images, tmp_path):
    return trainer(images, tmp_path / "run", kimg=0.012)


def test_the_same_shape_fits_whole(trained):
    folder = trained.run()
    model = TrainingStep(tiny(seed=5), CPU)
    table = transfer(model, folder)
    for name, source in (("G", "G_ema"), ("G_ema", "G_ema"), ("D", "D")):
        for key, value in getattr(trained.model, source).state_dict().items():
            assert torch.equal(value, getattr(model, name).state_dict()[key])
    assert "0.012 kimg, 16x16 px, 3 channels, no classes" in table[0]
    assert not any(" there" in line or " here" in line for line in table)
    for line in table[2:-2]:
        a, b = line.split()[2], line.split()[4]
        assert a == b
    assert table[-2:] == [
        "  G keeps everything: the first sheet shows its images",
        "  D keeps everything",
    ]


def test_twice_the_size_with_classes_and_alpha(trained):
    trained.run()
    model = TrainingStep(
        tiny(resolution=32, channel_base=256, channels=4, c_dim=2), CPU, torch.tensor([0, 1])
    )
    before = {k: v.clone() for k, v in model.G.state_dict().items()}
    table = "\n".join(transfer(model, trained.run_dir))
    old, new = trained.model.G_ema.state_dict(), model.G.state_dict()
    assert torch.equal(new["synthesis.b8.conv1.weight"], old["synthesis.b8.conv1.weight"])
    assert torch.equal(new["synthesis.b32.conv1.weight"], before["synthesis.b32.conv1.weight"])
    rows = {tuple(line.split()[:2]): line for line in table.splitlines()}
    assert "0 of" in rows["G", "synthesis.b32"] and "there" in rows["G", "synthesis.b32"]
    assert rows["G", "synthesis.b8"].endswith("torgb made RGBA from RGB")
    assert rows["G", "mapping"].endswith("labels start anew, without effect at first")
    assert "0 of" in rows["D", "b32"]
    assert "  G keeps its layers up to 16 px and learns finer ones anew" in table
    assert "  D learns b32, mapping, b4 anew and keeps the rest" in table
    model.step(torch.zeros(4, 4, 32, 32), torch.eye(2)[[0, 1, 0, 1]])


def test_only_what_inference_needs(trained):
    folder = trained.run()
    for name in ("G", "D"):
        (folder / f"{name}.safetensors").unlink()
    model = TrainingStep(tiny(seed=5), CPU)
    table = transfer(model, folder)
    averaged = trained.model.G_ema.state_dict()
    assert all(torch.equal(v, averaged[k]) for k, v in model.G.state_dict().items())
    rows = [line for line in table if line.split()[:2] == ["D", "none"]]
    assert any("starts from scratch" in row for row in rows)


def test_nothing_fits(trained):
    folder = trained.run()
    model = TrainingStep(tiny(), CPU)
    for network in (model.G, model.D, model.G_ema):
        for p in [*network.parameters(), *network.buffers()]:
            p.data = p.data[None].clone()
    with pytest.raises(UserError, match="nothing of it fits the new network"):
        transfer(model, folder)
