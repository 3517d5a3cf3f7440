# SPDX-License-Identifier: Apache-2.0
"""Small networks to write and to read back."""

import torch

from stylegan import build_discriminator, build_generator

SIZES = dict(resolution=16, channel_base=256, channel_max=16, low_precision_blocks=2)
SIZES_G = dict(z_dim=16, w_dim=16, mapping_layers=2, **SIZES)
FEW_LAYERS = dict(SIZES_G, resolution=32, num_layers=4, num_critical=1, low_precision_blocks=3)
SMALL = dict(resolution=16, channel_base=64, channel_max=8, conv_clamp=None, low_precision_blocks=0)


@torch.no_grad()
def settled(network, seed=0):
    """Change all values, as training does, so that none is 0 or 1."""
    g = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if name.endswith("magnitude_ema"):
            value.copy_(torch.rand(value.shape, generator=g) + 0.5)
        elif not name.endswith("_filter"):
            value.add_(torch.randn(value.shape, generator=g) / 10)
    return network.eval().requires_grad_(False)


def generator(seed=0, model="stylegan2", **fields):
    sizes = SIZES_G if model == "stylegan2" else FEW_LAYERS
    return settled(build_generator(model, **{**sizes, **fields}), seed)


def discriminator(**fields):
    return settled(build_discriminator("stylegan2", **{**SIZES, **fields}))


@torch.no_grad()
def check(read, written, change=lambda t: t):
    """Compare settings, tensors and results of a network with those of the one that was written.

    Args: change: function of every tensor, applied when it was written.
    """
    assert read.config == written.config
    expected = {k: change(v).float() for k, v in written.state_dict().items()}
    assert read.state_dict().keys() == expected.keys()
    for key, value in read.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, expected[key]), key
    for (key, value), buffer in zip(written.named_buffers(), read.buffers(), strict=True):
        assert key in expected or torch.equal(value, buffer), key
    written.load_state_dict(expected)
    c, g = written.config, torch.Generator().manual_seed(1)
    label = torch.eye(c.c_dim)[[0] * 4] if c.c_dim else None
    shape = (c.z_dim,) if hasattr(c, "z_dim") else (c.channels, *c.resolution)
    x = torch.randn(4, *shape, generator=g)
    assert torch.equal(read(x, label), written(x, label))
    assert not read.training and not any(p.requires_grad for p in read.parameters())


def filled(network):
    """Set all numbers to other values than those of a new network."""
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(torch.randn(value.shape))
    return network.eval().requires_grad_(False)


def small_G(**fields):
    fields = SMALL | dict(z_dim=6, w_dim=5, mapping_layers=2) | fields
    return filled(build_generator("stylegan2", **fields))


def small_D(**fields):
    return filled(build_discriminator("stylegan2", **(SMALL | fields)))
