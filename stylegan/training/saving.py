# SPDX-License-Identifier: Apache-2.0
"""Sheets of samples and snapshots: when they are due, and on a disk that may be full."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stylegan.config import TrainConfig
from stylegan.errors import TrainingError
from stylegan.runs.record import Record
from stylegan.runs.samples import Samples
from stylegan.runs.schedule import Due
from stylegan.training.failure import failure
from stylegan.training.step import TrainingStep
from stylegan.words import one_line

LAST_TRIES = 60  # to write the last snapshot, ten seconds apart


class Saver:
    """Writes sheets and snapshots of a run. One that the disk had no space for is due again in a
    minute.

    Args:
        train: the settings of training.
        samples: the latents of the sheets.
        model: what is trained.
        record: the log and the terminal.
        save_snapshot: writes a snapshot and returns its folder. Its argument says whether it is an
            early one, which the next replaces.
        trained: seconds that the run has trained so far.
        interrupted: whether the run has been asked to stop.
    """

    def __init__(
        self,
        train: TrainConfig,
        samples: Samples,
        model: TrainingStep,
        record: Record,
        save_snapshot: Callable[[bool], Path],
        trained: float,
        interrupted: Callable[[], bool],
    ) -> None:
        self._samples, self._model, self._record = samples, model, record
        self._save_snapshot, self._interrupted = save_snapshot, interrupted
        seen = model.images_seen
        seconds = train.snapshot_minutes and train.snapshot_minutes * 60
        self.newest_sheet: Path | None = None  # of this process
        self.sheet_due = Due(train.grid_kimg, seen, seconds, first=not seen, trained=trained)
        self.snapshot_due = Due(train.snapshot_kimg, seen, seconds, trained=trained)

    def reals(self) -> None:
        """Write the sheet of real images."""
        path = self._record.run_dir / "samples" / "reals.png"
        self._record.attempt("the sheet of real images", lambda: self._samples.save_reals(path))

    def sheet(self) -> Path | None:
        """Write a sheet of generated images. Returns: its path, or None if the disk is full."""
        name = f"{self._model.images_seen / 1000:010.3f}.png"
        path = self._record.run_dir / "samples" / name
        save = lambda: self._samples.save(self._model.G_ema, path)
        written = self._record.attempt("a sheet of samples", save)
        self._settle(self.sheet_due, written)
        self.newest_sheet = written or self.newest_sheet
        return written

    def snapshot(self, last: bool = False) -> Path | None:
        """Write a snapshot. Returns: its folder, or None if the disk is full.

        Args: last: whether the run ends with it. No later one replaces it then.
        Raises: TrainingError if weights are not finite.
        """
        bad = self._model.finite.nonfinite_weights()
        if bad:
            why = f"{len(bad)} weights are not finite, {bad[0]} the first of them"
            raise failure(self._model.images_seen, why, self._record.run_dir)
        with suppress(OSError):  # a snapshot is worth more than the lines before it
            self._record.log.sync()
        early = not last and self.snapshot_due.early(self._model.images_seen)
        save = lambda: self._save_snapshot(early)
        folder = self._record.attempt("a snapshot", save)
        self._settle(self.snapshot_due, folder)
        return folder

    def last_snapshot(self) -> Path | None:
        """Write the snapshot that a run ends with. If the disk is full, wait for space until the
        user interrupts."""
        for attempt in range(LAST_TRIES):
            folder = self.snapshot(last=True)
            if folder or self._interrupted():
                return folder
            if not attempt:
                self._record.print("waiting for space for the last snapshot; Ctrl-C gives up")
            for _ in range(100):
                time.sleep(0 if self._interrupted() else 0.1)
        return None

    def rescue(self, error: BaseException, in_step: bool) -> None:
        """After an error: log it, and save the last step if it is complete.

        Args: in_step: whether the error came in the middle of a step.
        """
        m = self._model
        text = one_line(error) or type(error).__name__
        self._record.event(m.images_seen / 1000, "failed", text[:500])
        if not in_step and m.images_seen and not isinstance(error, TrainingError):
            if not m.finite.nonfinite_weights():
                self._record.attempt("a snapshot", lambda: self._save_snapshot(False))
        self._record.report()

    def _settle(self, due: Due, written: Path | None) -> None:
        if written:
            due.done(self._model.images_seen)
        else:
            due.failed()
