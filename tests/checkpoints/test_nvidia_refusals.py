# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's pickles whose networks cannot be built here have a reason, and their tensors."""

import warnings

import pytest
import torch

from checkpoints.nvidia_pickles import ADA, STYLEGAN3, Persistent, dump, of_class, published
from checkpoints.small_networks import discriminator, generator
from stylegan import CheckpointError, load_networks
from stylegan.checkpoints.open import open_checkpoint


def refuse(path, reason, count):
    """load_networks raises with the reason; open_checkpoint has the reason and all tensors."""
    with pytest.raises(CheckpointError) as e:
        load_networks(path)
    message = str(e.value)
    assert message.startswith(str(path)) and message.endswith(reason) and "\n" not in message
    checkpoint = open_checkpoint(path)
    assert checkpoint.reason == reason and message.endswith(checkpoint.reason)
    assert checkpoint.config is None and checkpoint.tensors is None
    assert {name: len(tensors) for name, tensors in checkpoint.stored.items()} == count
    return checkpoint


def tensors_of(module):
    state = module.state
    own = len(state["_parameters"]) + len(state["_buffers"])
    return own + sum(tensors_of(child) for child in state["_modules"].values())


def buffers(network, path):
    return network.child(path).state["_buffers"]


def parameters(network, path):
    return network.child(path).state["_parameters"]


def attribute(path, **values):
    return lambda G: G.child(path).state.update(values)


def argument(nested=None, **values):
    def change(network):
        given = network.state["_init_kwargs"]
        (given.setdefault(nested, {}) if nested else given).update(values)

    return change


def both(*changes):
    return lambda network: [change(network) for change in changes]


def reshaped(G):
    weight = parameters(G, "mapping.fc1")["weight"]
    parameters(G, "mapping.fc1")["weight"] = weight[:8].clone()


BAD = {
    "speed of the mapping": (
        argument("mapping_kwargs", lr_multiplier="slow"),
        "G_ema mapping_kwargs: lr_multiplier is 'slow', expected a number, 1e-06 to 1e+06",
    ),
    "gain of the mapping": (
        attribute("mapping.fc0", bias_gain=0),
        "G_ema mapping_kwargs: bias_gain is 0, expected a number, 1e-06 to 1e+06",
    ),
    "mapping's nonlinearity": (
        attribute("mapping.fc0", activation="relu"),
        "G_ema mapping_kwargs: activation is 'relu', expected lrelu",
    ),
    "nonlinearity": (
        attribute("synthesis.b16.conv1", activation="swish"),
        "G: activation is 'swish', expected lrelu",
    ),
    "filter": (
        lambda G: buffers(G, "synthesis.b8.conv0").update(resample_filter=torch.full((4, 4), 0.1)),
        "G_ema.synthesis.b8.conv0.resample_filter is not the filter (1, 3, 3, 1)",
    ),
    "whole numbers for a filter": (
        lambda G: buffers(G, "synthesis.b16").update(resample_filter=torch.zeros(4, 4).int()),
        "G_ema.synthesis.b16.resample_filter is not the filter (1, 3, 3, 1)",
    ),
    "tensor missing": (
        lambda G: parameters(G, "synthesis.b16.conv0").pop("bias"),
        "G_ema lacks synthesis.b16.conv0.bias",
    ),
    "block missing": (
        lambda G: G.child("synthesis").state["_modules"].pop("b8"),
        "G_ema lacks synthesis.b8.conv0.affine.bias and 15 more",
    ),
    "tensor too many": (
        lambda G: buffers(G, "mapping").update(w_std=torch.ones(16)),
        "G_ema has the unexpected tensor mapping.w_std",
    ),
    "shape": (reshaped, "G_ema.mapping.fc1.weight is [8, 16], expected [16, 16]"),
    "architecture": (
        both(*(attribute(f"synthesis.b{r}", architecture="unet") for r in (4, 8, 16))),
        "G: architecture is 'unet', expected skip or resnet or orig",
    ),
    "other architecture": (
        both(*(attribute(f"synthesis.b{r}", architecture="orig") for r in (4, 8, 16))),
        "G_ema has the unexpected tensor synthesis.b4.torgb.affine.bias and 7 more",
    ),
    "channels": (
        argument(img_channels=2),
        "channels: expected one of 1, 3, 4, got 2",
    ),
    "size": (
        argument(img_resolution=24.5),
        "G: img_resolution is 24.5, expected an integer, 4 to 16384",
    ),
    "label": (argument(c_dim="three"), "G: c_dim is 'three', expected an integer, 0 to 65536"),
    "no size": (
        lambda G: G.state["_init_kwargs"].pop("img_resolution"),
        "G: img_resolution is missing",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_unsupported_generators(tmp_path, name):
    change, reason = BAD[name]
    G = published(generator(), STYLEGAN3)
    change(G)
    path = dump(tmp_path / "a.pkl", {"G_ema": G, "D": published(discriminator(), STYLEGAN3)})
    count = {"G_ema": tensors_of(G), "D": 28}
    assert refuse(path, reason, count).format == "NVIDIA PyTorch .pkl"


BAD_D = {
    "nonlinearity": (
        argument("block_kwargs", activation="relu"),
        "D block_kwargs: activation is 'relu', expected lrelu",
    ),
    "nonlinearity of the end": (
        argument("epilogue_kwargs", activation="relu"),
        "D epilogue_kwargs: activation is 'relu', expected lrelu",
    ),
    "mapping": (
        argument("mapping_kwargs", lr_multiplier=None),
        "D mapping_kwargs: lr_multiplier is None, expected a number, 1e-06 to 1e+06",
    ),
    "filter": (
        lambda D: buffers(D, "b8.skip").update(resample_filter=torch.ones(2, 2) / 4),
        "D.b8.skip.resample_filter is not the filter (1, 3, 3, 1)",
    ),
    "taps": (
        argument("block_kwargs", resample_filter=[1, -1]),
        "D block_kwargs: the taps of resample_filter add up to 0",
    ),
    "group": (
        argument("epilogue_kwargs", mbstd_group_size="all"),
        "D: mbstd_group_size is 'all', expected an integer, 1 to 65536",
    ),
    "statistics": (
        argument("epilogue_kwargs", mbstd_num_channels=2),
        "D.b4.conv.weight is [16, 17, 3, 3], expected [16, 18, 3, 3]",
    ),
}


@pytest.mark.parametrize("name", BAD_D)
def test_unsupported_discriminators(tmp_path, name):
    change, reason = BAD_D[name]
    D = published(discriminator(c_dim=2, mapping_layers=1), STYLEGAN3, attributes=False)
    change(D)
    G = published(generator(c_dim=2), STYLEGAN3)
    path = dump(tmp_path / "a.pkl", {"G_ema": G, "D": D})
    checkpoint = open_checkpoint(path)
    assert checkpoint.unbuilt == {"D": reason} and checkpoint.reason is None
    assert len(checkpoint.stored["D"]) == tensors_of(D)
    nets = load_networks(path, "cpu")
    assert nets.D is None and nets.G_ema is not None


def test_layers_of_stylegan3_that_do_not_fit(tmp_path):
    for i, (change, reason) in enumerate(
        (
            (argument(num_layers=5), "G: num_layers is 5, expected 4 from its layers"),
            (argument(use_radial_filters=1), "G: use_radial_filters is 1, expected True or False"),
            (argument(conv_kernel=5), "G: conv_kernel is 5, expected 1 or 3"),
            (
                argument(filter_size=8),
                "G_ema.synthesis.L0_36_16.up_filter is [12], expected [16]",
            ),
            (argument(img_resolution=48), None),
        )
    ):
        G = published(generator(model="stylegan3-t"), STYLEGAN3, attributes=False)
        change(G)
        path = dump(tmp_path / f"{i}.pkl", {"G_ema": G})
        reason = reason or open_checkpoint(path).reason
        refuse(path, reason, {"G_ema": tensors_of(G)})
    assert "StyleGAN3 draws squares" in reason


@pytest.mark.parametrize("protocol", [2, 4])
def test_r3gan(tmp_path, protocol):
    """Modules by the path of their class, without source text, down to those of torch."""
    Outer, Inner = of_class("training.networks.Generator"), of_class("R3GAN.Networks.Generator")
    Critic = of_class("R3GAN.Networks.Discriminator")
    G, D = Outer(), Critic()
    G.Model = Inner()
    G.Model.Basis = torch.nn.Parameter(torch.ones(8, 4, 4))
    G.Model.MainLayers = torch.nn.ModuleList([torch.nn.Conv2d(8, 8, 3), torch.nn.Linear(8, 64)])
    G.Model.register_buffer("Table", torch.arange(3))
    D.Layer = torch.nn.Linear(2, 1)
    root = {"G": G, "D": D, "G_ema": G, "augment_pipe": None, "training_set_kwargs": {}}
    path = dump(tmp_path / "a.pkl", root, protocol, classes=(Outer, Inner, Critic))
    count = {"G_ema": 6, "G": 6, "D": 2}
    checkpoint = refuse(path, "R3GAN is not supported yet", count)
    assert checkpoint.family == "R3GAN"
    basis = checkpoint.stored["G_ema"]["Model.Basis"]
    assert basis.shape == (8, 4, 4) and torch.equal(basis.read(), torch.ones(8, 4, 4))
    assert torch.equal(checkpoint.stored["G"]["Model.Table"].read(), torch.arange(3))
    assert torch.equal(checkpoint.stored["D"]["Layer.bias"].read(), D.Layer.bias.data)


def test_networks_of_another_kind(tmp_path):
    other = Persistent("Unet", {"_parameters": {"w": torch.ones(2)}, "_modules": {}})
    path = dump(tmp_path / "a.pkl", {"G_ema": other})
    reason = "not a network of StyleGAN2 or StyleGAN3: mapping and synthesis are missing"
    assert refuse(path, reason, {"G_ema": 1}).family == "unknown"
    only_D = {"D": published(discriminator(), ADA)}
    reason = "the file has only a discriminator; images need G_ema or G"
    refuse(dump(tmp_path / "D.pkl", only_D), reason, {"D": 28})


@pytest.mark.parametrize("root", [{"G_ema": None, "D": None}, {"w": torch.ones(3)}, [1, 2], "text"])
def test_no_networks_at_all(tmp_path, root):
    path = dump(tmp_path / "a.pkl", root)
    for load in (load_networks, open_checkpoint):
        with pytest.raises(CheckpointError, match="contains no known networks"):
            load(path)


def test_settings_that_give_no_filter(tmp_path):
    """Although each setting is in its range."""
    G = published(generator(model="stylegan3-t"), STYLEGAN3)
    G.state["_init_kwargs"].update(first_cutoff=0.25, first_stopband=4096.0)
    path = dump(tmp_path / "a.pkl", {"G_ema": G})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CheckpointError, match="the settings of L0_52_16 give no valid filter"):
            load_networks(path)
