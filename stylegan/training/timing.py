# SPDX-License-Identifier: Apache-2.0
"""How fast training is, from a few steps of a copy that is thrown away."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F

import stylegan_ops
from stylegan.config import Config
from stylegan.data.dataset import ImageDataset, ImageStream
from stylegan.errors import UserError
from stylegan.imaging import to_tensor
from stylegan.runs.state import random_state, set_random_state
from stylegan.training.ema import update_ema
from stylegan.training.step import TrainingStep

MAX_SECONDS = 10  # of timing, unless one step of a few images takes longer
REPEATS = 5  # of a phase at most, after one that warms up
FIRST_IMAGES = 4  # of the first step; the others have a whole batch if that is quick
QUICK_SECONDS = 1.5  # of a step
# Time of the regularizers in steps without them, if there is no time to measure it.
PATH_LENGTH, R1 = 0.4, 0.6
MAX_READ = 8  # images that are read to see how long that takes
TYPICAL_P = 0.3  # probability of augmentation in a run on a small data set


def seconds_per_image(
    config: Config,
    dataset: ImageDataset,
    device: torch.device,
    seen: int = 0,
    max_seconds: float = MAX_SECONDS,
) -> float:
    """Time of training per image, with the regularizers at their share and with reading images.

    The networks are new ones, and the random numbers of the process continue as if this had not
    been called, so training is what it would be without it.

    Args:
        config: a resolved `Config`. If its resolution is not that of the data, the images are
            resized.
        seen: images that the run has seen. The next ones are read.
        max_seconds: of timing, unless one step of a few images takes longer.
    Raises: RuntimeError or MemoryError if there is too little memory.
    """
    before = random_state()
    try:
        reals, c, reading = _batch(config, dataset, device, seen)
        with stylegan_ops.planning("fixed"):  # the same kernels as in the run
            training = _training(config, dataset, reals, c, _Timer(device, max_seconds))
    finally:
        set_random_state(before)
        _free(device)
    if dataset.fits_in_memory:  # each image is read once
        return training
    workers = max(config.data.workers or 0, 1)
    if device.type == "cpu":  # which reads images too
        return training + reading / min(workers, torch.get_num_threads())
    return max(training, reading / workers)


def _batch(
    config: Config, dataset: ImageDataset, device: torch.device, seen: int
) -> tuple[torch.Tensor, torch.Tensor | None, float]:
    """(reals, labels, seconds to read an image): the next images, again and again."""
    epoch, start = divmod(seen, len(dataset))
    order = ImageStream(len(dataset), config.train.seed).epoch(epoch)[0][start:]
    pixels: list[torch.Tensor] = []
    labels: list[torch.Tensor] = []
    begun = time.perf_counter()
    for index in order[:MAX_READ]:
        try:
            image, label = torch.from_numpy(dataset.pixels(index)), None
        except UserError:  # training warns of it
            continue
        if dataset.labels:
            label = torch.from_numpy(dataset.labels.vectors(index))
        pixels.append(image)
        labels.append(torch.zeros(0) if label is None else label)
    reading = (time.perf_counter() - begun) / max(len(pixels), 1)
    n = config.train.batch_gpu
    if not pixels:
        height, width = dataset.resolution
        pixels = [torch.zeros(dataset.channels, height, width, dtype=torch.uint8)]
        labels = [torch.zeros(dataset.c_dim)]
    several = [i % len(pixels) for i in range(n)]
    reals = to_tensor(torch.stack([pixels[i] for i in several]), device)
    if dataset.resolution != config.D.resolution:
        reals = F.interpolate(reals, config.D.resolution)
    if not config.D.c_dim:
        return reals, None, reading
    return reals, torch.stack([labels[i] for i in several]).to(device), reading


def _training(
    config: Config,
    dataset: ImageDataset,
    reals: torch.Tensor,
    c: torch.Tensor | None,
    timer: _Timer,
) -> float:
    """Seconds per image of the steps alone."""
    t = config.train
    labels = dataset.labels if config.G.c_dim else None
    model = TrainingStep(_once(config, FIRST_IMAGES), timer.device, labels and labels.values)
    if model.augment.adaptation:  # at 0, where adaptive augmentation begins, nothing is done
        model.augment.adaptation.p.fill_(TYPICAL_P)

    def main() -> None:
        n = model.config.train.batch_gpu
        model.g_main()
        model.d_main(reals[:n], None if c is None else c[:n])
        update_ema(model.G_ema, model.G, 0.5)

    def r1() -> None:
        n = model.config.train.batch_gpu
        model.d_r1(reals[:n], None if c is None else c[:n])

    few = model.config.train.batch_gpu
    of_main = timer.once(main)
    if of_main * t.batch_gpu / few < QUICK_SECONDS:
        model.config, of_main = _once(config, t.batch_gpu), of_main * t.batch_gpu / few
    of_main = timer.seconds(main, of_main)
    seconds = of_main
    if t.pl_weight:
        expected = of_main * PATH_LENGTH
        seconds += timer.seconds(model.g_path_length, expected) / t.pl_interval
    if t.r1_gamma:
        seconds += timer.seconds(r1, of_main * R1) / t.r1_interval
    return seconds / model.config.train.batch_gpu


def _once(config: Config, images: int) -> Config:
    """`config` with one round of at most so many images a step, and without the blur of the first
    images."""
    images = min(images, config.train.batch_gpu)
    train = replace(config.train, batch=images, batch_gpu=images, blur_sigma=0)
    return replace(config, train=train)


class _Timer:
    """Times phases of a step while there is time left."""

    def __init__(self, device: torch.device, max_seconds: float) -> None:
        self.device, self._end = device, time.perf_counter() + max_seconds

    def seconds(self, phase: Callable[[], Any], expected: float) -> float:
        """The median of a few runs of a phase; `expected` if there is no time for that."""
        if time.perf_counter() + 2 * expected > self._end:
            return expected
        first = self.once(phase)
        times: list[float] = []
        share = (self._end - time.perf_counter()) / 2  # other phases need time too
        while len(times) < REPEATS and sum(times) + first < share:
            times.append(self.once(phase))
        return statistics.median(times or [first])

    def once(self, phase: Callable[[], Any]) -> float:
        """Seconds of one run."""
        begun = time.perf_counter()
        phase()
        _wait(self.device)
        return time.perf_counter() - begun


def _wait(device: torch.device) -> None:
    """Wait until the device has done what was asked."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


def _free(device: torch.device) -> None:
    """Give the memory of the copy back, so that it does not count as that of the run."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
