# SPDX-License-Identifier: Apache-2.0
"""State dicts alone: settings from the shapes, or those of another network."""

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import stylegan
from checkpoints.small_networks import discriminator, generator
from stylegan.checkpoints.open import open_checkpoint
from stylegan.config import Config
from stylegan.errors import CheckpointError, Note, UserError
from stylegan_ops import setup_filter

FIXTURES = Path(__file__).parents[1] / "fixtures"
HALF = ("low_precision_blocks", "conv_clamp", "w_avg_beta", "precision")  # what no shape tells
pytestmark = pytest.mark.filterwarnings("ignore::stylegan.errors.Note")


def images(G):
    c = G.config
    g = torch.Generator().manual_seed(3)
    label = torch.eye(c.c_dim)[[0] * 2] if c.c_dim else None
    return G(torch.randn(2, c.z_dim, generator=g), label, truncation_psi=0.7)


def told(config):
    """The settings that shapes tell, in one form."""
    fields = {k: v for k, v in dataclasses.asdict(config).items() if k not in HALF}
    if fields.get("widths"):
        fields["channel_base"] = fields["channel_max"] = None
    if "resample_filter" in fields:
        taps = fields["resample_filter"]
        fields["resample_filter"] = [tap / sum(taps) for tap in taps]
    return fields


def same(G, expected):
    assert told(G.config) == told(expected.config)
    assert torch.equal(images(G), images(expected))


@pytest.mark.parametrize("name", ["sg2-32", "sg2ada-64", "sg2ada-cond-32", "sg3t-64", "sg3r-32"])
@torch.no_grad()
def test_weights_of_published_networks_alone(name):
    known = {k: torch.tensor(v) for k, v in np.load(FIXTURES / f"{name}.npz").items()}
    nets = stylegan.load_networks(FIXTURES / f"{name}.safetensors")
    img = (nets.G_ema or nets.G)(known["z"], known.get("c"))
    assert (img - known["img"]).abs().max() < 1e-5 * known["img"].abs().max()
    expected = stylegan.load_networks(FIXTURES / f"{name}.pkl").config
    assert told(nets.config.G) == told(expected.G)
    if nets.D is not None:
        assert (nets.D(known["img"], known.get("c")) - known["logits"]).abs().max() < 1e-4


SETTINGS = [
    {},
    {"architecture": "resnet"},
    {"architecture": "orig"},
    {"c_dim": 3},
    {"channels": 1, "use_noise": False},
    {"channels": 4, "z_dim": 8},
    {"widths": (16, 7, 5)},
    {"resolution": (32, 24)},
    {"mapping_layers": 0},
    {"resample_filter": (1, 2, 1)},
    {"resolution": (32, 16), "min_block_side": 2},
]


def nvidia_state(G):
    """The state dict of a generator of NVIDIA's programs, which also has the filters."""
    state = dict(G.state_dict())
    f = setup_filter(G.config.resample_filter)
    for name in [key for key in state if key.endswith(".conv1.weight")]:
        block = name.removesuffix("conv1.weight")
        state |= {f"{block}{layer}resample_filter": f.clone() for layer in ("", "conv0.", "conv1.")}
    return state


@pytest.mark.parametrize("fields", SETTINGS, ids=str)
@pytest.mark.parametrize("write", [torch.save, save_file])
def test_settings_of_stylegan2_follow_from_the_shapes(fields, write, tmp_path):
    G = generator(**fields)
    write(nvidia_state(G), tmp_path / "a.bin")
    nets = stylegan.load_networks(tmp_path / "a.bin")
    same(nets.G_ema, G)
    assert nets.D is None and nets.meta["source"]["format"] == "state dict"


@pytest.mark.parametrize(
    "fields",
    [
        {"conv_kernel": 1, "radial_filters": True, "channel_base": 512, "channel_max": 32},
        {"conv_kernel": 3, "c_dim": 2},
        {"num_layers": 6, "num_critical": 2, "channels": 1},
        {"channel_base": 300, "channel_max": 20, "resolution": 64},
    ],
    ids=str,
)
@pytest.mark.parametrize("filters", [True, False])
def test_settings_of_stylegan3_follow_from_its_layers(fields, filters, tmp_path):
    G = generator(model="stylegan3-t", **{"num_layers": 6, "num_critical": 2, **fields})
    state = {k: v for k, v in G.state_dict().items() if filters or not k.endswith("_filter")}
    torch.save(state, tmp_path / "a.pt")
    if not filters:
        with pytest.raises(CheckpointError, match="lacks synthesis.L.*_filter"):
            stylegan.load_networks(tmp_path / "a.pt")
        return
    read = stylegan.load_networks(tmp_path / "a.pt").G_ema
    assert read.config.title == G.config.title and torch.equal(images(read), images(G))


def test_another_stylegan3_asks_for_a_network_like_it(tmp_path):
    G = generator(model="stylegan3-t", first_cutoff=1.5)
    torch.save(G.state_dict(), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="nor of R; --like NETWORK names a network with the"):
        stylegan.load_networks(tmp_path / "a.pt")
    nets = stylegan.networks.Networks(Config(G=G.config), {}, G_ema=G)
    (tmp_path / "snapshot").mkdir()
    nets.save(tmp_path / "snapshot")
    read = stylegan.load_networks(tmp_path / "a.pt", like=tmp_path / "snapshot").G_ema
    assert read.config == G.config and torch.equal(images(read), images(G))


WRAPPED = {
    "under a key": lambda G, D: {"model": G},
    "in two levels": lambda G, D: {"ckpt": {"state_dict": G}, "epoch": 3},
    "of DataParallel": lambda G, D: {f"module.{k}": v for k, v in G.items()},
    "compiled": lambda G, D: {f"module._orig_mod.{k}": v for k, v in G.items()},
    "both": lambda G, D: {"G_ema": G, "D": D},
    "both, prefixed": lambda G, D: {
        **{f"G.{k}": v for k, v in G.items()},
        **{f"D.{k}": v for k, v in D.items()},
    },
    "in a list": lambda G, D: [3, G],
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wherever_the_state_dict_is(name, tmp_path):
    G, D = generator(), discriminator()
    torch.save(WRAPPED[name](dict(G.state_dict()), dict(D.state_dict())), tmp_path / "a.pt")
    nets = stylegan.load_networks(tmp_path / "a.pt")
    same(nets.G_ema or nets.G, G)
    if "both" in name:
        x = torch.randn(4, 3, 16, 16)
        assert torch.equal(nets.D(x), D(x))


@pytest.mark.parametrize(
    "fields",
    [{"architecture": "orig"}, {"architecture": "skip"}, {"c_dim": 2}, {"mbstd_channels": 2}],
    ids=str,
)
def test_settings_of_discriminators(fields, tmp_path):
    D, G = discriminator(**fields), generator(c_dim=fields.get("c_dim", 0))
    torch.save({"G": G.state_dict(), "D": D.state_dict()}, tmp_path / "a.pt")
    read = stylegan.load_networks(tmp_path / "a.pt").D
    assert told(read.config) == told(D.config)


def test_a_discriminator_that_does_not_fit_loses_nothing(tmp_path):
    G, D = generator(), {"b8.conv0.weight": torch.zeros(2, 2, 3, 3)}
    torch.save({"G": G.state_dict(), "D": D}, tmp_path / "a.pt")
    nets = stylegan.load_networks(tmp_path / "a.pt")
    same(nets.G_ema or nets.G, G)
    assert nets.D is None


def test_a_missing_mean_of_w_is_computed(tmp_path):
    G = generator()
    state = {k: v for k, v in G.state_dict().items() if k != "mapping.w_avg"}
    save_file(state, tmp_path / "a.safetensors")
    read = stylegan.load_networks(tmp_path / "a.safetensors").G_ema
    z = torch.randn(4000, G.z_dim)
    assert (read.mapping.w_avg - G.mapping(z)[:, 0].mean(0)).abs().max() < 0.2


def test_what_no_shape_tells_is_said_once_and_taken_from_like(tmp_path):
    G = generator(conv_clamp=1.5, low_precision_blocks=1)
    torch.save(G.state_dict(), tmp_path / "a.pt")
    with pytest.warns(
        Note, match="a.pt: the file holds no settings; .* --like NETWORK takes the settings"
    ):
        assert stylegan.load_networks(tmp_path / "a.pt").config.G.conv_clamp == 256
    stylegan.networks.Networks(Config(G=G.config), {}, G_ema=G).save(tmp_path)
    nets = stylegan.load_networks(tmp_path / "a.pt", like=tmp_path)
    assert nets.config.G == G.config and torch.equal(images(nets.G_ema), images(G))


@pytest.mark.parametrize(
    "path, like, message",
    [
        ("sg2-32.pkl", "sg2-32.pkl", "holds its own settings; leave --like out"),
        ("rosinality-64.pt", "sg2-32.pkl", "holds its own settings; leave --like out"),
        ("sg2-32.safetensors", "sg2ada-64.pkl", "G lacks synthesis.b64"),
        ("sg2-32.safetensors", "sg3t-64.pkl", "lacks synthesis.L0"),
        ("sg2-32.safetensors", "nothing", "there is no such folder or file"),
    ],
)
def test_networks_that_are_not_like_the_other(path, like, message):
    with pytest.raises(UserError, match=message):
        stylegan.load_networks(FIXTURES / path, like=FIXTURES / like)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("synthesis.b8.conv1.weight"), r"blocks of \[4, 16\] px"),
        (lambda s: s.pop("synthesis.b16.torgb.weight"), "torgb.weight is missing"),
        (lambda s: s.pop("synthesis.b8.conv0.bias"), "lacks synthesis.b8.conv0.bias"),
        (lambda s: s.update({"synthesis.b8.more": torch.zeros(2)}), "unexpected tensor"),
        (lambda s: s.update({"synthesis.b8.conv0.weight": torch.zeros(3)}), r"is \[3\], expected"),
        (lambda s: s.update({"synthesis.b4.const": torch.zeros(3)}), "unexpected shape"),
        (lambda s: s.update({"mapping.fc0.weight": "text"}), "fc0.weight is not a tensor"),
    ],
)
def test_state_dicts_that_are_no_whole_network(change, message, tmp_path):
    state = dict(generator().state_dict())
    change(state)
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=message):
        stylegan.load_networks(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "value, what",
    [
        (lambda G, D: {"D": D.state_dict()}, "a discriminator"),
        (lambda G, D: D.state_dict(), "a discriminator"),
        (lambda G, D: {"netD": D.state_dict(), "step": 3}, "a discriminator"),
        (lambda G, D: G.mapping.state_dict(), "a mapping network"),
        (lambda G, D: G.synthesis.state_dict(), "a synthesis network"),
        (lambda G, D: {"model": G.synthesis.state_dict()}, "a synthesis network"),
    ],
)
def test_a_part_alone_is_named(value, what, tmp_path):
    torch.save(value(generator(), discriminator()), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=f"holds {what} alone; a generator has mapping and"):
        stylegan.load_networks(tmp_path / "a.pt")
    stored = open_checkpoint(tmp_path / "a.pt").stored
    assert list(stored) == (["D"] if what == "a discriminator" else ["G_ema"])


def test_a_module_of_pytorch_is_not_called_nvidias(tmp_path):
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path / "a.pt")
    message = "PyTorch module.: holds a torch.nn.modules.container.Sequential, not a network of"
    with pytest.raises(CheckpointError, match=message):
        stylegan.load_networks(tmp_path / "a.pt")


def header(entries, data=b"", size=None):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return (len(text) if size is None else size).to_bytes(8, "little") + text + data


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HOSTILE = {
    "a length beyond the file": (header(b'{"a": 1}', size=1 << 30), "the file ends too early"),
    "no JSON": (header(b'{"a": '), "damaged"),
    "nested too deeply": (header(b'{"' + b'a":{"' * 9000), "damaged"),
    "a list": (header(b"{}  ").replace(b"{}", b"{ "), "damaged"),
    "no entry": (header({"a": 1}), "unknown type"),
    "another type": (header({"a": {**ENTRY, "dtype": "F8"}}), "unknown type"),
    "beyond the end": (
        header({"a": {**ENTRY, "data_offsets": [0, 99]}}),
        "the file ends too early",
    ),
    "backwards": (
        header({"a": {**ENTRY, "data_offsets": [8, 0]}}, bytes(8)),
        "the file ends too early",
    ),
    "too many numbers": (header({"a": {**ENTRY, "shape": [1 << 40]}}, bytes(8)), "exceeds"),
    "too few numbers": (header({"a": {**ENTRY, "shape": [1]}}, bytes(8)), "1 numbers in 8 bytes"),
    "a negative size": (header({"a": {**ENTRY, "shape": [-2]}}, bytes(8)), "no valid shape"),
    "a fraction": (header({"a": {**ENTRY, "shape": [2.0]}}, bytes(8)), "no valid shape"),
    "no shape": (header({"a": {"dtype": "F32", "data_offsets": [0, 0]}}), "invalid header"),
    "an escape in a name": (header({"a\x1b[31m": ENTRY}, bytes(8)), "an invalid name"),
    "no tensors": (header({"__metadata__": {"a": "b"}}), "contains no known networks"),
    "other tensors": (header({"a": ENTRY}, bytes(8)), "contains no known networks"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_safetensors_that_are_damaged(name, tmp_path):
    data, message = HOSTILE[name]
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=message):
        stylegan.load_networks(tmp_path / "a.safetensors")


def test_a_header_that_is_too_large_is_not_parsed(tmp_path):
    with open(tmp_path / "a.safetensors", "wb") as f:
        f.write((1 << 25).to_bytes(8, "little") + b'{"')
        f.truncate(1 << 26)
    with pytest.raises(CheckpointError, match="a header of more than 16 MiB"):
        stylegan.load_networks(tmp_path / "a.safetensors")


def test_damaged_safetensors_are_refused_or_networks(tmp_path):
    rng, path = random.Random(0), tmp_path / "a.safetensors"
    save_file(generator().state_dict(), path)
    whole = path.read_bytes()
    size = 8 + int.from_bytes(whole[:8], "little")
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 4))):
            data[rng.randrange(size)] = rng.choice(b'{}[]":,0129.eF\x00\xff')
        path.write_bytes(data[: rng.choice((len(data), rng.randrange(len(data))))])
        try:
            assert images(stylegan.load_networks(path).G_ema).shape == (2, 3, 16, 16)
        except CheckpointError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("bad", ["text", None, torch.zeros(3, dtype=torch.complex64)])
def test_a_discriminator_that_is_no_tensors_leaves_the_generator(tmp_path, bad):
    G = generator()
    D = dict(discriminator().state_dict())
    D["b4.fc.weight"] = bad
    torch.save({"G_ema": G.state_dict(), "D": D}, tmp_path / "a.pt")
    with pytest.warns(Note):
        nets = stylegan.load_networks(tmp_path / "a.pt", "cpu")
    assert nets.D is None and "D.b4.fc.weight" in nets.checkpoint.unbuilt["D"]
    state = nets.G_ema.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in G.state_dict().items())
