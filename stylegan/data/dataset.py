# SPDX-License-Identifier: Apache-2.0
"""A folder or a zip of images as a PyTorch data set, and the endless stream that training draws."""

from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from stylegan.data import decode
from stylegan.data.labels import read_labels
from stylegan.data.source import open_source
from stylegan.errors import UserError

DEMO = Path(__file__).parent / "demo" / "fluent-emoji-64.zip"
CACHE_BYTES = 512 << 20  # decoded images are kept in memory up to here


class ImageDataset(Dataset):
    """Images and label vectors. Attributes: name, path, resolution, channels, labels, class_names,
    c_dim.

    Args:
        path: folder or zip; nested folders count. None is the embedded demo, 3080 emoji in 8
            classes.
        resolution: (height, width) in px; images are cropped at the centre and resized to it. None:
            all images have the size of the first.
        channels: 1, 3 or 4. None: what the first image has.
    Raises: UserError if there are no images, or the labels do not fit them.
    """

    def __init__(self, path=None, resolution=None, channels=None):
        self.source = open_source(DEMO if path is None else path)
        self.path, self.name = self.source.path, self.source.path.stem or "images"
        known = decode.extensions()
        self.files = [f for f in self.source.names if PurePosixPath(f).suffix.lower() in known]
        if not self.files:
            raise UserError(f"{self.path}: no images that Pillow can open")
        first = decode.open_image(self.source.read(self.files[0]), self.files[0])
        self.resize = resolution is not None
        self.resolution = resolution or (first.height, first.width)
        self.channels = channels or decode.natural_channels(first)
        self.labels = read_labels(self.source, self.files)
        size = len(self.files) * self.channels * self.resolution[0] * self.resolution[1]
        self.cache_bytes = size if size <= CACHE_BYTES else 0
        self._cache = {} if self.cache_bytes else None

    @property
    def fits_in_memory(self):
        """Whether decoded images are kept (`cache_bytes` of them), so that each is decoded once."""
        return self._cache is not None

    @property
    def c_dim(self):
        """Width of a label vector; 0 without labels."""
        return self.labels.c_dim if self.labels else 0

    @property
    def class_names(self):
        """Names of the classes; empty where there are none."""
        return self.labels.names if self.labels else ()

    def refuse(self, why):
        """Raises: UserError that names the data set."""
        raise UserError(f"{self.path}: {why}")

    def __len__(self):
        return len(self.files)

    def __getitem__(self, item):
        """item, or (item, flip) -> (uint8 [channels, H, W], float32 [c_dim])."""
        index, flip = item if isinstance(item, tuple) else (item, False)
        pixels = self.pixels(index)
        if flip:
            pixels = pixels[:, :, ::-1].copy()
        label = self.labels.vectors(index) if self.labels else np.zeros(0, np.float32)
        return torch.from_numpy(pixels), torch.from_numpy(label)

    def pixels(self, index):
        """uint8 array [channels, H, W] of one image. Raises: UserError that names the file."""
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        name = self.files[index]
        image = decode.open_image(self.source.read(name), name)
        if not self.resize and (image.height, image.width) != tuple(self.resolution):
            raise UserError(
                f"{name} has {image.width}x{image.height} px but {self.files[0]} has "
                f"{self.resolution[1]}x{self.resolution[0]}; --resolution crops and resizes all"
            )
        pixels = decode.to_pixels(image, self.channels, self.resolution)
        if self._cache is not None:
            self._cache[index] = pixels
        return pixels


class ImageStream(Sampler):
    """Endless (index, flip), shuffled anew in every epoch; a pure function of seed and position.

    Args:
        count: images in the data set.
        seed: of the order.
        mirror: whether flip is drawn (probability 1/2) or always False.
        position: images already drawn, where the stream goes on.
    """

    def __init__(self, count, seed, mirror=False, position=0):
        self.count, self.seed, self.mirror, self.position = count, seed, mirror, position

    def __iter__(self):
        epoch, start = divmod(self.position, self.count)
        while True:
            yield from list(zip(*self.epoch(epoch)))[start:]
            epoch, start = epoch + 1, 0

    def epoch(self, number):
        """(order, flips) of an epoch: a permutation of the indices, and a bool for each."""
        # manual_seed takes 32 bits, so seed and epoch are hashed into as many.
        mixed = np.random.SeedSequence([self.seed, number]).generate_state(1)
        draw = torch.Generator().manual_seed(int(mixed[0]))
        order = torch.randperm(self.count, generator=draw).tolist()
        flips = torch.rand(self.count, generator=draw).lt(0.5) & self.mirror
        return order, flips.tolist()
