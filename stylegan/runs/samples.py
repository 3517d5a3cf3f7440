# SPDX-License-Identifier: Apache-2.0
"""Sheets of images in a run folder, always from the same latents."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from stylegan.config import Config
from stylegan.data.dataset import ImageDataset, ImageStream
from stylegan.errors import UserError
from stylegan.imaging import grid, on_checkerboard, save_image, to_pil, to_tensor


class Samples:
    """Fixed latents; of a conditional network, one class per row.

    Args:
        config: a resolved `Config`.
        dataset: the images.
        device: of the generator.
    """

    def __init__(self, config: Config, dataset: ImageDataset, device: torch.device) -> None:
        self.dataset, self.batch, self.seed = dataset, config.train.batch_gpu, config.train.seed
        height, width = config.G.resolution
        self.columns, rows = min(max(1280 // width, 4), 12), min(max(960 // height, 3), 8)
        rng = torch.Generator().manual_seed(self.seed)
        count = rows * self.columns
        self.z, self.c = torch.randn(count, config.G.z_dim, generator=rng).to(device), None
        if config.G.c_dim and dataset.class_names:
            number = torch.arange(count) // self.columns % config.G.c_dim
            self.c = torch.eye(config.G.c_dim)[number].to(device)
        elif config.G.c_dim and dataset.labels:
            pick = torch.randint(len(dataset), [count], generator=rng)
            self.c = torch.from_numpy(dataset.labels.vectors(pick.numpy())).to(device)

    @torch.no_grad()
    def save(self, G: torch.nn.Module, path: Path) -> Path:
        """Write images of a generator as a PNG. Returns: its path."""
        images: list[Image.Image] = []
        for start in range(0, len(self.z), self.batch):
            part = slice(start, start + self.batch)
            images += to_pil(G(self.z[part], None if self.c is None else self.c[part]))
        return self._save(images, path)

    def save_reals(self, path: Path) -> Path:
        """Write real images in the same layout. Returns: the path."""
        picks = ImageStream(len(self.dataset), self.seed).epoch(0)[0]
        pixels = []
        for i in picks[: len(self.z)]:
            try:
                pixels.append(self.dataset[i][0])
            except UserError:  # training warns of it if it needs the file
                continue
        if pixels:
            self._save(to_pil(to_tensor(torch.stack(pixels), "cpu")), path)
        return path

    def _save(self, images: list[Image.Image], path: Path) -> Path:
        path.parent.mkdir(exist_ok=True)
        save_image(on_checkerboard(grid(images, self.columns)), path)
        return path
