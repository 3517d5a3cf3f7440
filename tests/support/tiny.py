# SPDX-License-Identifier: Apache-2.0
"""Settings of networks that take a step in milliseconds."""

import torch

from stylegan.config import preset

TINY = dict(
    resolution=16,
    channel_base=128,
    channel_max=8,
    z_dim=8,
    w_dim=8,
    mapping_layers=2,
    batch=4,
    g_lr=0.002,
    d_lr=0.002,
    r1_gamma=1,
    pl_weight=2,
    ema_kimg=1,
    kimg=0.1,
)


def tiny(name="stylegan2", **fields):
    """A resolved config of networks that take a step in milliseconds."""
    of_model = {"pl_weight": 0} if name.startswith("stylegan3") else {}
    return preset(name, **{**TINY, **of_model, **fields}).resolved()


@torch.no_grad()
def with_contrast(G):
    """A fresh generator of StyleGAN3 that has measured its features: before that its images are
    nearly grey. Other generators are returned unchanged."""
    if G.config.model == "stylegan3":
        layers = [getattr(G.synthesis, name) for name in G.synthesis.layer_names]
        half_life = layers[0].half_life
        for layer in layers:
            layer.half_life = 0.01
        z = torch.randn(4, G.z_dim, generator=torch.Generator().manual_seed(0))
        c = torch.eye(G.c_dim)[[0] * 4] if G.c_dim else None
        G.synthesis(G.mapping(z, c), update_emas=True)
        for layer in layers:
            layer.half_life = half_life
    return G
