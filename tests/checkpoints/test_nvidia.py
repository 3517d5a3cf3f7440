# SPDX-License-Identifier: Apache-2.0
"""Networks read from NVIDIA's PyTorch pickles equal those that were written, with all settings."""

import copy
import dataclasses

import pytest
import torch

from checkpoints.nvidia_pickles import (
    ADA,
    CORES,
    STYLEGAN3,
    EasyDict,
    Persistent,
    dump,
    published,
    write,
)
from checkpoints.small_networks import FEW_LAYERS, check, discriminator, generator, settled
from stylegan import build_generator, load_networks
from stylegan.checkpoints.open import open_checkpoint

LINES = (ADA, STYLEGAN3)
VARIANTS = {
    "plain": ({}, {}),
    "resnet": (dict(architecture="resnet"), dict(architecture="skip")),
    "orig": (dict(architecture="orig"), dict(architecture="orig")),
    "classes": (dict(c_dim=3), dict(c_dim=3)),
    "one label": (dict(c_dim=1), dict(c_dim=1, mapping_layers=2)),
    "grey": (dict(channels=1), dict(channels=1)),
    "RGBA": (dict(channels=4), dict(channels=4)),
    "no noise": (dict(use_noise=False), dict(mbstd_channels=0)),
    "batch statistics": (dict(mapping_layers=3), dict(mbstd_group=None)),
    "pairs": (dict(z_dim=8, w_dim=24), dict(mbstd_group=2, mbstd_channels=2)),
    "filter": (dict(resample_filter=(1, 2, 1)), dict(resample_filter=(1, 2, 1))),
    "long filter": (
        dict(resample_filter=(1, 2, 3, 4, 4, 3, 2, 1)),
        dict(architecture="skip", resample_filter=(1, 2, 3, 4, 4, 3, 2, 1)),
    ),
    "other clamp": (dict(conv_clamp=64, w_avg_beta=0.9), dict(conv_clamp=0.5)),
    "half": (dict(low_precision_blocks=2), dict(low_precision_blocks=1)),
    "32 px": (dict(resolution=32), dict(resolution=32)),
}
DEFAULTS = {
    ADA: dict(conv_clamp=None, low_precision_blocks=0),
    STYLEGAN3: dict(conv_clamp=256, low_precision_blocks=2),
}


@pytest.mark.parametrize("attributes", [True, False], ids=["attributes", "arguments alone"])
@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_settings_of_stylegan2(tmp_path, variant, line, attributes):
    of_G, of_D = VARIANTS[variant]
    beta = {ADA: 0.995, STYLEGAN3: 0.998}[line]
    G = generator(**{"w_avg_beta": beta, **DEFAULTS[line], **of_G})
    D = discriminator(**{**DEFAULTS[line], **of_D})
    how = dict(attributes=attributes, positional=not attributes)
    path = write(tmp_path / "a.pkl", {"G_ema": G, "D": D}, line, **how)
    nets = load_networks(path)
    check(nets.G_ema, G)
    check(nets.D, D)
    assert nets.G is None


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("attributes", [True, False], ids=["attributes", "arguments alone"])
def test_arguments_that_a_line_does_not_record(tmp_path, line, attributes):
    """The block of 4 px never runs in half precision."""
    halves = {ADA: 0, STYLEGAN3: 4}[line]
    defaults = {**DEFAULTS[line], "low_precision_blocks": halves}
    beta = {ADA: 0.995, STYLEGAN3: 0.998}[line]
    G, D = generator(w_avg_beta=beta, **defaults), discriminator(**defaults)
    root = {"G_ema": published(G, line, attributes), "D": published(D, line, attributes)}
    for name, kwargs in (("G_ema", root["G_ema"].state), ("D", root["D"].state)):
        recorded = {**kwargs["_init_kwargs"], **kwargs["_init_kwargs"].get("synthesis_kwargs", {})}
        assert not {"num_fp16_res", "conv_clamp", "architecture"} & recorded.keys(), name
    nets = load_networks(dump(tmp_path / "a.pkl", root))
    for read, written in ((nets.G_ema, G), (nets.D, D)):
        halves = DEFAULTS[line]["low_precision_blocks"]
        assert read.config == dataclasses.replace(written.config, low_precision_blocks=halves)


STYLEGAN3_VARIANTS = {
    "T": {},
    "R": dict(conv_kernel=1, radial_filters=True, channel_base=512, channel_max=32),
    "14 layers": dict(num_layers=14, num_critical=2, resolution=16),
    "layers": dict(num_layers=6, num_critical=3, margin=4, output_scale=0.5),
    "filters": dict(filter_size=4, lrelu_upsampling=1),
    "bands": dict(first_cutoff=1.5, first_stopband=3.5, last_stopband_rel=1.5),
    "classes, grey": dict(c_dim=2, channels=1),
    "RGBA": dict(channels=4, conv_clamp=64, low_precision_blocks=0, w_avg_beta=0.99),
    "no clamp": dict(conv_clamp=None, mapping_layers=3),
}


@pytest.mark.parametrize("attributes", [True, False], ids=["attributes", "arguments alone"])
@pytest.mark.parametrize("variant", STYLEGAN3_VARIANTS)
def test_settings_of_stylegan3(tmp_path, variant, attributes):
    G = generator(model="stylegan3-t", **STYLEGAN3_VARIANTS[variant])
    how = dict(attributes=attributes, positional=not attributes)
    check(load_networks(write(tmp_path / "a.pkl", {"G_ema": G}, STYLEGAN3, **how)).G_ema, G)


def test_the_preset_of_stylegan3_r(tmp_path):
    """The recorded channels include its factor."""
    G = settled(build_generator("stylegan3-r", **FEW_LAYERS))
    read = load_networks(write(tmp_path / "a.pkl", {"G_ema": G}, STYLEGAN3)).G_ema
    assert G.config.channel_factor == 2
    sizes = dict(channel_base=512, channel_max=32, channel_factor=1)
    G.config = dataclasses.replace(G.config, **sizes)
    check(read, G)


def test_arguments_of_converted_networks(tmp_path):
    """Networks from TensorFlow have all arguments recorded, also default ones."""
    G, D = (make(c_dim=2, **DEFAULTS[ADA]) for make in (generator, discriminator))
    theirs = published(G, ADA, attributes=False), published(D, ADA, attributes=False)
    given, given_D = (network.state["_init_kwargs"] for network in theirs)
    layer, taps = dict(activation="lrelu"), dict(resample_filter=[1, 3, 3, 1])
    mapping = dict(embed_features=None, layer_features=None, lr_multiplier=0.01, **layer)
    given["mapping_kwargs"].update(mapping, w_avg_beta=0.995)
    given["synthesis_kwargs"].update(architecture="skip", use_noise=True, **layer, **taps)
    given_D.update(cmap_dim=None)
    given_D["mapping_kwargs"].update(mapping)
    given_D["block_kwargs"].update(freeze_layers=0, **layer, **taps)
    given_D["epilogue_kwargs"].update(mbstd_group_size=4, mbstd_num_channels=1, **layer)
    nets = load_networks(dump(tmp_path / "a.pkl", {"G_ema": theirs[0], "D": theirs[1]}))
    check(nets.G_ema, G)
    check(nets.D, D)


@torch.no_grad()
@pytest.mark.parametrize("attributes", [True, False])
def test_another_learning_rate_of_the_mapping(tmp_path, attributes):
    """NVIDIA's conditional discriminators from TensorFlow have 0.1. The outputs stay the same."""
    G, D = generator(c_dim=3), discriminator(c_dim=3)
    theirs = []
    for network, multiplier in ((G, 0.02), (D, 0.1)):
        slower = copy.deepcopy(network)
        for i in range(slower.mapping.num_layers):
            layer = getattr(slower.mapping, f"fc{i}")
            layer.weight *= 0.01 / multiplier
            layer.bias *= 0.01 / multiplier
            layer.lr_mult = multiplier
        object_ = published(slower, attributes=attributes)
        kwargs = object_.state["_init_kwargs"]
        kwargs.setdefault("mapping_kwargs", EasyDict())["lr_multiplier"] = multiplier
        theirs.append(object_)
    nets = load_networks(dump(tmp_path / "a.pkl", {"G_ema": theirs[0], "D": theirs[1]}))
    for read, written in ((nets.G_ema, G), (nets.D, D)):
        for key, value in written.state_dict().items():
            torch.testing.assert_close(read.state_dict()[key], value)


def test_attributes_count_more_than_arguments(tmp_path):
    """The network ran with its attributes."""
    G, D = (
        generator(architecture="resnet", conv_clamp=4, w_avg_beta=0.9),
        discriminator(conv_clamp=2),
    )
    G3 = generator(model="stylegan3-t", conv_clamp=8, output_scale=0.5, num_layers=6)
    wrong = dict(conv_clamp=16, num_fp16_res=0, architecture="orig")
    wrong3 = dict(conv_clamp=16, num_fp16_res=0, num_layers=9, num_critical=0, output_scale=2)
    theirs = published(G, ADA), published(D, ADA), published(G3, STYLEGAN3)
    theirs[0].state["_init_kwargs"]["synthesis_kwargs"].update(wrong)
    theirs[0].state["_init_kwargs"]["mapping_kwargs"].update(num_layers=5, w_avg_beta=0.5)
    theirs[1].state["_init_kwargs"].update(wrong)
    theirs[1].state["_init_kwargs"]["epilogue_kwargs"].update(mbstd_group_size=2)
    theirs[2].state["_init_kwargs"].update(wrong3)
    nets = load_networks(dump(tmp_path / "a.pkl", {"G_ema": theirs[0], "D": theirs[1]}))
    check(nets.G_ema, G)
    check(nets.D, D)
    check(load_networks(dump(tmp_path / "b.pkl", {"G_ema": theirs[2]})).G_ema, G3)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("model", ["stylegan2", "stylegan3-t"])
def test_protocols_and_spellings(tmp_path, model, protocol, core):
    G, D = generator(model=model), discriminator()
    others = {"training_set_kwargs": EasyDict(path="a.zip"), "augment_pipe": None}
    path = tmp_path / "a.pkl"
    write(path, {"G": None, "G_ema": G, "D": D}, STYLEGAN3, protocol, core, others)
    data = path.read_bytes()
    assert data[:2] == bytes([0x80, protocol]) and f"{core}.multiarray".encode() in data
    nets = load_networks(path)
    check(nets.G_ema, G)
    check(nets.D, D)


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("freeze", [1, 3, 99])
def test_frozen_layers_are_buffers(tmp_path, line, freeze):
    D = discriminator(c_dim=2, **DEFAULTS[line])
    for attributes in (True, False):
        theirs = published(D, line, attributes, freeze=freeze)
        assert "weight" in theirs.child("b16.fromrgb").state["_buffers"]
        assert ("weight" in theirs.child("b16.conv1").state["_buffers"]) == (freeze >= 3)
        G = published(generator(c_dim=2, **DEFAULTS[line]), line)
        nets = load_networks(dump(tmp_path / "a.pkl", {"G": G, "D": theirs, "G_ema": G}))
        check(nets.D, D)


def permuted(t):
    return t.movedim(0, -1).contiguous().movedim(-1, 0) if t.ndim else t.clone()


def within(t):
    """A part of a larger storage."""
    return torch.cat([torch.ones(3), t.flatten(), torch.ones(5)])[3:-5].view(t.shape)


def every_second(t):
    return torch.stack([t, -t], dim=-1)[..., 0]


@pytest.mark.parametrize("model", ["stylegan2", "stylegan3-t"])
@pytest.mark.parametrize("view", [permuted, within, every_second])
@pytest.mark.parametrize("protocol", [2, 4])
def test_views_of_storages(tmp_path, model, view, protocol):
    G = generator(model=model)
    seen = view(max(G.synthesis.parameters(), key=torch.Tensor.numel))
    assert seen.storage_offset() or not seen.is_contiguous()
    path = write(tmp_path / "a.pkl", {"G_ema": G}, STYLEGAN3, protocol, tensor=view)
    check(load_networks(path).G_ema, G)


@pytest.mark.parametrize("model", ["stylegan2", "stylegan3-t"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(tmp_path, model, dtype):
    """Tensors of another dtype become float32. Filters of another dtype still match."""
    taps = dict(resample_filter=(1, 2, 3, 2, 1)) if model == "stylegan2" else {}
    G, D = generator(model=model, **taps), discriminator(resample_filter=(1, 2, 3, 2, 1))
    networks = {"G_ema": G, "D": D}
    path = write(tmp_path / "a.pkl", networks, STYLEGAN3, tensor=lambda t: t.to(dtype))
    nets = load_networks(path)
    check(nets.G_ema, G, lambda t: t.to(dtype))
    check(nets.D, D, lambda t: t.to(dtype))


@pytest.mark.parametrize("shape", [(), (1,)])
def test_numbers_as_scalars_or_vectors(tmp_path, shape):
    for i, model in enumerate(("stylegan2", "stylegan3-t")):
        G = generator(model=model)
        path = write(tmp_path / f"{i}.pkl", {"G_ema": G}, STYLEGAN3, scalar_shape=shape)
        check(load_networks(path).G_ema, G)


def test_tied_parameters(tmp_path):
    G = generator()
    G.mapping.fc1.bias.copy_(G.mapping.fc0.bias)
    theirs = published(G, STYLEGAN3)
    first, second = (theirs.child(f"mapping.fc{i}").state["_parameters"] for i in range(2))
    second["bias"] = first["bias"]
    path = dump(tmp_path / "a.pkl", {"G_ema": theirs})
    stored = open_checkpoint(path).stored["G_ema"]
    assert stored["mapping.fc0.bias"] is stored["mapping.fc1.bias"]
    read = load_networks(path).G_ema
    check(read, G)
    read.mapping.fc0.bias.zero_()  # ours are apart
    assert read.mapping.fc1.bias.all()


def test_missing_networks(tmp_path):
    G, averaged, D = generator(), generator(seed=1), discriminator()
    path = write(tmp_path / "all.pkl", {"G": G, "D": D, "G_ema": averaged}, STYLEGAN3)
    nets = load_networks(path)
    check(nets.G, G)
    check(nets.G_ema, averaged)
    check(nets.D, D)
    assert nets.G_ema is nets.G_ema
    for networks in ({"G": G, "D": None, "G_ema": None}, {"G": G}):
        nets = load_networks(write(tmp_path / "G.pkl", networks, STYLEGAN3))
        check(nets.G, G)
        assert nets.G_ema is None and nets.D is None
        assert nets.config.D.resolution == (16, 16)


def test_data_set_and_augmentation(tmp_path):
    pipe = Persistent("AugmentPipe", {"_buffers": {"p": torch.tensor(0.375)}, "_modules": {}})
    data = EasyDict(path="D:\\sets\\cats.zip", max_size=1234, xflip=True, use_labels=True, o=[1])
    others = {"augment_pipe": pipe, "training_set_kwargs": data}
    G = generator(c_dim=2)
    nets = load_networks(write(tmp_path / "a.pkl", {"G_ema": G}, STYLEGAN3, others=others))
    assert nets.meta["augment_p"] == 0.375
    about = nets.meta["dataset"]
    assert about["name"] == "cats.zip" and about["images"] == 1234
    assert about["arguments"] == {k: v for k, v in data.items() if k != "o"}
    assert nets.class_names == ("0", "1") and nets.meta["source"]["format"] == "NVIDIA PyTorch .pkl"
    nothing = {"augment_pipe": None, "training_set_kwargs": None}
    nets = load_networks(write(tmp_path / "b.pkl", {"G_ema": generator()}, others=nothing))
    assert not {"augment_p", "dataset"} & nets.meta.keys()
