# SPDX-License-Identifier: Apache-2.0
"""The lines of numbers in the log: when they are due, and what is in them."""

from __future__ import annotations

from pathlib import Path

import torch

from stylegan.config import TrainConfig
from stylegan.data.dataset import ImageDataset
from stylegan.runs.progress import RunProgress
from stylegan.runs.record import Record
from stylegan.runs.schedule import Clock, Due, images
from stylegan.runs.state import Progress
from stylegan.training.adapt import AtLimit
from stylegan.training.guards import Collapse
from stylegan.training.memory import peak_memory_gb
from stylegan.training.step import TrainingStep

MAX_SECONDS = 60  # between two lines, however slow the machine


class Ticks:
    """Writes the lines, and warnings of what they show.

    Args:
        train: the settings of training.
        model: what is trained.
        dataset: the images. It knows which files it skipped.
        device: where the model is.
        record: the log and the terminal.
        progress: of the run; its `seconds` and `logged` are kept up to date.
        collapse: looks for signs of collapse.
    """

    def __init__(
        self,
        train: TrainConfig,
        model: TrainingStep,
        dataset: ImageDataset,
        device: torch.device,
        record: Record,
        progress: Progress,
        collapse: Collapse,
    ) -> None:
        self._train, self._model, self._dataset, self._device = train, model, dataset, device
        self._record, self._progress, self._collapse = record, progress, collapse
        seen = model.images_seen
        self._due = Due(train.tick_kimg, seen, MAX_SECONDS, first=not seen)
        self._clock = Clock(progress.seconds, seen)
        self._images_per_s = 0.0  # at the last line
        self._losses: dict[str, float] = {}
        self._at_limit = AtLimit(train.ada_max_p)

    @property
    def seconds(self) -> float:
        """Seconds of training in this process."""
        return self._clock.here

    def read_clock(self) -> None:
        """Take the time after a step."""
        self._progress.seconds = self._clock.read(self._model.images_seen)

    def due(self) -> bool:
        """Whether a line is due."""
        return self._due(self._model.images_seen)

    def write(self, due: bool) -> dict[str, float]:
        """Write a line. One that was not due does not count when the run is resumed.

        Returns: the means of what was measured since the last line that was due.
        """
        m = self._model
        means = m.stats.means()
        self._images_per_s = self._clock.images_per_s
        prefix = "loss/"
        self._losses = {k.removeprefix(prefix): v for k, v in means.items() if prefix in k}
        line = {
            "kimg": m.images_seen / 1000,
            "seconds": self._progress.seconds,
            "images_per_s": self._images_per_s,
            "memory_gb": peak_memory_gb(self._device),
            **means,
            "pl_mean": float(m.pl_mean),
        }
        if m.augment.p is not None:
            line["augment_p"] = float(m.augment.p)
        self._record.numbers(line)
        if due:
            m.stats.clear()
            self._progress.logged = m.images_seen
            cut = self._dataset.take_cut()
            limit = self._at_limit(line["augment_p"]) if m.augment.adaptation else None
            for text in (*self._collapse(means, m.images_seen), m.finite.take(), limit, cut):
                if text:
                    self._warn(text)
        for problem in self._dataset.take_skipped():
            self._warn(f"skipped {problem}")
        if due:
            self._due.done(m.images_seen)
            self._clock.lap()
        return means

    @property
    def seconds_left(self) -> float | None:
        """Until the run ends, at the mean speed of this process. None before its first step."""
        speed = self._clock.mean_images_per_s
        if not speed:
            return None
        left = max(images(self._train.kimg) - self._model.images_seen, 0) / speed
        if self._train.minutes is not None:
            left = min(left, max(self._train.minutes * 60 - self.seconds, 0))
        return left

    def progress(self, sheet: Path | None) -> RunProgress:
        """How far the run is. Args: sheet: the newest one."""
        return RunProgress(
            kimg=self._model.images_seen / 1000,
            target_kimg=self._train.kimg,
            seconds=self._progress.seconds,
            images_per_s=self._images_per_s,
            seconds_left=self.seconds_left,
            losses=self._losses,
            sheet=sheet,
        )

    def _warn(self, text: str) -> None:
        self._record.warn(self._model.images_seen / 1000, text)
