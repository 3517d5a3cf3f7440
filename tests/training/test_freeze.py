# SPDX-License-Identifier: Apache-2.0
"""Frozen parts of a run that starts with another network."""

import pytest
import torch
from support.tiny import tiny, with_contrast

from stylegan import UserError
from stylegan.networks import Networks
from stylegan.training.freeze import check_frozen, frozen_text
from stylegan.training.step import TrainingStep
from stylegan.training.transfer import transfer

CPU = torch.device("cpu")
PARTS = {  # {options: (parts of G, blocks of D) that stay}
    "freeze_d": ({"freeze_d": 1}, (), ("b16.",)),
    "freeze_d 2": ({"freeze_d": 2}, (), ("b16.", "b8.")),
    "freeze_g": ({"freeze_g": True}, ("synthesis.",), ()),
    "freeze_mapping": ({"freeze_mapping": True, "freeze_d": 1}, ("mapping.",), ("b16.",)),
}


def images(n=4):
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def saved(folder, config):
    model = TrainingStep(config, CPU)
    for p in with_contrast(model.G).parameters():
        p.data += 0.3 * torch.randn_like(p)
    Networks(config, {}, G_ema=model.G_ema, G=model.G, D=model.D).save(folder)


def started(folder, name="stylegan2", **fields):
    source = tiny(name)
    saved(folder, source)
    model = TrainingStep(tiny(name, seed=1, init_from=str(folder), **fields), CPU)
    transfer(model, folder)
    return model


def state(network):
    return {k: v.clone() for k, v in network.state_dict().items()}


@pytest.mark.parametrize("model", ["stylegan2", "stylegan3-t"])
@pytest.mark.parametrize("case", PARTS)
def test_frozen_parts_keep_their_bits_and_the_rest_learns(tmp_path, case, model):
    fields, of_G, of_D = PARTS[case]
    step = started(tmp_path, model, **fields)
    before = {name: state(getattr(step, name)) for name in ("G", "D", "G_ema")}
    for _ in range(2):
        step.step(images())
    frozen = {"G": of_G, "D": of_D, "G_ema": of_G}
    for name, prefixes in frozen.items():
        network = getattr(step, name)
        for key, value in network.named_parameters():
            same = torch.equal(value, before[name][key])
            if key.startswith(prefixes or "-"):
                assert same, f"{name}.{key} moved"
            elif key.endswith(".weight"):
                assert not same, f"{name}.{key} did not move"
        for key, value in network.state_dict().items():
            if key.startswith("synthesis.") and "synthesis." in prefixes:
                assert torch.equal(value, before[name][key]), f"{name}.{key} moved"


def test_only_what_trains_has_a_gradient_or_a_state_of_adam(tmp_path):
    step = started(tmp_path, freeze_d=1, freeze_mapping=True)
    step.step(images())
    assert all(p.grad is None for p in [*step.D.b16.parameters(), *step.G.mapping.parameters()])
    for name in ("G", "D"):
        trained = step.trained[name]
        assert set(getattr(step, f"{name}_opt").state) == set(trained)
        assert len(trained) < len(list(getattr(step, name).parameters()))
    assert not any(p.requires_grad for p in [*step.G.parameters(), *step.D.parameters()])
    assert not step.finite.failing() and step.finite.take() is None


def test_path_lengths_reach_synthesis_with_a_frozen_mapping(tmp_path):
    step = started(tmp_path, freeze_mapping=True)
    before = state(step.G)
    step.g_path_length()
    key = "synthesis.b8.conv0.weight"
    assert not torch.equal(step.G.state_dict()[key], before[key])
    assert step.pl_mean > 0


def test_path_lengths_are_off_with_frozen_synthesis():
    assert tiny(init_from="x", freeze_g=True).train.pl_weight == 0
    assert tiny(init_from="x", freeze_mapping=True).train.pl_weight == 2


def test_a_frozen_part_of_G_is_that_of_the_average(tmp_path):
    step = started(tmp_path, freeze_g=True)
    for key, value in step.G.state_dict().items():
        assert torch.equal(value, step.G_ema.state_dict()[key])


def test_a_resumed_run_is_the_same(tmp_path):
    fields = {"freeze_d": 1, "freeze_mapping": True}
    step = started(tmp_path, **fields)
    step.step(images())
    kept, rest = {n: state(getattr(step, n)) for n in ("G", "D", "G_ema")}, step.state_dict()
    other = TrainingStep(step.config, CPU)
    for name, values in kept.items():
        getattr(other, name).load_state_dict(values)
    other.load_state_dict(torch.load(_file(tmp_path, rest), weights_only=True))
    for model in (step, other):
        model.step(images())
    for name in kept:
        for key, value in getattr(step, name).state_dict().items():
            assert torch.equal(value, getattr(other, name).state_dict()[key])


def _file(folder, content):
    torch.save(content, folder / "state.pt")
    return folder / "state.pt"


@pytest.mark.parametrize(
    ("fields", "subject", "why"),
    [
        ({"freeze_d": 1}, "freeze_d", "only a trained network can be frozen"),
        ({"freeze_g": True}, "freeze_g", "only a trained network can be frozen"),
        ({"freeze_mapping": True}, "freeze_mapping", "only a trained network can be frozen"),
        (
            {"freeze_mapping": True, "freeze_g": True, "init_from": "x"},
            "freeze_g",
            "nothing of G trains",
        ),
        (
            {"freeze_d": 3, "init_from": "x"},
            "freeze_d",
            "expected 0 to 2, got 3; at this resolution the blocks of D that can be frozen are "
            "16, 8",
        ),
    ],
)
def test_what_cannot_be_frozen(fields, subject, why):
    with pytest.raises(UserError, match=why) as e:
        check_frozen(tiny(**fields))
    assert e.value.subject == subject


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"freeze_d": 1, "resolution": 32, "channel_base": 256}, "D b32 starts anew .*no .* there"),
        ({"freeze_g": True, "resolution": 32, "channel_base": 256}, "G synthesis.b32 starts anew"),
        ({"freeze_mapping": True, "mapping_layers": 3}, "G mapping starts anew"),
        ({"freeze_mapping": True, "c_dim": 2}, "G mapping has to learn the labels, which are new"),
    ],
)
def test_what_starts_anew_cannot_be_frozen(tmp_path, fields, why):
    saved(tmp_path, tiny())
    config = tiny(seed=1, init_from=str(tmp_path), **fields)
    labels = torch.zeros(1, dtype=torch.long) if config.G.c_dim else None
    with pytest.raises(UserError, match=why):
        transfer(TrainingStep(config, CPU, labels), tmp_path)


def test_new_labels_learn_while_synthesis_is_frozen(tmp_path):
    saved(tmp_path, tiny())
    config = tiny(seed=1, init_from=str(tmp_path), freeze_g=True, c_dim=2)
    step = TrainingStep(config, CPU, torch.tensor([0, 1]))
    transfer(step, tmp_path)
    for _ in range(3):
        step.step(images(), torch.eye(2)[[0, 1, 0, 1]])
    ws = step.G.mapping(torch.ones(2, 8), torch.eye(2))
    assert not torch.equal(ws[0], ws[1])


def test_the_header_says_what_is_frozen():
    model = TrainingStep(tiny(init_from="x", freeze_d=2, freeze_mapping=True), CPU)
    text = frozen_text(model.frozen, model.G, model.D)
    assert text.startswith("mapping network of G, D b16 to b8; ")
    assert text.endswith(" M parameters of D train")
    plain = TrainingStep(tiny(), CPU)
    assert frozen_text(plain.frozen, plain.G, plain.D) is None
