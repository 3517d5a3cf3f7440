# SPDX-License-Identifier: Apache-2.0
"""Every command with files that hold only a part of what it would like."""

import json

import pytest
import torch
from checkpoints import nvidia_pickles, tensorflow_pickles
from checkpoints.nvidia_pickles import ADA, STYLEGAN3, dump, of_class, published
from checkpoints.small_networks import check, discriminator, generator, settled, small_G
from cli.conftest import SMALL
from PIL import Image

import stylegan
from stylegan.checkpoints.rosinality.writer import write as write_rosinality
from stylegan.networks import Networks

NOTE = "there is no averaged generator (G_ema), so G draws the images"
PROJECTED = "pg_modules.discriminator.ProjectedDiscriminator"


def only_G(folder):
    return nvidia_pickles.write(folder / "G.pkl", {"G": generator()}, STYLEGAN3)


def only_g(folder):
    state = torch.load("G.pt", weights_only=False)
    torch.save({"g": state["g_ema"]}, folder / "g.pt")
    return folder / "g.pt"


def only_G_tensorflow(folder):
    return tensorflow_pickles.write(folder / "tf.pkl", {"G": small_G()})


def only_G_folder(folder):
    folder = folder / "snapshot"
    folder.mkdir()
    G, D = generator(), discriminator()
    Networks(stylegan.config.Config(G=G.config, D=D.config), {}, G=G).save(folder)
    return folder


@pytest.mark.parametrize("make", [only_G, only_g, only_G_tensorflow, only_G_folder])
@pytest.mark.parametrize(
    "command",
    [
        "generate {} --seeds 0-1 --outdir out",
        "mix {} --rows 0 --columns 1 --out m.png",
        "video {} --seeds 0-1 --frames 3 --out v.webp",
        "spectra {} --images 4 --out s.npz",
        "convert {} out",
        "convert {} a.pkl",
        "convert {} a.safetensors",
        "info {}",
    ],
)
def test_G_draws(run, tmp_path, make, command):
    if make is only_g:
        run("convert", only_G(tmp_path), "G.pt")
    network = make(tmp_path)
    code, text, err = run(*command.format(network).split())
    assert code == 0, err
    if command.startswith("info") and network.is_file():
        assert "draws the images, since there is no G_ema" in text
    if command.startswith("info") or command.endswith("safetensors") and network.is_file():
        return
    assert err.count(NOTE) == 1 and err.startswith(f"note: {network}: ") and "\n" == err[-1]


def test_a_snapshot_of_G_alone_draws(run, tmp_path):
    path = only_G(tmp_path)
    code, text, err = run("convert", path, "out")
    assert code == 0 and "G_ema is a copy of G" in text
    a, b = (stylegan.Pipeline.from_pretrained(p, "cpu")(seeds=[1]) for p in ("out", str(path)))
    assert a.images[0].tobytes() == b.images[0].tobytes()
    assert run("info", "out")[0] == 0


def test_equivariance_of_G(run, tmp_path):
    G = generator(model="stylegan3-t")
    path = nvidia_pickles.write(tmp_path / "a.pkl", {"G": G}, STYLEGAN3)
    code, text, err = run("metrics", path, "--metrics", "eqt", "--samples", "2")
    assert code == 0 and NOTE in err, err


def images(folder, width, height):
    folder.mkdir()
    for i in range(4):
        Image.effect_noise((width, height), 60 + i).convert("RGB").save(folder / f"{i}.png")
    return folder


def odd_D(folder):
    D = of_class(PROJECTED)()
    D.head = torch.nn.Linear(2, 1)
    root = {"G_ema": published(generator(), STYLEGAN3), "D": D}
    return dump(folder / "a.pkl", root, classes=(type(D),))


def test_a_run_starts_D_anew(run, tmp_path):
    code, text, err = run(
        "train", "--data", images(tmp_path / "data", 16, 16), "--init-from", odd_D(tmp_path),
        "--batch", "4", "--kimg", "0.004", "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    assert err.count(f"D cannot be built: the class {PROJECTED} is not known here") == 1
    assert "cannot be built here; starts from scratch" in text
    assert next(tmp_path.glob("runs/*/snapshots/*"))


def test_info_names_what_cannot_be_built(run, tmp_path):
    code, text, err = run("info", "--json", odd_D(tmp_path))
    rows = json.loads(text)
    assert rows["G_ema"].endswith("parameters")
    assert rows["D"] == f"cannot be built: the class {PROJECTED} is not known here"


def test_a_run_of_auto_for_rosinality(run, tmp_path):
    """Its 2 mapping layers and its discriminator."""
    sizes = dict(channel_base=64, channel_max=8)
    config = stylegan.preset("auto", resolution=(16, 16), batch=4, **sizes).resolved()
    assert config.G.mapping_layers == 2
    G, D = stylegan.build_generator(config), stylegan.build_discriminator(config)
    (tmp_path / "run").mkdir()
    Networks(config, {}, G_ema=G, G=G, D=D).save(tmp_path / "run")
    code, text, err = run("convert", "run", "a.pt")
    assert code == 0 and "2 mapping layers, expected 8" in text, err
    assert {"g", "d", "g_ema", "latent_avg"} <= torch.load("a.pt", weights_only=False).keys()
    nets = stylegan.load_networks("a.pt", "cpu")
    assert nets.D is not None and nets.config.G.mapping_layers == 2


HUMAN = dict(resolution=(32, 16), channel_base=256, channel_max=16, low_precision_blocks=2,
             min_block_side=2)  # fmt: skip


def human(folder, line):
    """Networks in the layout of StyleGAN-Human."""
    G = settled(stylegan.build_generator("stylegan2", z_dim=8, w_dim=8, **HUMAN))
    D = settled(stylegan.build_discriminator("stylegan2", **HUMAN))
    assert G.synthesis.b4.const.shape == (16, 4, 2)
    root = {name: published(network, line) for name, network in (("G_ema", G), ("D", D))}
    for network in root.values():
        network.state["_init_kwargs"] |= {"img_resolution": 32, "square": False}
    return dump(folder / "human.pkl", root), G, D


@pytest.mark.parametrize("line", [ADA, STYLEGAN3])
def test_networks_that_are_not_square(run, tmp_path, line):
    path, G, D = human(tmp_path, line)
    nets = stylegan.load_networks(path, "cpu")
    check(nets.G_ema, G)
    check(nets.D, D)
    assert json.loads(run("info", "--json", path)[1])["images"] == "16x32 px, 3 channels"
    assert run("generate", path, "--seeds", "3", "--outdir", "out")[0] == 0
    assert Image.open(next((tmp_path / "out").glob("*.png"))).size == (16, 32)
    assert run("convert", path, "again")[0] == 0
    check(stylegan.load_networks("again", "cpu").G_ema, G)
    code, _, err = run("convert", path, "a2.pkl")
    assert code == 2 and "squares" in err


def test_training_from_a_network_that_is_not_square(run, tmp_path):
    path, G, _ = human(tmp_path, ADA)
    args = ["train", *SMALL, "--data", images(tmp_path / "data", 16, 32), "--init-from", path]
    code, text, err = run(*args)
    assert code == 0, err
    assert "--min-block-side 2" in text
    (folder,) = tmp_path.glob("runs/*")
    made = stylegan.load_networks(folder, "cpu").G_ema
    assert made.synthesis.b4.const.shape == (8, 4, 2) or made.synthesis.b4.const.shape == (16, 4, 2)
    code, text, err = run("train", *SMALL, "--data", images(tmp_path / "square", 16, 16),
                          "--init-from", path)  # fmt: skip
    assert code == 0, err
    newest = max(tmp_path.glob("runs/*"))
    assert stylegan.load_networks(newest, "cpu").config.G.min_block_side == 3


@torch.no_grad()
def test_networks_of_pytorch_with_another_constant(tmp_path):
    """A constant of 5 x 7 in NVIDIA's layout, and one of 4 x 2 in rosinality's."""
    sizes = dict(resolution=(20, 28), channel_base=64, channel_max=8, low_precision_blocks=0)
    G = settled(stylegan.build_generator("stylegan2", z_dim=8, w_dim=8, **sizes))
    D = settled(stylegan.build_discriminator("stylegan2", **sizes))
    root = {"G_ema": published(G, ADA), "D": published(D, ADA)}
    for network in root.values():
        network.state["_init_kwargs"]["img_resolution"] = 16
    nets = stylegan.load_networks(dump(tmp_path / "a.pkl", root), "cpu")
    check(nets.G_ema, G)
    check(nets.D, D)


@torch.no_grad()
def test_rosinality_networks_that_are_not_square(tmp_path):
    square = small_G(resolution=32, conv_clamp=None)
    nets = Networks(stylegan.config.Config(G=square.config), {}, G_ema=square)
    write_rosinality(nets, tmp_path / "a.pt")
    content = torch.load(tmp_path / "a.pt", weights_only=False)
    state = content["g_ema"]
    state["input.input"] = state["input.input"][..., :2].clone()
    for key in [key for key in state if key.startswith("noises.")]:
        state[key] = state[key][..., : state[key].shape[-1] // 2].clone()
    del content["stylegan"]
    torch.save(content, tmp_path / "b.pt")
    G = stylegan.load_networks(tmp_path / "b.pt", "cpu").G_ema
    assert G.config.resolution == (32, 16) and G.synthesis.b4.const.shape[1:] == (4, 2)
    z = torch.randn(1, square.z_dim)
    assert torch.equal(G.mapping(z), square.mapping(z)) and G(z).shape == (1, 3, 32, 16)


def test_info_of_a_snapshot_whose_D_is_damaged(run, tmp_path):
    G, D = generator(), discriminator()
    folder = tmp_path / "snapshot"
    folder.mkdir()
    Networks(stylegan.config.Config(G=G.config, D=D.config), {}, G_ema=G, D=D).save(folder)
    (folder / "D.safetensors").write_bytes(b"damaged")
    code, text, err = run("info", "--json", folder)
    assert code == 0 and json.loads(text)["D"].startswith("cannot be read: does not fit"), err
    (folder / "G_ema.safetensors").write_bytes(b"damaged")
    assert run("info", "--json", folder)[0] == 2


def test_tensorflow_networks_that_are_not_square(tmp_path):
    """A constant of 5 x 7, and recorded sizes that this package does not need."""
    sizes = dict(resolution=(20, 28), channel_base=64, channel_max=8, conv_clamp=None)
    G = settled(stylegan.build_generator("stylegan2", z_dim=6, w_dim=5, **sizes))
    recorded = dict(resolution_w=28, resolution_h=20, min_h=5, min_w=7, res_log2=4)
    path = tensorflow_pickles.write(
        tmp_path / "a.pkl", {"G_ema": G}, settings=recorded, unrecorded=("resolution",)
    )
    nets = stylegan.load_networks(path, "cpu")
    assert nets.config.G.resolution == (20, 28)
    z = torch.randn(1, 6)
    assert torch.allclose(nets.G_ema(z), G(z), atol=1e-4)
    square = small_G()
    recorded = dict(resolution_w=16, resolution_h=16)
    path = tensorflow_pickles.write(tmp_path / "b.pkl", {"G_ema": square}, settings=recorded)
    assert torch.allclose(stylegan.load_networks(path, "cpu").G_ema(z), square(z), atol=1e-4)
