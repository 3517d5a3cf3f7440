# SPDX-License-Identifier: Apache-2.0
"""Settings that no fixture has, in NVIDIA's layout, and settings that are refused."""

import io
import pickle
from dataclasses import replace

import pytest
import torch
from support.tiny import tiny

from checkpoints.nvidia_networks import (
    assert_same_state,
    images,
    modules,
    networks_of,
    reread,
    stand_ins,
)
from stylegan.checkpoints.nvidia.writer import READERS, write
from stylegan.checkpoints.pickle.container import read_root
from stylegan.errors import UserError
from stylegan.networks import Networks, load_networks


@pytest.mark.parametrize(
    "name, fields",
    [
        ("stylegan2", {"use_noise": False, "conv_clamp": None}),
        ("stylegan2", {"g_architecture": "orig", "d_architecture": "skip", "channels": 4}),
        ("stylegan2", {"g_architecture": "resnet", "low_precision_blocks": 1, "mbstd_channels": 0}),
        ("stylegan2", {"mbstd_channels": 2, "mbstd_group": 2, "conv_clamp": 12.5}),
        ("stylegan3-t", {"num_layers": 6, "num_critical": 1, "margin": 4, "output_scale": 0.5}),
        ("stylegan3-t", {"filter_size": 4, "lrelu_upsampling": 4, "conv_clamp": None}),
        ("stylegan3-r", {"first_cutoff": 1.5, "first_stopband": 3.5, "last_stopband_rel": 1.25}),
    ],
)
def test_settings_that_no_fixture_has(name, fields, tmp_path):
    fields = {"low_precision_blocks": 2, "w_avg_beta": 0.99, **fields}
    nets = networks_of(tiny(name, channel_max=12, **fields))
    after = reread(nets, tmp_path)
    expected = nets.config.G
    if name == "stylegan3-r":  # the factor of 2 is in the channels
        expected = replace(expected, channel_factor=1, channel_base=256, channel_max=24)
    assert after.config.G == expected
    assert after.config.D == nets.config.D
    for network in ("G_ema", "D"):
        assert_same_state(getattr(nets, network), getattr(after, network))
    assert torch.equal(images(nets.G_ema), images(after.G_ema))


def test_architectures_are_recorded(tmp_path):
    write(networks_of(tiny(g_architecture="orig", d_architecture="skip")), tmp_path / "a.pkl")
    root = read_root(tmp_path / "a.pkl")
    for name, architecture in (("G", "orig"), ("D", "skip")):
        assert root[name].state["_init_kwargs"]["architecture"] == architecture
    for path, node in [*modules(root["G"], "G"), *modules(root["D"], "D")]:
        if "Block" in node.kind:
            kwargs = node.state["_init_kwargs"]
            assert kwargs["architecture"] == node.state["architecture"], path
            assert node.state.get("num_torgb", 0) == ("torgb" in node.state["_modules"]), path


def test_settings_of_stylegan3_are_recorded(tmp_path):
    network = dict(num_layers=8, num_critical=1, first_cutoff=1.5, first_stopband=3.5)
    network |= dict(last_stopband_rel=1.25, output_scale=0.5)
    layers = dict(conv_kernel=1, filter_size=4, lrelu_upsampling=4, conv_clamp=None)
    fields = dict(margin=4, radial_filters=True, precision="float32", low_precision_blocks=2)
    config = tiny("stylegan3-t", **network, **layers, **fields)
    write(networks_of(config, D=False), tmp_path / "a.pkl")
    G = read_root(tmp_path / "a.pkl")["G"]
    synthesis = G.child("synthesis")
    expected = {**network, **layers, "margin_size": 4, "use_radial_filters": True}
    expected |= {"channel_base": 128, "channel_max": 8, "num_fp16_res": 0}
    for node in (G, synthesis):
        assert expected.items() <= node.state["_init_kwargs"].items()
    of_layers = {**layers, "use_radial_filters": True}
    found = [n for _, n in modules(synthesis, "") if n.kind.endswith("SynthesisLayer")]
    assert len(found) == 9
    for layer in found:
        assert of_layers.items() <= layer.state["_init_kwargs"].items()
        assert not {*network, "margin_size"} & layer.state["_init_kwargs"].keys()
        assert layer.state["use_fp16"] is False


def test_conditional_networks_and_layers_of_the_mappings(tmp_path):
    config = tiny(mapping_layers=3)
    config = replace(
        config,
        G=replace(config.G, c_dim=3),
        D=replace(config.D, c_dim=3, mapping_layers=2),
    )
    nets = networks_of(config)
    after = reread(nets, tmp_path)
    assert (after.config.G.mapping_layers, after.config.D.mapping_layers) == (3, 2)
    assert_same_state(nets.D, after.D)
    assert after.meta["dataset"]["arguments"]["use_labels"] is True
    D = read_root(tmp_path / "a.pkl")["D"]
    assert D.state["_init_kwargs"]["mapping_kwargs"] == {"num_layers": 2}
    kwargs = D.child("mapping").state["_init_kwargs"]
    assert kwargs["num_layers"] == 2 and kwargs["w_avg_beta"] is None


def test_layers_without_noise_are_recorded(tmp_path):
    write(networks_of(tiny(use_noise=False), D=False), tmp_path / "a.pkl")
    G = read_root(tmp_path / "a.pkl")["G"]
    layer = G.child("synthesis", "b8", "conv0").state
    for state in (G.state, layer):
        assert state["_init_kwargs"]["use_noise"] is False
    assert layer["use_noise"] is False and "noise_const" not in layer["_buffers"]


def test_a_discriminator_without_minibatch_standard_deviation(tmp_path):
    write(networks_of(tiny(mbstd_channels=0)), tmp_path / "a.pkl")
    b4 = read_root(tmp_path / "a.pkl")["D"].child("b4")
    assert b4.state["mbstd"] is None and list(b4.state["_modules"]) == ["conv", "fc", "out"]


def half_flags(network):
    return {
        path: node.state["use_fp16"]
        for path, node in modules(network, "")
        if "use_fp16" in node.state
    }


@pytest.mark.parametrize(
    "precision, low, flags",
    [
        ("auto", 2, [0, 0, 1, 1]),
        ("auto", 4, [0, 1, 1, 1]),  # theirs never has the smallest block among them
        ("float16", 1, [0, 0, 0, 1]),
        ("float32", 4, [0, 0, 0, 0]),
        ("bfloat16", 4, [0, 0, 0, 0]),
    ],
)
def test_low_precision_blocks(precision, low, flags, tmp_path):
    config = tiny(resolution=32, low_precision_blocks=low, precision=precision)
    write(networks_of(config), tmp_path / "a.pkl")
    root = read_root(tmp_path / "a.pkl")
    sizes = (4, 8, 16, 32)
    expected = {f".synthesis.b{s}": bool(flag) for s, flag in zip(sizes, flags)}
    assert half_flags(root["G"]) == expected
    assert half_flags(root["D"]) == {f".b{s}": expected[f".synthesis.b{s}"] for s in sizes[1:]}
    after = load_networks(tmp_path / "a.pkl", "cpu").config
    assert after.G.low_precision_blocks == after.D.low_precision_blocks == sum(flags)


@pytest.mark.parametrize("taps", [(1, 2, 1), (1, 2, 3, 4, 5, 6, 7, 8)])
def test_only_layers_that_resample_have_custom_filters(taps, tmp_path):
    """NVIDIA's constructors pass the taps to these layers alone."""
    nets = networks_of(tiny(resample_filter=taps, g_architecture="resnet"))
    after = reread(nets, tmp_path)
    assert after.config.G.resample_filter == after.config.D.resample_filter == taps
    assert torch.equal(images(nets.G_ema), images(after.G_ema))
    shape = (3, 3) if len(taps) == 3 else (8,)  # separable from 8 taps on
    taps = list(taps)
    root = read_root(tmp_path / "a.pkl")
    assert root["G"].state["_init_kwargs"]["resample_filter"] == taps
    assert root["D"].state["_init_kwargs"]["block_kwargs"]["resample_filter"] == taps
    resampling = 0
    for path, node in [*modules(root["G"], "G"), *modules(root["D"], "D")]:
        f = node.state["_buffers"].get("resample_filter")
        if f is not None:
            used = "Block" in node.kind or 2 in (node.state["up"], node.state.get("down"))
            assert f.shape == (shape if used else (4, 4)), path
            recorded = node.state["_init_kwargs"].get("resample_filter")
            assert recorded == (taps if used else None), path
            resampling += used
    assert resampling > 8


def test_one_generator_stands_for_both_and_is_written_once(tmp_path):
    nets = networks_of(tiny(), D=False)
    only_average, only_trained, both = io.BytesIO(), io.BytesIO(), io.BytesIO()
    write(nets, only_average)
    write(Networks(nets.config, {}, G=nets.G_ema), only_trained)
    write(Networks(nets.config, {}, G=nets.G_ema, G_ema=nets.G_ema), both)
    for file in (only_average, only_trained):
        with stand_ins():
            root = pickle.loads(file.getvalue())
        assert root["G"] is root["G_ema"] and root["D"] is None
    assert len(both.getvalue()) > 1.5 * len(only_average.getvalue())


def test_data_set_of_a_run(tmp_path):
    nets = networks_of(tiny(), D=False)
    nets.meta["dataset"] = {"name": "photos", "images": 70, "class_names": []}
    nets.config = replace(nets.config, data=replace(nets.config.data, mirror=True))
    write(nets, tmp_path / "a.pkl")
    assert read_root(tmp_path / "a.pkl")["training_set_kwargs"] == {
        "class_name": "training.dataset.ImageFolderDataset",
        "path": "photos",
        "use_labels": False,
        "max_size": 70,
        "xflip": True,
        "resolution": 16,
    }


def test_the_same_networks_give_the_same_file_in_whatever_layout_of_memory():
    nets = networks_of(tiny())
    files = [io.BytesIO(), io.BytesIO()]
    write(nets, files[0])
    for network in (nets.G_ema, nets.D):
        for p in network.parameters():
            if p.ndim == 4:
                p.data = p.data.contiguous(memory_format=torch.channels_last)
    assert not nets.G_ema.synthesis.b8.conv0.weight.is_contiguous()
    write(nets, files[1])
    assert files[0].getvalue() == files[1].getvalue()


def test_tensors_go_to_the_file_one_by_one():
    nets = networks_of(tiny(), D=False)
    largest = max(p.numel() for p in nets.G_ema.parameters()) * 4
    pieces = []

    class File:
        def write(self, data):
            pieces.append(len(data))

    write(nets, File())
    assert max(pieces) == largest and sum(pieces) > 10 * largest


def refused(config, match, **changed):
    with pytest.raises(UserError, match=match) as e:
        write(networks_of(config, **changed), io.BytesIO())
    assert "\n" not in str(e.value)


def test_refuses_what_their_classes_cannot_express(tmp_path):
    refused(tiny(resolution=(16, 32)), "G.resolution: .* not 32x16")
    refused(tiny(resolution=24), "G.resolution: .* not 24x24")
    refused(tiny(widths=(8, 4, 8)), "G.widths: .* not 8, 4, 8")
    config = tiny()
    odd = replace(config, D=replace(config.D, widths=(3, 8, 2)))
    refused(odd, "D.widths: .* not 3, 8, 2")
    with pytest.raises(UserError, match="^G: expected networks with a generator, got none$"):
        write(Networks(config, {}), tmp_path / "a.pkl")
    nets = networks_of(config)
    with pytest.raises(UserError, match="^D: expected a discriminator of StyleGAN2, got Generator"):
        write(Networks(config, {}, G_ema=nets.G_ema, D=nets.G_ema), tmp_path / "a.pkl")
    with pytest.raises(UserError, match="^G: expected a generator of StyleGAN2 or StyleGAN3"):
        write(Networks(config, {}, G_ema=nets.D), tmp_path / "a.pkl")
    assert not list(tmp_path.iterdir())


def test_widths_that_follow_another_rule_than_the_config_names(tmp_path):
    nets = networks_of(tiny(widths=(16, 16, 10)))
    after = reread(nets, tmp_path)
    assert (after.config.G.channel_base, after.config.G.channel_max) == (160, 16)
    assert after.config.G.widths is None
    assert_same_state(nets.G_ema, after.G_ema)
    assert_same_state(nets.D, after.D)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    nets, path = networks_of(tiny(), D=False), tmp_path / "a.pkl"
    path.write_bytes(b"before")
    bias = nets.G_ema.synthesis.b16.torgb.bias
    bias.data = bias.data.to(torch.complex64)  # such files have none, which shows in the middle
    with pytest.raises(TypeError, match="cannot hold a tensor of torch.complex64"):
        write(nets, path)
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_readers_is_a_line():
    assert "\n" not in READERS and "stylegan3" in READERS
    nets = networks_of(tiny())
    assert write(nets, io.BytesIO()) == [f"read by {READERS}"]
    alone = Networks(nets.config, {"augment_p": 0.25}, G_ema=nets.G_ema)
    lines = write(alone, io.BytesIO())
    assert "no discriminator" in lines[1] and "p 0.25" in lines[2] and len(lines) == 3
