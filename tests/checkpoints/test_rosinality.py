# SPDX-License-Identifier: Apache-2.0
"""rosinality's .pt: read, written, and read back."""

import argparse
import collections
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny import tiny

import stylegan
from stylegan.checkpoints.open import open_checkpoint
from stylegan.checkpoints.rosinality.missing import SAMPLES
from stylegan.checkpoints.rosinality.writer import readers, write
from stylegan.errors import CheckpointError, UserError
from stylegan.networks import Networks

FIXTURES = Path(__file__).parents[1] / "fixtures"
CONVERTED, TRAINING = FIXTURES / "rosinality-64.pt", FIXTURES / "rosinality-train-32.pt"


def known(path):
    return {k: torch.tensor(v) for k, v in np.load(path.with_suffix(".npz")).items()}


def contents(path):
    """The contents of a file, by torch.load."""
    with torch.serialization.safe_globals([argparse.Namespace]):  # and nothing else
        return torch.load(path, weights_only=True)


def close(value, expected):
    assert value.shape == expected.shape
    assert (value - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("path", [CONVERTED, TRAINING], ids=lambda p: p.stem)
@torch.no_grad()
def test_known_good(path):
    nets, values = stylegan.load_networks(path), known(path)
    close(nets.G_ema.mapping(values["z"])[:, 0], values["w"])
    close(nets.G_ema(values["z"]), values["img"])
    if "img_psi07" in values:
        close(nets.G_ema(values["z"], truncation_psi=0.7), values["img_psi07"])
    if nets.D is not None:
        close(nets.D(values["img"]), values["logits"])
    assert (nets.D is None) == (path == CONVERTED)


def test_metadata_of_a_training_checkpoint():
    nets = stylegan.load_networks(TRAINING)
    assert nets.meta["augment_p"] == 0.25
    assert nets.meta["arguments"]["channel_multiplier"] == 2
    assert nets.meta["dataset"]["arguments"] == {"size": 32}
    assert nets.config.G.mapping_layers == 2 and nets.config.G.conv_clamp is None


def test_channels_that_follow_no_rule_are_read_from_the_tensors():
    assert stylegan.load_networks(CONVERTED).config.G.widths == (24, 24, 24, 24, 32)
    assert stylegan.load_networks(TRAINING).config.G.widths is None


@torch.no_grad()
def test_the_mean_of_w_of_a_file_without_one():
    G = stylegan.load_networks(TRAINING).G_ema
    z = np.random.RandomState(1).randn(20 * SAMPLES, G.z_dim).astype(np.float32)
    w = G.mapping(torch.from_numpy(z))[:, 0]
    error = (G.mapping.w_avg - w.mean(dim=0)) / w.std(dim=0)
    assert error.abs().max() < 5 / SAMPLES**0.5
    assert torch.equal(G.mapping.w_avg, stylegan.load_networks(TRAINING).G_ema.mapping.w_avg)


@pytest.mark.parametrize("path", [CONVERTED, TRAINING], ids=lambda p: p.stem)
def test_files_are_written_as_they_were_read(path, tmp_path):
    write(stylegan.load_networks(path), tmp_path / "a.pt")
    ours, theirs = contents(tmp_path / "a.pt"), contents(path)
    parts = [name for name in ("g", "g_ema", "d") if name in theirs]
    assert [name for name in ("g", "g_ema", "d") if name in ours] == parts
    for part in parts:
        assert ours[part].keys() == theirs[part].keys()
        for key, value in theirs[part].items():
            assert ours[part][key].shape == value.shape and torch.equal(ours[part][key], value), key
    if "latent_avg" in theirs:
        assert torch.equal(ours["latent_avg"], theirs["latent_avg"])


@pytest.mark.parametrize("name", ["sg2-32", "sg2ada-64"])
def test_from_nvidia_through_a_snapshot_and_back_bit_for_bit(name, tmp_path):
    first = stylegan.load_networks(FIXTURES / f"{name}.pkl")
    (tmp_path / "snapshot").mkdir()
    first.save(tmp_path / "snapshot")
    write(stylegan.load_networks(tmp_path / "snapshot"), tmp_path / "a.pt")
    last = stylegan.load_networks(tmp_path / "a.pt")
    assert last.config.G == first.config.G and last.config.D == first.config.D
    for part in ("G_ema", "G", "D"):
        before, after = (getattr(nets, part).state_dict() for nets in (first, last))
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
    pictures = [
        stylegan.Pipeline(nets)(seeds=range(3), truncation_psi=0.7).images for nets in (first, last)
    ]
    assert [p.tobytes() for p in pictures[0]] == [p.tobytes() for p in pictures[1]]
    assert last.meta["dataset"] == first.meta["dataset"]


def networks_of(**fields):
    config = tiny("stylegan2", **fields)
    G, D = stylegan.build_generator(config), stylegan.build_discriminator(config)
    return Networks(config, {}, G_ema=G.eval(), D=D.eval())


def same_after_writing(nets, path):
    write(nets, path)
    back = stylegan.load_networks(path)
    before, after = nets.G_ema.state_dict(), back.G_ema.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    return back


def test_legacy_files(tmp_path):
    content = contents(CONVERTED)
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    ours, theirs = (
        stylegan.load_networks(p).G_ema.state_dict() for p in (tmp_path / "old.pt", CONVERTED)
    )
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_the_first_files_had_no_noise(tmp_path):
    content = contents(CONVERTED)
    content["g_ema"] = {k: v for k, v in content["g_ema"].items() if not k.startswith("noises.")}
    torch.save(content, tmp_path / "a.pt")
    state = stylegan.load_networks(tmp_path / "a.pt").G_ema.state_dict()
    again = stylegan.load_networks(tmp_path / "a.pt").G_ema.state_dict()
    assert all(torch.equal(state[key], again[key]) for key in state)
    noise = [state[f"synthesis.b{r}.conv{i}.noise_const"] for r in (8, 64) for i in (0, 1)]
    assert all(0.8 < n.std() < 1.2 and n.mean().abs() < 0.4 for n in noise)
    assert not torch.equal(noise[2], noise[3])


@pytest.mark.parametrize("change", ["g None", "module."])
def test_training_files_as_people_have_them(tmp_path, change):
    content = contents(TRAINING)
    if change == "g None":
        content["g"] = content["d"] = None
    else:
        for part in ("g", "d", "g_ema"):
            content[part] = {f"module.{k}": v for k, v in content[part].items()}
    content["args"].path = Path("data") / "lmdb"
    content["args"].milestones = collections.Counter([3, 4])
    content["args"].extra = collections.defaultdict(dict, {"a": {}})
    torch.save(content, tmp_path / "a.pt")
    nets, expected = stylegan.load_networks(tmp_path / "a.pt"), stylegan.load_networks(TRAINING)
    assert nets.meta["dataset"]["name"] == "lmdb" and nets.meta["arguments"]["n_mlp"] == 2
    for part in ("G_ema",) if change == "g None" else ("G_ema", "G", "D"):
        before, after = (getattr(n, part).state_dict() for n in (expected, nets))
        assert all(torch.equal(before[key], after[key]) for key in before)


LAUGHS = [[]]
for _ in range(6):
    LAUGHS = [LAUGHS] * 10


@pytest.mark.parametrize(
    "meta",
    [
        {"laughs": LAUGHS},
        {"dataset": {"name": LAUGHS, "class_names": LAUGHS, "arguments": {"a": LAUGHS}}},
        {"dataset": [1, 2], "kimg": "many", "augment_p": "x"},
        {"dataset": {"class_names": [1, 2]}, "kimg": float("nan")},
        {"format": "mine", "version": 99, "config": 3},
        {"dataset": {"name": "\ud800", "arguments": {"\x1b": 1, "b": "\n"}}},
        5,
    ],
)
def test_metadata_of_other_types_is_dropped(tmp_path, meta):
    content = contents(CONVERTED)
    content["stylegan"] = {"G": {}, "meta": meta}
    torch.save(content, tmp_path / "a.pt")
    nets = stylegan.load_networks(tmp_path / "a.pt")
    (tmp_path / "snapshot").mkdir()
    nets.save(tmp_path / "snapshot")
    assert (tmp_path / "snapshot" / "config.json").stat().st_size < 5000
    back = stylegan.load_networks(tmp_path / "snapshot")
    assert back.class_names == () and "kimg" not in back.meta and back.G_ema is not None


def test_the_generator_in_a_file_of_psp(tmp_path):
    content = contents(CONVERTED)
    state = {f"decoder.{k}": v for k, v in content["g_ema"].items()}
    state["encoder.input_layer.0.weight"] = torch.ones(3)
    average = content["latent_avg"].expand(10, -1).contiguous()  # once for every layer
    torch.save({"state_dict": state, "latent_avg": average, "opts": {"a": 1}}, tmp_path / "psp.pt")
    torch.save(content["g_ema"], tmp_path / "bare.pt")
    expected = stylegan.load_networks(CONVERTED).G_ema.state_dict()
    for name in ("psp", "bare"):
        state = stylegan.load_networks(tmp_path / f"{name}.pt").G_ema.state_dict()
        for key in expected:
            if name == "psp" or key != "mapping.w_avg":
                assert torch.equal(state[key], expected[key]), key


def test_other_filters_and_groups(tmp_path):
    nets = networks_of(resample_filter=(1, 4, 6, 4, 1), conv_clamp=None, mbstd_group=None)
    back = same_after_writing(nets, tmp_path / "a.pt")
    torch.testing.assert_close(back.G_ema.synthesis.b8.filter, nets.G_ema.synthesis.b8.filter)
    assert back.config.D.mbstd_group is None and back.config.G.conv_clamp is None
    assert back.D is not None


def test_without_noise_inputs(tmp_path):
    """The file has noise inputs that add nothing."""
    nets = networks_of(use_noise=False)
    back = same_after_writing(nets, tmp_path / "a.pt")
    assert back.config.G == nets.config.G
    g_ema = contents(tmp_path / "a.pt")["g_ema"]
    assert g_ema["convs.0.noise.weight"].shape == (1,) and not g_ema["convs.0.noise.weight"].any()
    shapes = [list(g_ema[f"noises.noise_{i}"].shape) for i in range(5)]
    assert shapes == [[1, 1, 4, 4]] + [[1, 1, 8, 8]] * 2 + [[1, 1, 16, 16]] * 2
    content = contents(tmp_path / "a.pt")
    del content["stylegan"]
    torch.save(content, tmp_path / "theirs.pt")
    theirs = stylegan.load_networks(tmp_path / "theirs.pt")
    z = torch.randn(2, nets.config.G.z_dim)
    assert theirs.config.G.use_noise
    with torch.no_grad():
        torch.testing.assert_close(theirs.G_ema(z), nets.G_ema(z))


def test_which_programs_can_read_a_file(tmp_path):
    usual = dict(channel_base=32768, channel_max=512, z_dim=512, w_dim=512, mapping_layers=8)
    usual["mbstd_group"] = 4
    first, second, third = write(networks_of(**usual), tmp_path / "a.pt")
    assert first == "rosinality/stylegan2-pytorch, its generator: yes"
    assert second == "pSp, e4e and others with its generator: yes"
    assert "do not clamp" in third
    for fields, reason in (
        ({"channels": 4}, "4 channels, expected 3"),
        ({"z_dim": 256}, "z 256 and w 512, expected 512"),
        ({"w_dim": 256}, "z 512 and w 256, expected 512"),
        ({"mapping_layers": 2}, "2 mapping layers, expected 8"),
        ({"resolution": 4 << 9, "channel_base": 16384}, "2048 px, expected 8 to 1024"),
        ({"channel_max": 256}, "other channel counts"),
        ({"channel_base": 8192}, "other channel counts"),
        ({"resample_filter": (1, 2, 1)}, "other filters"),
    ):
        config = tiny("stylegan2", **{**usual, **fields})
        first, second, _ = readers(config, True)
        assert first.endswith(f": no ({reason})") and reason in second
    config = tiny("stylegan2", **{**usual, "channel_base": 16384})
    first, second, _ = readers(config, True)
    assert first.endswith(": yes") and second.endswith("no (channel_base 16384, expected 32768)")
    assert readers(tiny("stylegan2", **{**usual, "conv_clamp": None}), True)[2:] == []
    for fields in ({"mbstd_group": 8}, {"channel_base": 8192}, {"resample_filter": (1, 2, 1)}):
        D = dataclasses.replace(config.D, **fields)
        last = readers(dataclasses.replace(config, D=D), True)[-1]
        assert last.startswith("these programs cannot read the discriminator")
    lines = write(networks_of(d_architecture="orig"), tmp_path / "a.pt")
    assert lines[-1] == "the file does not contain the discriminator"
    assert "d" not in contents(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "fields, reason",
    [
        ({"g_architecture": "resnet"}, "skip architecture, got StyleGAN2, resnet"),
        ({"c_dim": 3}, "without classes, got 3"),
        ({"resolution": (16, 32)}, "squares"),
        ({"resolution": 24}, "squares"),
    ],
)
def test_what_the_format_cannot_express(fields, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        write(networks_of(**fields), tmp_path / "a.pt")
    assert not list(tmp_path.iterdir())


def drop(content, key):
    del (content if key in content else content["g_ema"])[key]


def widen(content):
    content["g_ema"]["style.1.weight"] = torch.ones(32, 2000)


@pytest.mark.parametrize(
    "damage, reason",
    [
        (lambda c: drop(c, "convs.3.conv.weight"), "lacks convs.3.conv.weight"),
        (lambda c: drop(c, "noises.noise_4"), "lacks noises.noise_4"),
        (
            lambda c: drop(c, "latent_avg") or widen(c),
            "latent_avg is missing, and the mapping network is too large",
        ),
        (lambda c: c["g_ema"].update(extra=torch.ones(1)), "unexpected tensor extra"),
        (
            lambda c: c["g_ema"].update({"input.input": torch.ones(2, 24, 4, 4)}),
            "has the unexpected shape",
        ),
        (lambda c: c["g_ema"].update({"convs.1.conv.weight": torch.ones(1, 8, 8, 3, 3)}), "is"),
        (lambda c: c.update(latent_avg=torch.ones(7)), "w_avg"),
        (lambda c: c.update(latent_avg=torch.ones(0, 32)), "w_avg"),
        (
            lambda c: c["g_ema"].update({"convs.0.conv.blur.kernel": torch.eye(4)}),
            "not the outer product",
        ),
        (
            lambda c: c["g_ema"].update({"style.1.weight": torch.tensor(1.0)}),
            "missing or has an unexpected shape",
        ),
        (lambda c: c.update(stylegan={"G": {"conv_clamp": "x"}}), "conv_clamp"),
    ],
)
def test_a_mismatch_is_named(damage, reason, tmp_path):
    content = contents(CONVERTED)
    damage(content)
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=reason) as e:
        stylegan.load_networks(tmp_path / "a.pt")
    assert "\n" not in str(e.value)
    checkpoint = open_checkpoint(tmp_path / "a.pt")
    assert checkpoint.config is None and checkpoint.stored["G_ema"]


def test_values_that_are_not_tensors(tmp_path):
    first = {"input.input": torch.ones(1)}
    for state in (
        {"input.input": 3},
        {**first, 5: first},
        {**first, "a\nb\x1b[31m": torch.ones(1)},
    ):
        torch.save({"g_ema": state}, tmp_path / "a.pt")
        with pytest.raises(CheckpointError) as e:
            open_checkpoint(tmp_path / "a.pt")
        assert str(e.value).isprintable()


def test_wide_latents_take_little_memory_for_their_mean(tmp_path):
    """The width of the latents comes from the file."""
    content = contents(TRAINING)
    with pytest.MonkeyPatch.context() as patch:
        sizes = []
        draw = np.random.RandomState
        patch.setattr(np.random, "RandomState", lambda seed: Watched(draw(seed), sizes))
        torch.save({"g_ema": content["g_ema"]}, tmp_path / "a.pt")
        assert stylegan.load_networks(tmp_path / "a.pt").G_ema is not None
    assert sum(sizes) == SAMPLES and max(sizes) <= 256


class Watched:
    def __init__(self, random, sizes):
        self.random, self.sizes = random, sizes

    def randn(self, n, width):
        self.sizes.append(n)
        return self.random.randn(n, width)
