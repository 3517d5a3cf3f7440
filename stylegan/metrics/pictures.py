# SPDX-License-Identifier: Apache-2.0
"""Streams of images to measure: of a data set or of a network, in batches, always the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from stylegan.data.dataset import ImageDataset
from stylegan.data.made import read_made
from stylegan.data.source import Problem, is_embedded
from stylegan.errors import UserError, reason_for
from stylegan.identify import Role, identify, is_address
from stylegan.inference.inputs import count_of, number_of
from stylegan.inference.pipeline import Pipeline
from stylegan.metrics.labels import TrainingLabels
from stylegan.networks import Networks
from stylegan.snapshots import is_network_folder

BATCH = 64  # maximum number of images in memory


@dataclass(frozen=True)
class PictureStream:
    """Images to measure."""

    count: int  # of a data set: files that are tried
    batches: Iterator[torch.Tensor]  # uint8 [n, C, H, W], on the CPU; `count` images or fewer
    networks: Networks | None = None  # that draw them; None for a data set
    files: int | None = None  # images in the whole data set; None for a network
    made: str | None = None  # how the data set was made, if it tells
    values: str | None = None  # how images of more than 8 bits are read
    notes: tuple[str, ...] = ()  # lines on what is unusual about the data set
    unused: list[Problem] = field(default_factory=list)  # files that `batches` found unusable


def open_pictures(
    source: str | os.PathLike[str],
    max_images: int,
    resolution: tuple[int, int] | None = None,
    psi: float = 1,
    device: str | torch.device = "auto",
    batch: int | None = None,
    value_range: tuple[float, float] | None = None,
    center: str | None = None,
    choose: Callable[[Networks], TrainingLabels] | None = None,
) -> PictureStream:
    """The images of a data set or of a network.

    Args:
        source: a folder, zip or tar of images, an embedded data set, or a network (see
            `load_networks`).
        max_images: a random subset of a larger data set; the first seeds of a network.
        resolution: (height, width) to which images of a data set are cropped and resized.
        psi: truncation of a network.
        device: of the network.
        batch: images at once; None: by resolution.
        value_range: values of black and white in images of more than 8 bits in a data set; None:
            chosen from the images.
        center: of the truncation of a network, see `Pipeline`.
        choose: the labels of a network; None: those of its training set.
    Raises: UserError if the source cannot be read.
    """
    path, max_images = Path(source), count_of(max_images, "max_images", 1)
    kind = identify(source)
    if path.is_dir():
        images = not is_network_folder(path)
    else:
        images = is_embedded(path) or (kind is not None and kind.role is Role.IMAGES)
    if images or (not kind and path.suffix.lower() in (".zip", ".tar")):
        dataset = ImageDataset(
            path, resolution, max_images=max_images, value_range=value_range, cond=False
        )
        return of_dataset(dataset, min(batch or BATCH, BATCH))
    if not path.exists() and not path.suffix and not is_address(source):
        raise UserError(source, "there is no such folder or file; check the path")
    pipe = Pipeline.from_pretrained(path, device, truncation_center=center)
    if batch:
        pipe.batch = batch
    return of_network(pipe, max_images, psi, choose(pipe.networks) if choose else None)


def of_dataset(dataset: ImageDataset, batch: int = BATCH) -> PictureStream:
    """The images of a data set, in its order. Files that cannot be used are left out and named in
    `unused`. Reading raises UserError if none can be used."""
    batch = count_of(batch, "batch", 1)
    unused: list[Problem] = []

    def batches() -> Iterator[torch.Tensor]:
        for indices in split(len(dataset), batch):
            read = [_read(dataset, i, unused) for i in indices]
            images = [image for image in read if image is not None]
            if images:
                yield torch.stack(images)
        if len(unused) == len(dataset):
            raise UserError(dataset.path, f"none of {len(unused)} images can be used; {unused[0]}")

    return PictureStream(
        len(dataset),
        batches(),
        files=dataset.total_files,
        made=read_made(dataset.source),
        values=str(dataset.deep) if dataset.deep else None,
        notes=tuple(n for n in dataset.notes if n not in dataset.source.notes),  # on names
        unused=unused,
    )


def _read(dataset: ImageDataset, index: int, unused: list[Problem]) -> torch.Tensor | None:
    try:
        return torch.from_numpy(dataset.pixels(index))
    except UserError as e:
        name = dataset.files[index]
        unused.append(Problem(name, reason_for(e, name)))
        return None


def of_network(
    pipe: Pipeline, count: int, psi: float = 1, labels: TrainingLabels | None = None
) -> PictureStream:
    """The images of seeds 0 to count - 1, rounded to 8 bits as those of a data set are. `labels`
    are those of the training set if they are None.

    Raises: UserError for a count below 1, a psi that is no number, or labels that are not known.
    """
    count, psi = count_of(count, "images", 1), number_of(psi, "psi")
    drawn = labels or TrainingLabels.of(pipe.networks)

    def batches() -> Iterator[torch.Tensor]:
        for seeds in split(count, min(pipe.batch, BATCH)):
            c = np.stack([drawn.draw(sample_rng(0, i)) for i in seeds]) if drawn.known else None
            images = pipe(seeds, label=c, truncation_psi=psi).images
            pixels = np.stack([np.atleast_3d(np.asarray(image)) for image in images])
            yield torch.from_numpy(pixels).permute(0, 3, 1, 2)

    return PictureStream(count, batches(), pipe.networks)


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
