# SPDX-License-Identifier: Apache-2.0
"""Sheets of images in a run folder, always of the same seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image

from stylegan.config import Config
from stylegan.data.dataset import ImageDataset, ImageStream
from stylegan.errors import UserError
from stylegan.imaging import Layout, grid, on_checkerboard, save_image, to_pil, to_tensor
from stylegan.inference.seeds import latents_of_seeds
from stylegan.runs.training_labels import about_dataset, label_vectors


class Samples:
    """Seeds 0, 1, 2, ... in rows, which `stylegan generate --seeds` draws again.

    Rows of a network with classes show one class each; classes without images are left out. With
    label vectors, seed s has row s of the vectors that the snapshot keeps, modulo their number.

    Args:
        config: a resolved `Config`.
        dataset: the images.
        device: of the generator.
    """

    def __init__(self, config: Config, dataset: ImageDataset, device: torch.device) -> None:
        self.dataset, self.batch, self.seed = dataset, config.train.batch_gpu, config.train.seed
        height, width = config.G.resolution
        self.columns, self.rows = min(max(1280 // width, 4), 12), min(max(960 // height, 3), 8)
        self.seeds = range(self.rows * self.columns)
        self.z = latents_of_seeds(self.seeds, config.G.z_dim).to(device)
        self.c: torch.Tensor | None = None
        self.classes: list[str] = []  # the name of each row
        if not config.G.c_dim:
            return
        vectors = label_vectors(dataset)
        if vectors is not None:
            self.c = vectors[torch.tensor(self.seeds) % len(vectors)].to(device)
        elif dataset.labels:
            counts = about_dataset(dataset)["class_counts"]
            drawn = [number for number, count in enumerate(counts) if count]
            numbers = [drawn[row % len(drawn)] for row in range(self.rows)]
            self.classes = [dataset.class_names[number] for number in numbers]
            of_image = torch.tensor(numbers).repeat_interleave(self.columns)
            self.c = F.one_hot(of_image, config.G.c_dim).float().to(device)

    @property
    def about(self) -> dict[str, Any]:
        """What a sheet's PNG says of its images, as text: seeds, columns, and with classes the
        name of each row's class as a JSON list."""
        about: dict[str, Any] = {"seeds": f"0-{len(self.seeds) - 1}", "columns": self.columns}
        if self.classes:
            about["classes"] = json.dumps(self.classes, ensure_ascii=False)
        return about

    @torch.no_grad()
    def save(self, G: torch.nn.Module, path: Path) -> Path:
        """Write images of a generator as a PNG. Returns: its path."""
        images: list[Image.Image] = []
        for start in range(0, len(self.z), self.batch):
            part = slice(start, start + self.batch)
            images += to_pil(G(self.z[part], None if self.c is None else self.c[part]))
        return self._save(images, path, self.about)

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
            self._save(to_pil(to_tensor(torch.stack(pixels), "cpu")), path, {})
        return path

    def _save(self, images: list[Image.Image], path: Path, about: dict[str, Any]) -> Path:
        """Write a sheet, enlarged if its images are small."""
        path.parent.mkdir(exist_ok=True)
        columns = self.columns if len(images) == len(self.seeds) else None
        layout = Layout.of(len(images), images[0].size, columns, "auto")
        square = 8 if layout.scale == 1 else 4 * layout.scale  # the report reduces it by the scale
        sheet = on_checkerboard(grid(images, layout.columns, layout.scale), square)
        save_image(sheet, path, {**about, "scale": layout.scale})
        return path
