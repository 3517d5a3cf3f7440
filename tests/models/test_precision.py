# SPDX-License-Identifier: Apache-2.0
"""The dtype of every block, by preset, device and setting."""

import pytest
import torch

from stylegan import build_discriminator, build_generator, preset
from stylegan.config.presets import PRESETS
from stylegan.models.precision import block_dtype
from stylegan.training.setup import configure_device

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def dtypes(network, device):
    """{name: dtype} of the blocks, in the order of the network."""
    return {
        name: block_dtype(device, m.low_precision, m.precision, next(m.parameters()))
        for name, m in network.named_modules()
        if hasattr(m, "low_precision")
    }


def networks(name, **fields):
    """G and D of a preset, with few channels and without memory."""
    config = preset(name, **{"channel_base": 64, "channel_max": 8, **fields}).resolved()
    with torch.device("meta"):
        return build_generator(config.G), build_discriminator(config.D)


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name):
    """float16 on CUDA in the highest four resolutions if activations are clamped; else float32."""
    config = PRESETS[name]
    for network, c in zip(networks(name), (config.G, config.D)):
        assert set(dtypes(network, CPU).values()) == {torch.float32}
        assert (c.conv_clamp is None) == (name == "demo") and c.low_precision_blocks == 4
        found = dtypes(network, CUDA)
        low = [block for block, dtype in found.items() if dtype == torch.float16]
        if name == "demo":
            assert not low
        elif c is config.D or config.G.model == "stylegan2":
            top = max(c.resolution)
            sizes = sorted(int(block.rpartition(".b")[2].lstrip("b")) for block in low)
            assert sizes == [top // 8, top // 4, top // 2, top]
        else:  # layers with more than resolution / 16 px
            rates = {
                layer: m.geometry.after.rate
                for layer, m in network.synthesis.named_children()
                if hasattr(m, "low_precision")
            }
            expected = {k for k, rate in rates.items() if rate > c.resolution[0] / 16}
            assert {block.rpartition(".")[2] for block in low} == expected and expected


@pytest.mark.parametrize("name", ["auto", "stylegan3-t"])
@pytest.mark.parametrize("clamp", [256, None])
@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16", "float16"])
def test_settings(name, clamp, precision):
    """A given precision is taken everywhere; auto needs a clamp for float16."""
    for network in networks(name, resolution=256, conv_clamp=clamp, precision=precision):
        for device in (CPU, CUDA):
            given = precision
            if precision == "auto":
                given = "float16" if device == CUDA and clamp else "float32"
            assert set(dtypes(network, device).values()) == {torch.float32, getattr(torch, given)}
        assert set(dtypes(network.to(torch.float64), CUDA).values()) == {torch.float64}


@pytest.mark.parametrize("tf32", [True, False])
def test_tf32(tf32, monkeypatch):
    """--tf32 is for convolutions on CUDA alone."""
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    matmul, before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    benchmark = torch.backends.cudnn.benchmark
    try:
        configure_device(CPU, not before)
        assert torch.backends.cudnn.allow_tf32 == before
        configure_device(CUDA, tf32)
        assert torch.backends.cudnn.allow_tf32 == tf32
        assert torch.backends.cuda.matmul.allow_tf32 == matmul
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before, benchmark
