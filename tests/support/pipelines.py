# SPDX-License-Identifier: Apache-2.0
"""Pipelines of tiny networks, and their images as numbers."""

import numpy as np
import torch

from stylegan import Networks, Pipeline, build_generator
from support.tiny import tiny


def pipeline(**kwargs):
    """A `Pipeline` of a fresh tiny StyleGAN2 whose noise inputs show; arguments of `Pipeline`."""
    config = tiny()
    torch.manual_seed(0)
    G = build_generator(config)
    for name, p in G.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(p, 0.3)
    return Pipeline(Networks(config, {}, G_ema=G), **kwargs)


def arrays(images):
    """int [N, H, W, ...] of PIL images."""
    return np.stack([np.asarray(image).astype(int) for image in images])
