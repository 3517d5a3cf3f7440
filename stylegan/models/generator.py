# SPDX-License-Identifier: Apache-2.0
"""The generator of every model: mapping, then synthesis.

Source: Karras et al. 2019 (arXiv:1812.04948), figure 1b.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn

from stylegan.config import GeneratorConfig, Stylegan3Config
from stylegan.models.layers import network_facts
from stylegan.models.mapping import Mapping
from stylegan.models.wrapped import accept_wrapped_names


class Generator(nn.Module):
    """G(z, c) -> images. Attributes: config, mapping, synthesis, num_ws, z_dim, c_dim, w_dim.

    Args:
        config: with channel_base set.
        synthesis: module (ws [N, num_ws, w_dim], noise_mode, generator) -> images.
    """

    def __init__(self, config: GeneratorConfig | Stylegan3Config, synthesis: Any) -> None:
        super().__init__()
        self.config = config
        self.z_dim, self.c_dim, self.w_dim = config.z_dim, config.c_dim, config.w_dim
        self.synthesis = synthesis
        self.num_ws: int = synthesis.num_ws
        self.mapping = Mapping(
            config.z_dim,
            config.c_dim,
            config.w_dim,
            self.num_ws,
            config.mapping_layers,
            config.w_avg_beta,
        )
        accept_wrapped_names(self)

    def extra_repr(self) -> str:
        sizes = f"z {self.z_dim}, w {self.w_dim}, {self.num_ws} ws"
        return network_facts(self.config, sizes, network=self)

    def forward(
        self,
        z: torch.Tensor,
        c: torch.Tensor | None = None,
        truncation_psi: float = 1,
        truncation_cutoff: int | None = None,
        noise_mode: str = "const",
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Images of latents.

        Args:
            z: [N, z_dim], standard normal; any floating dtype.
            c: [N, c_dim], one-hot; None for an unconditional network.
            truncation_psi, truncation_cutoff: as in `Mapping.forward`.
            noise_mode: const (the network's own noise images), random (new ones) or none. No effect
                without noise inputs, as in StyleGAN3.
            generator: torch.Generator of the random noise.
        Returns: [N, channels, H, W] in about [-1, 1]; float32, or float64 if the weights are.
        Raises: ValueError if z, c or noise_mode does not fit.
        """
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff)
        return self.synthesis(ws, noise_mode, generator)
