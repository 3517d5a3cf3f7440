# SPDX-License-Identifier: Apache-2.0
"""Streams of images to measure: of a data set or of a network, in batches, always the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stylegan.data.dataset import ImageDataset
from stylegan.data.source import is_embedded
from stylegan.identify import Role, identify
from stylegan.inference.pipeline import Pipeline
from stylegan.snapshots import is_network_folder

BATCH = 64  # maximum number of images in memory


@dataclass(frozen=True)
class PictureStream:
    """Images to measure."""

    count: int
    batches: Iterator[torch.Tensor]  # uint8 [n, C, H, W], on the CPU; `count` images in all


def open_pictures(
    source: str | os.PathLike[str],
    max_images: int,
    resolution: tuple[int, int] | None = None,
    psi: float = 1,
    device: str | torch.device = "auto",
) -> PictureStream:
    """The images of a data set or of a network.

    Args:
        source: a folder, zip or tar of images, an embedded data set, or a network (see
            `load_networks`).
        max_images: a random subset of a larger data set; the first seeds of a network.
        resolution: (height, width) to which images of a data set are cropped and resized.
        psi: truncation of a network.
        device: of the network.
    Raises: UserError if the source cannot be read.
    """
    path, kind = Path(source), identify(source)
    if path.is_dir():
        images = not is_network_folder(path)
    else:
        images = is_embedded(path) or (kind is not None and kind.role is Role.IMAGES)
    if images or (not kind and path.suffix.lower() in (".zip", ".tar")):
        return of_dataset(ImageDataset(path, resolution, max_images=max_images, cond=False))
    return of_network(Pipeline.from_pretrained(path, device), max_images, psi)


def of_dataset(dataset: ImageDataset, batch: int = BATCH) -> PictureStream:
    """The images of a data set, in its order."""

    def batches() -> Iterator[torch.Tensor]:
        for indices in split(len(dataset), batch):
            yield torch.stack([dataset[i][0] for i in indices])

    return PictureStream(len(dataset), batches())


def of_network(pipe: Pipeline, count: int, psi: float = 1) -> PictureStream:
    """The images of seeds 0 to count - 1, rounded to 8 bits as those of a data set are."""

    def batches() -> Iterator[torch.Tensor]:
        for seeds in split(count, min(pipe.batch, BATCH)):
            images = pipe(seeds, truncation_psi=psi).images
            pixels = np.stack([np.atleast_3d(np.asarray(image)) for image in images])
            yield torch.from_numpy(pixels).permute(0, 3, 1, 2)

    return PictureStream(count, batches())


def on_white(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 [N, C, H, W] -> float64 [N, 1 or 3, H, W] in [-1, 1], RGBA composited on white."""
    x = pixels.double()
    if x.shape[1] == 4:
        x = 255 + (x[:, :3] - 255) * (x[:, 3:] / 255)
    return x / 127.5 - 1


def split(count: int, batch: int) -> Iterator[range]:
    """The indices 0 to count - 1 in consecutive batches."""
    for start in range(0, count, batch):
        yield range(start, min(start + batch, count))


def sample_rng(seed: int, index: int) -> np.random.Generator:
    """The random numbers of one sample, which depend on nothing but `seed` and `index`."""
    return np.random.default_rng([seed, index])
