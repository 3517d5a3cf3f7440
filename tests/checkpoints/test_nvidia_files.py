# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's pickles as files: known outputs, when tensors are read, inference and training."""

import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny import tiny

import stylegan
from checkpoints.nvidia_pickles import SOURCE, STYLEGAN3, Persistent, write
from checkpoints.small_networks import check, discriminator, generator, settled
from stylegan import CheckpointError, Pipeline, UserError, load_networks
from stylegan.checkpoints.pickle.source import File
from stylegan.training.freeze import Frozen
from stylegan.training.transfer import transfer

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAMES = ("sg2-32", "sg2ada-64", "sg2ada-cond-32", "sg3t-64", "sg3r-32")


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_known_good(name):
    nets = load_networks(FIXTURES / f"{name}.pkl")
    known = {k: torch.tensor(v) for k, v in np.load(FIXTURES / f"{name}.npz").items()}
    G, z, c = nets.G_ema, known["z"], known["c"]
    cutoff = 5 if G.num_ws >= 6 else None
    results = {
        "w": G.mapping(z, c),
        "img": G(z, c),
        "w_psi07": G.mapping(z, c, truncation_psi=0.7, truncation_cutoff=cutoff),
        "img_psi07": G(z, c, truncation_psi=0.7, truncation_cutoff=cutoff),
        **({"logits": nets.D(known["img"], c)} if nets.D else {}),
    }
    assert ("logits" in results) == (name != "sg3r-32")
    assert results.keys() == known.keys() - {"z", "c"}
    for key, value in results.items():
        error = (value - known[key]).abs().max() / known[key].abs().max()
        assert value.shape == known[key].shape and error <= 1e-4, f"{key}: error {error:.3g}"


WATCH = """
import os, sys
from stylegan import load_networks
from stylegan.checkpoints.open import open_checkpoint
seen = []
def watch(event, args):
    if event in ("pickle.find_class", "os.system", "subprocess.Popen"):
        seen.append((event, str(args)))
    if event == "exec" and not os.path.isfile(args[0].co_filename):
        seen.append((event, args[0].co_filename))
    if event == "import" and args[0].split(".")[0] in ("dnnlib", "torch_utils", "training"):
        seen.append((event, args[0]))
sys.addaudithook(watch)
for path in sys.argv[1:]:
    open_checkpoint(path)
heavy = {"torch._dynamo", "sympy", "tensorflow"} & sys.modules.keys()
for path in sys.argv[1:]:
    nets = load_networks(path)
    assert nets.G_ema is not None and nets.G is not None and (nets.D or "sg3r" in path)
eval("1")
print(sorted(heavy), seen)
"""


def test_nothing_is_run_or_imported(tmp_path):
    """Neither source text nor names in the pickles. Opening does not import torch's compiler."""
    written = tmp_path / "a.pkl"
    G = generator(model="stylegan3-t")
    write(written, {"G": G, "G_ema": G, "D": discriminator()}, STYLEGAN3, protocol=2)
    assert SOURCE.encode() in written.read_bytes()
    paths = [written, *(FIXTURES / f"{name}.pkl" for name in NAMES)]
    command = [sys.executable, "-c", WATCH, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stderr == ""
    assert (
        done.stdout.strip() == "[] [('exec', '<string>')]"
    )  # of eval, which shows that it would be seen


def test_long_source_text(tmp_path, monkeypatch):
    """Source text of any length is skipped."""
    G = generator()
    path = tmp_path / "a.pkl"
    for length in (1 << 15, 1 << 17):
        monkeypatch.setattr(Persistent, "source", SOURCE + "# é" * length)
        check(load_networks(write(path, {"G_ema": G}, STYLEGAN3)).G_ema, G)


@pytest.fixture
def written(tmp_path):
    """(path, networks) of a pickle whose convolutions are large."""
    sizes = dict(channel_base=512, channel_max=32)
    networks = {"G": generator(1, **sizes), "D": discriminator(), "G_ema": generator(**sizes)}
    return write(tmp_path / "a.pkl", networks, STYLEGAN3), networks


def test_networks_are_read_when_they_are_needed(written, monkeypatch):
    path, networks = written
    lengths = []
    read = File.read
    monkeypatch.setattr(
        File, "read", lambda file, start, n: (lengths.append(n), read(file, start, n))[1]
    )
    nets = load_networks(path)
    assert max(lengths, default=0) <= 64  # the low-pass filters
    for name in ("G_ema", "D", "G"):
        lengths.clear()
        check(getattr(nets, name), networks[name])
        sizes = [v.numel() * 4 for v in networks[name].state_dict().values()]
        large, read_large = (sorted(n for n in s if n > 9000) for s in (sizes, lengths))
        assert len(large) >= 3 and large == read_large and sum(lengths) <= sum(sizes)
        lengths.clear()
        assert getattr(nets, name) is getattr(nets, name) and not lengths


@pytest.mark.skipif(os.name == "nt", reason="Windows does not delete open files")
def test_the_file_may_be_deleted(written, tmp_path):
    path, networks = written
    nets = load_networks(path)
    write(tmp_path / "b.pkl", {"G_ema": generator(7)}, STYLEGAN3)
    os.replace(tmp_path / "b.pkl", path)
    check(nets.G_ema, networks["G_ema"])
    path.unlink()
    check(nets.D, networks["D"])


def test_a_file_that_is_cut_after_opening(written):
    path, networks = written
    nets = load_networks(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(CheckpointError, match="has shrunk since it was opened") as e:
        nets.G_ema, nets.G, nets.D  # noqa: B018
    assert "\n" not in str(e.value) and str(path) in str(e.value)


def test_pipeline(tmp_path):
    G = settled(stylegan.build_generator(tiny(channels=4)))
    D = settled(stylegan.build_discriminator(tiny(channels=4)))
    path = write(tmp_path / "a.pkl", {"G_ema": G})
    z = torch.randn(2, 8)
    result = Pipeline.from_pretrained(path, "cpu")(latents=z, truncation_psi=0.5)
    assert [image.size for image in result.images] == [(16, 16)] * 2
    assert [image.mode for image in result.images] == ["RGBA"] * 2
    assert torch.allclose(result.ws, G.mapping(z, truncation_psi=0.5), atol=1e-5)
    with pytest.raises(UserError, match="only a discriminator; images need G_ema or G"):
        Pipeline.from_pretrained(write(tmp_path / "b.pkl", {"D": D}), "cpu")


@pytest.mark.parametrize("preset", ["stylegan2", "stylegan3-t"])
def test_training_from_a_pickle(tmp_path, preset):
    trained, model = (
        types.SimpleNamespace(
            G=stylegan.build_generator(tiny(preset)),
            D=stylegan.build_discriminator(tiny(preset)),
            G_ema=stylegan.build_generator(tiny(preset)),
            config=tiny(preset),
            frozen=Frozen(),
        )
        for _ in range(2)
    )
    networks = {name: vars(trained)[name] for name in ("G", "D", "G_ema")}
    for i, network in enumerate(networks.values()):
        settled(network, i)
    table = transfer(model, write(tmp_path / "a.pkl", networks, STYLEGAN3))
    for name, source in (("G", "G_ema"), ("G_ema", "G_ema"), ("D", "D")):
        state = getattr(model, name).state_dict()
        for key, value in networks[source].state_dict().items():
            assert torch.equal(value, state[key]) or key.endswith("transform"), key
    assert "16x16 px, 3 channels, no classes" in table[0] and "a.pkl" in table[0]
    counts = [line.split()[2:5:2] for line in table[2:] if " of " in line[:45]]
    assert len(counts) > 8 and all(fits == there for fits, there in counts)
