# SPDX-License-Identifier: Apache-2.0
"""A folder or a zip of images as a PyTorch data set, and the endless stream that training reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from stylegan.config.numbers import as_size
from stylegan.data import decode
from stylegan.data.label_file import read_labels
from stylegan.data.labels import FILE, Labels, empty_classes, stray_images
from stylegan.data.pixels.ranges import cut
from stylegan.data.source import Problem, open_source
from stylegan.data.survey import (
    deep_images,
    images_in,
    one_range,
    other_files,
    range_notes,
    survey,
)
from stylegan.errors import UserError, reason_for
from stylegan.words import image_words, named_labels, printable, shown
from stylegan.words import pixels as px

CACHE_BYTES = 512 << 20  # decoded images are kept in memory up to here
OPEN_FIRST = 64  # images, to learn sizes and channels
KILLER = 2  # in `skipped`: a file that is not tried again
MAX_FAILURES = 100  # files in a row that cannot be used; with more, something else is wrong


class ImageDataset(Dataset):
    """Images and label vectors. Attributes: name, path, files, total_files (images before the
    subset), resolution, channels, labels, class_names, class_counts, c_dim, deep (the `DeepImages`
    among the files, or None), value_range, notes (lines on what is unusual about the files),
    label_notes (those of them on labels).

    A file that turns out to be broken or of another size is skipped: the next usable one replaces
    it, and `take_skipped` names it.

    Args:
        path: folder, zip or tar, also with nested folders; or an embedded data set, "faces" (4000
            images, ten labels each) or "emoji" (3080 images in 8 classes). None: the faces.
        resolution: 64, or (height, width) in px; images are cropped at the centre and resized to
            it. None: all images have the same size.
        channels: 1, 3 or 4. None: 4 if half of the images have transparency, else 3 if any has
            colour, else 1.
        max_images: use a random subset of this many.
        seed: of the subset.
        value_range: values of black and white in images of more than 8 bits; None: one choice for
            all images, which does not depend on the subset.
        cond: whether labels are needed. Images that dataset.json does not label are then left out,
            and a dataset.json that does not fit is an error. If not, either is a note, and all
            images are used, without labels.
        zip_encoding: of file names that are not marked as UTF-8; None: a guess.
    Raises: UserError if there are no images, or they differ in size, or the labels do not fit.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        resolution: int | tuple[int, int] | None = None,
        channels: int | None = None,
        max_images: int | None = None,
        seed: int = 0,
        value_range: tuple[float, float] | None = None,
        cond: bool = True,
        zip_encoding: str | None = None,
    ) -> None:
        size = None if resolution is None else as_size(resolution)
        if channels is not None and channels not in decode.KINDS:
            raise UserError("channels", f"expected one of 1, 3, 4, got {shown(channels)}")
        self.source = open_source(path, zip_encoding)
        self.path, self.name = self.source.path, self.source.path.stem or "images"
        self.files = images_in(self.source)
        self.deep = deep_images(self.source, self.files, value_range)
        self.value_range = one_range(self.path, self.deep, value_range)
        self.total_files = len(self.files)
        archives = map(str, other_files(self.source, self.files).archives)
        self.label_notes: list[str] = []
        self.labels = self._read_labels(cond)
        self._take_subset(max_images, seed)
        if cond and self.labels and (empty := empty_classes(self.labels)):
            self.label_notes.append(empty)
        self.notes = [*self.source.notes, *self.label_notes, *map(str, self.source.problems)]
        self.resize = size is not None
        seen = survey(self.source, self.files, OPEN_FIRST)
        self.notes += [*range_notes(self.deep, value_range), *seen.notes(size), *archives]
        height, width = size or seen.one_size(self.path)
        self.resolution = height, width
        self.channels = channels or seen.common_channels
        total = len(self.files) * self.channels * height * width
        self.cache_bytes = total if total <= CACHE_BYTES else 0
        self._cache: dict[int, np.ndarray] | None = {} if self.cache_bytes else None
        # Loader processes write into these, because they share no other memory.
        self.skipped = torch.zeros(len(self.files), dtype=torch.uint8).share_memory_()
        self.cut = torch.zeros_like(self.skipped).share_memory_()  # values outside the range
        # int64 [workers], the image that each is reading, -1 between two
        self.reading: torch.Tensor | None = None
        self._reported: set[int] = set()
        self._cut_reported = 0

    @property
    def fits_in_memory(self) -> bool:
        """Whether decoded images (`cache_bytes` in all) are kept, so that each is decoded once."""
        return self._cache is not None

    @property
    def c_dim(self) -> int:
        """Width of a label vector; 0 without labels."""
        return self.labels.c_dim if self.labels else 0

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; empty if there are none."""
        return self.labels.names if self.labels else ()

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Images per class; empty if there are no classes."""
        return self.labels.class_counts if self.labels else ()

    @property
    def fingerprint(self) -> str:
        """A hash of the names of the files, which decide the order of training, and the labels."""
        names = "\0".join(self.files).encode("utf-8", "surrogateescape")
        labels = self.labels.values.tobytes() if self.labels else b""
        return hashlib.blake2b(names + labels, digest_size=8).hexdigest()

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        facts = [printable(self.path), f"{len(self):,} images"]
        facts.append(image_words(self.resolution, self.channels))
        if self.labels:
            names, attributes = len(self.class_names), self.labels.attributes
            what = named_labels(attributes) if attributes else f"labels of {self.c_dim} numbers"
            facts.append(f"{names} classes" if names else what)
        return f"ImageDataset({', '.join(facts)})"

    def __getitem__(self, item: int | tuple[int, bool]) -> tuple[torch.Tensor, torch.Tensor]:
        """item, or (item, flip) -> (uint8 [channels, H, W], float32 [c_dim])."""
        index, flip = item if isinstance(item, tuple) else (item, False)
        if not 0 <= index < len(self):
            raise IndexError(f"index: expected 0 to {len(self) - 1}, got {index}")
        index, pixels = self._usable(index)
        if flip:
            pixels = pixels[:, :, ::-1].copy()
        label = self.labels.vectors(index) if self.labels else np.zeros(0, np.float32)
        return torch.from_numpy(pixels), torch.from_numpy(label)

    def pixels(self, index: int) -> np.ndarray:
        """uint8 array [channels, H, W] of one image. Raises: UserError that names the file."""
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        name = self.files[index]
        decoded = decode.read_image(self.source.read(name), name, self.value_range)
        image = decoded.image
        if not self.resize and (image.height, image.width) != self.resolution:
            raise UserError(name, f"{image.width}x{image.height} px, not {px(self.resolution)}")
        try:
            pixels = decode.to_pixels(image, self.channels, self.resolution)
        except (UserError, ValueError, OSError) as e:
            raise UserError(name, reason_for(e, name)) from e
        if decoded.outside:
            self.cut[index] = 1
        if self._cache is not None and self.reading is None:  # not in every loader process
            self._cache[index] = pixels
        return pixels

    def take_skipped(self) -> list[Problem]:
        """The files that were skipped since the last call, in any process."""
        new = set(self.skipped.nonzero()[:, 0].tolist()) - self._reported
        self._reported |= new
        return [Problem(self.files[i], self._why(i)) for i in sorted(new)]

    def take_cut(self) -> str | None:
        """A line on images whose values were cut since the last call, in any process."""
        before, self._cut_reported = self._cut_reported, int(self.cut.sum())
        if self._cut_reported == before:
            return None
        return f"by now, {cut(self._cut_reported, self.value_range or (0, 0))}"

    def _usable(self, index: int) -> tuple[int, np.ndarray]:
        """(index, pixels) of the image, or of the next one that can be used."""
        tries = min(MAX_FAILURES, len(self))
        last: object = "it kills the process that reads it"
        for i in range(index, index + tries):
            i %= len(self)
            if self.skipped[i] < KILLER:
                try:
                    self._note_reading(i)
                    return i, self.pixels(i)
                except UserError as e:
                    self.skipped[i], last = 1, e
                finally:
                    self._note_reading(-1)
        raise UserError(self.path, f"{tries} files in a row cannot be used; the last: {last}")

    def _note_reading(self, index: int) -> None:
        """In a loader process, tell the others which image it reads."""
        worker = torch.utils.data.get_worker_info() if self.reading is not None else None
        if worker and self.reading is not None:
            self.reading[worker.id] = index

    def _why(self, index: int) -> str:
        if self.skipped[index] >= KILLER:
            return "kills the process that reads it"
        try:
            self.pixels(index)
        except UserError as e:
            return reason_for(e, self.files[index])
        return "could not be read for a moment"

    def _read_labels(self, cond: bool) -> Labels | None:
        """The labels, if they fit; see `cond` above."""
        try:
            found = read_labels(self.source, self.files)
        except UserError as e:
            if cond:
                raise
            self.label_notes.append(f"labels are not used: {printable(e)}")
            return None
        self.label_notes += found.notes
        if found.missing:
            self.label_notes.append(f"{_first(found.missing)}: in the labels, but without a file")
        if found.unlabelled:
            some = _first(found.unlabelled)
            if not cond:
                self.label_notes.append(f"{some}: no label in {FILE}, so labels are not used")
                return None
            self.label_notes.append(f"{some}: no label in {FILE}, so left out")
            without = set(found.unlabelled)
            self.files = [name for name in self.files if name not in without]
        if not found.labels and (stray := stray_images(self.files)):
            why = "lies beside the folders, so that they are not classes"
            self.label_notes.append(f"{stray[0]}: {why}")
        return found.labels

    def _take_subset(self, count: int | None, seed: int) -> None:
        if count is not None and count < len(self.files):
            pick = np.sort(np.random.default_rng(seed).permutation(len(self.files))[:count])
            self.files = [self.files[i] for i in pick]
            self.labels = self.labels and self.labels.subset(pick)


class ImageStream(Sampler):
    """Endless (index, flip), reshuffled in every epoch; a pure function of seed and position.

    Args:
        count: images in the data set.
        seed: of the order.
        mirror: whether flip is drawn (probability 1/2) or always False.
        position: images already drawn, where the stream continues.
    """

    def __init__(self, count: int, seed: int, mirror: bool = False, position: int = 0) -> None:
        self.count, self.seed, self.mirror, self.position = count, seed, mirror, position
        self.length = count  # of an epoch

    def __iter__(self) -> Iterator[tuple[int, bool]]:
        epoch, start = divmod(self.position, self.length)
        while True:
            yield from list(zip(*self.epoch(epoch)))[start:]
            epoch, start = epoch + 1, 0

    def epoch(self, number: int) -> tuple[list[int], list[bool]]:
        """(order, flips) of an epoch: a permutation of the indices, and a bool for each."""
        draw = self.generator(number)
        return torch.randperm(self.count, generator=draw).tolist(), self.flips(draw)

    def generator(self, number: int) -> torch.Generator:
        """The random numbers of an epoch."""
        # manual_seed takes 32 bits, so seed and epoch are hashed to that.
        mixed = np.random.SeedSequence([self.seed, number]).generate_state(1)
        return torch.Generator().manual_seed(int(mixed[0]))

    def flips(self, draw: torch.Generator) -> list[bool]:
        """Whether each image of an epoch is flipped."""
        return (torch.rand(self.length, generator=draw).lt(0.5) & self.mirror).tolist()


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{printable(names[0])}{more}"
