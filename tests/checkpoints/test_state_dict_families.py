# SPDX-License-Identifier: Apache-2.0
"""Networks under the names of other programs: read if they are renamings, else named."""

import dataclasses
import re

import pytest
import torch
from safetensors.torch import save_file

import stylegan
from checkpoints.small_networks import discriminator, generator
from stylegan.checkpoints.open import open_checkpoint
from stylegan.checkpoints.rosinality.names import names_of
from stylegan.cli.checkpoint_info import checkpoint_rows
from stylegan.config import Config
from stylegan.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore::stylegan.errors.Note")
FIELDS = dict(conv_clamp=None, low_precision_blocks=0)


def rosinality_state(G):
    """The tensors of a generator under rosinality's names and in its shapes, with its filters."""
    config, ours = Config(G=G.config), G.state_dict()
    state = {n.theirs: ours[n.ours].reshape(n.their_shape(tuple(ours[n.ours].shape)))
             for n in names_of("G_ema", config)}  # fmt: skip
    taps = torch.tensor([1.0, 3, 3, 1]) / 8
    for i in range(0, 2 * (len(G.synthesis.resolutions) - 1), 2):
        state[f"convs.{i}.conv.blur.kernel"] = 4 * torch.outer(taps, taps)
        state[f"to_rgbs.{i // 2}.upsample.kernel"] = 4 * torch.outer(taps, taps)
    return state


def mmagic(key):
    """A name of mmagic for one of rosinality's."""
    if m := re.fullmatch(r"style\.(\d)\.(\w+)", key):
        end = {"weight": "linear.weight_orig", "bias": "bias"}[m[2]]
        return f"style_mapping.{m[1]}.{end}"
    if m := re.fullmatch(r"noises\.noise_(\d+)", key):
        return f"injected_noise_{m[1]}"
    if m := re.fullmatch(r"(.*)\.conv\.modulation\.(\w+)", key):
        end = {"weight": "linear.weight_orig", "bias": "bias"}[m[2]]
        return f"{m[1]}.conv.style_modulation.{end}"
    key = re.sub(r"\.noise\.weight$", ".noise_injector.weight", key)
    key = re.sub(r"\.conv\.weight$", ".conv.weight_orig", key)
    return key.replace("input.input", "constant_input.weight")


def basicsr(key):
    """A name of BasicSR for one of rosinality's; None for the filters, which it does not save."""
    if key.endswith("kernel"):
        return None
    if m := re.fullmatch(r"noises\.noise_(\d+)", key):
        return f"noises.noise{m[1]}"
    key = re.sub(r"^style\.", "style_mlp.", key).replace("input.input", "constant_input.weight")
    key = re.sub(r"\.noise\.weight$", ".weight", key)
    key = key.replace(".conv.", ".modulated_conv.")
    return re.sub(r"^conv(1|s\.\d+)\.", r"style_conv\1.", key)


def under(names, state, prefix=""):
    return {f"{prefix}{name}": value for key, value in state.items() if (name := names(key))}


def mmagic_file(G):
    state = under(mmagic, G, "generator_ema.") | under(mmagic, G, "generator.")
    state |= {"discriminator.convs.0.conv.weight_orig": torch.zeros(8, 3, 1, 1)}
    return {"meta": {"mmgen_version": "0.7.0"}, "state_dict": state}


FILES = {
    "mmagic": mmagic_file,
    "mmagic, averaged alone": lambda G: under(mmagic, G),
    "mmagic, in DataParallel": lambda G: {"state_dict": under(mmagic, G, "module.generator_ema.")},
    "mmagic, without _orig": lambda G: {
        k.replace("_orig", ""): v for k, v in under(mmagic, G).items()
    },
    "BasicSR": lambda G: {"params_ema": under(basicsr, G), "params": under(basicsr, G)},
    "BasicSR, one network": lambda G: {"params": under(basicsr, G)},
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("fields", [{}, {"resolution": 32, "mapping_layers": 8}], ids=str)
@torch.no_grad()
def test_renamed_networks_draw_the_same_images(name, fields, tmp_path):
    G = generator(**FIELDS, **fields)
    torch.save(FILES[name](rosinality_state(G)), tmp_path / "a.pth")
    nets = stylegan.load_networks(tmp_path / "a.pth")
    read = nets.G_ema or nets.G
    z = torch.randn(3, 16)
    assert torch.equal(read(z), G(z)) and nets.D is None
    assert nets.meta["source"]["format"] == f"{name.split(',')[0]} .pth"
    settings = dataclasses.replace(read.config, w_avg_beta=G.config.w_avg_beta)
    assert settings == dataclasses.replace(G.config, channel_base=settings.channel_base)


def test_a_renamed_network_that_lacks_a_tensor(tmp_path):
    state = under(basicsr, rosinality_state(generator()))
    del state["style_convs.1.activate.bias"]
    torch.save({"params_ema": state}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="BasicSR .pth.*convs.1.activate.bias is missing"):
        stylegan.load_networks(tmp_path / "a.pth")


def zeros(*names):
    return {name: torch.zeros(2, 2) for name in names}


# What such files hold, by the first tensors that tell.
OTHERS = {
    "genforce StyleGAN2": {
        "generator_smooth": zeros(
            "synthesis.early_layer.const", "truncation.w_avg", "mapping.dense0.x"
        )
    },
    "genforce StyleGAN1": {"generator": zeros("synthesis.layer0.weight", "mapping.dense0.weight")},
    "adriansahlman StyleGAN2": {
        "name": "Generator",
        "state_dict": zeros("G_mapping.main.0.layer.weight", "G_synthesis.const"),
    },
    "StyleGAN1": zeros("g_mapping.dense0.weight", "g_synthesis.blocks.4x4.const"),
    "StyleGAN1, rosinality": {
        "generator": zeros("generator.progression.0.conv1.bias", "style.1.linear.bias")
    },
    "lucidrains' stylegan2-pytorch": {
        "GAN": zeros("S.net.0.weight", "G.initial_conv.weight", "D.blocks.0.net.0.weight"),
        "version": "1.8.9",
    },
    "StyleSwin": {"g_ema": zeros("input.input", "layers.0.blocks.0.attn.0.proj.weight")},
    "FastGAN": {"g": zeros("feat_8.1.weight_orig", "se_64.main.1.weight_orig")},
    "StyleGAN-XL": {"G_ema": zeros("mapping.embed_proj.weight", "synthesis.L0_36_1024.weight")},
    "GFPGAN": {"params_ema": zeros("stylegan_decoder.style_mlp.1.weight", "final_linear.weight")},
    "GFPGAN, clean StyleGAN2": {"params_ema": zeros("style_conv1.bias", "style_mlp.1.weight")},
    "R3GAN": {"G_ema": zeros("Model.MainLayers.0.Layers.0.Basis")},
    "StarGAN v2": {
        "generator": zeros("from_rgb.weight"),
        "mapping_network": zeros("shared.0.weight"),
        "style_encoder": zeros("shared.0.weight"),
    },
    "BigGAN": zeros("blocks.0.0.conv1.weight", "blocks.0.0.bn1.gain.weight"),
    "Stable Diffusion": {"state_dict": zeros("model.diffusion_model.input_blocks.0.0.weight")},
    "a network of diffusers": zeros("conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"),
    "a LoRA": zeros("lora_unet_down.lora_up.weight"),
    "a network of transformers": zeros("model.layers.0.self_attn.q_proj.weight"),
    "ESRGAN": {"params_ema": zeros("conv_first.weight", "body.0.rdb1.conv1.weight")},
    "ArcFace": zeros("input_layer.0.weight", "body.0.res_layer.0.weight", "output_layer.0.bias"),
    "VGG or AlexNet": zeros("features.0.weight", "classifier.0.weight"),
    "Inception": zeros("Mixed_5b.branch1x1.conv.weight", "fc.weight"),
    "ResNet": zeros("layer1.0.conv1.weight", "fc.weight"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_are_named(name, tmp_path):
    path = tmp_path / "a.pt"
    torch.save(OTHERS[name], path)
    rows = checkpoint_rows(path)
    assert rows["format"] == rows["family"] == name
    assert rows["networks"].startswith("cannot be built: ")
    with pytest.raises(CheckpointError) as caught:
        stylegan.load_networks(path)
    assert str(caught.value).startswith(f"{path} ({name}): ") and "\n" not in str(caught.value)


def test_names_in_a_safetensors_file(tmp_path):
    save_file(OTHERS["a network of diffusers"], tmp_path / "a.safetensors")
    assert open_checkpoint(tmp_path / "a.safetensors").family == "a network of diffusers"


def test_networks_that_are_read_are_not_taken_for_others(tmp_path):
    for G in (generator(), generator(model="stylegan3-t"), generator(c_dim=2)):
        D = discriminator(c_dim=G.config.c_dim)
        torch.save({"G_ema": G.state_dict(), "D": D.state_dict()}, tmp_path / "a.pt")
        assert open_checkpoint(tmp_path / "a.pt").format == "state dict"


@pytest.mark.parametrize("beside", ["ArcFace", "VGG or AlexNet", "ResNet", "Inception"])
def test_a_network_beside_a_generator_does_not_hide_it(beside, tmp_path):
    G = generator(**FIELDS)
    for state in (rosinality_state(G), G.state_dict()):
        torch.save({"encoder": OTHERS[beside], "g_ema": state}, tmp_path / "a.pt")
        z = torch.randn(2, 16)
        assert torch.equal(stylegan.load_networks(tmp_path / "a.pt").G_ema(z), G(z))


HOLDS = [
    ({"epoch": 3, "optimizer": {"a": 1}}, "it holds a dictionary of epoch, optimizer"),
    (torch.zeros(10, 3, 8, 8), r"it holds a tensor \[10, 3, 8, 8\]"),
    ([1, 2], "it holds a list of 2 values"),
    ({"latents": torch.zeros(4, 16)}, "it holds a dictionary of latents"),
    ({f"k{i}": i for i in range(9)}, "it holds a dictionary of k0, k1, k2, k3, k4, k5 and 3 more"),
    ({}, "it holds an empty dictionary"),
    ("text", "it holds a str"),
    ({1: 2, "\x1b": 3}, r"it holds a dictionary of 1, '\\x1b'"),
]


@pytest.mark.parametrize("value, message", HOLDS, ids=[row[1] for row in HOLDS])
def test_what_a_file_without_networks_holds(value, message, tmp_path):
    torch.save(value, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=f"contains no known networks.*; {message}"):
        stylegan.load_networks(tmp_path / "a.pt")
