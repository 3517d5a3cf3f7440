# SPDX-License-Identifier: Apache-2.0
"""The mean that truncation pulls w towards: that of the whole network, or that of a label."""

from __future__ import annotations

import hashlib

import torch

from stylegan.models.generator import Generator

CENTERS = ("all", "class")
SAMPLES = 4096  # latents of the mean of a class: its error is 1/64 of the spread of w
VECTOR_SAMPLES = 256  # of another label, of which there may be one for every image
CHUNK = 512  # latents at once
SEED = 0


class ClassCenters:
    """The mean w of every label, computed when it is first asked for, always from the same latents.

    Args: G: a conditional generator.
    """

    def __init__(self, G: Generator) -> None:
        self.G = G
        self.means: dict[bytes, torch.Tensor] = {}  # [w_dim] by the hash of a label

    def __call__(self, c: torch.Tensor) -> torch.Tensor:
        """The means [N, w_dim] of labels c [N, c_dim], on the device of the network."""
        means = []
        for row in c:
            key = hashlib.sha256(row.cpu().numpy().tobytes()).digest()
            if key not in self.means:
                self.means[key] = self._mean(row)
            means.append(self.means[key])
        return torch.stack(means)

    def _mean(self, label: torch.Tensor) -> torch.Tensor:
        rng = torch.Generator().manual_seed(SEED)
        is_class = bool((label == 1).sum() == 1 and (label != 0).sum() == 1)
        samples = SAMPLES if is_class else VECTOR_SAMPLES
        total = torch.zeros(self.G.w_dim, device=label.device)
        for start in range(0, samples, CHUNK):
            n = min(CHUNK, samples - start)
            z = torch.randn(n, self.G.z_dim, generator=rng, dtype=torch.float32)
            w = self.G.mapping(z.to(label.device), label.expand(n, -1))[:, 0]
            total = total + w.sum(dim=0)
        return total / samples


def center_of(G: Generator, center: str | None) -> str:
    """`center`, or if it is None: "class" for a network with labels, which would fade otherwise,
    and "all" for one without."""
    return center or ("class" if G.c_dim else "all")
