# SPDX-License-Identifier: Apache-2.0
"""The training loop: steps, and what is due between them."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO, cast

import filelock
import torch

import stylegan_ops
from stylegan.config import Config
from stylegan.data.balance import labels_to_draw
from stylegan.data.dataset import ImageDataset
from stylegan.data.loader import Batches
from stylegan.imaging import to_tensor
from stylegan.runs.folder import is_run, lock, update_config
from stylegan.runs.progress import OnProgress
from stylegan.runs.record import Record, TrainBar
from stylegan.runs.resume import read_newest
from stylegan.runs.samples import Samples
from stylegan.runs.schedule import images
from stylegan.runs.snapshot import clean
from stylegan.runs.state import Progress, restore, save
from stylegan.snapshots import snapshots_of
from stylegan.training.failure import check_updates
from stylegan.training.guards import Collapse
from stylegan.training.interrupt import Interrupt
from stylegan.training.saving import Saver
from stylegan.training.setup import open_batches
from stylegan.training.step import TrainingStep
from stylegan.training.ticks import Ticks
from stylegan.words import short

ABOUT_LOSSES = (
    "G and D are the losses of the generator and the discriminator, which work against each other. "
    "Neither has to fall: judge the run by its samples."
)
CHECK_STEPS = 16  # between checks for values that are not finite; each waits for the device


class Trainer:
    """One run in one folder.

    Args:
        config: a resolved `Config` that fits the data set (`stylegan.training.setup.fit_to_data`).
        dataset: the images.
        device: where to train.
        run_dir: the run's folder (`new_run_dir`). It may be set later, before `run`.
        on_progress: called with a `RunProgress` after every line of the log and every new sheet, on
            the thread that trains. If it returns False, the run stops with a snapshot. If it
            raises, the run ends with a snapshot and the exception. Global random numbers that it
            draws are missing in training.
        stream: for the bar and for warnings; None: standard error.
        embedded: in a program that goes on after the run, as for `Interrupt`.
    """

    def __init__(
        self,
        config: Config,
        dataset: ImageDataset,
        device: torch.device,
        run_dir: Path | None = None,
        on_progress: OnProgress | None = None,
        stream: TextIO | None = None,
        embedded: bool = False,
    ) -> None:
        self.config, self.dataset, self.device = config, dataset, device
        self.run_dir = cast(Path, run_dir)  # `run` needs it, and it is set by then
        self.on_progress, self.stream = on_progress, stream
        self._new_model()
        self.samples = Samples(config, dataset, device)
        self.progress, self.collapse = Progress(), Collapse()
        self.interrupt = Interrupt(embedded)
        self.late = self.stopped = self.resumed = self._in_step = False
        self.resumed_from: Path | None = None  # a snapshot
        self._warnings: list[str] = []  # from before the log was open
        self._lock: filelock.BaseFileLock | None = None

    @property
    def kimg(self) -> float:
        """Thousands of real images shown so far."""
        return self.model.images_seen / 1000

    def resume(self, snapshot: Path) -> None:
        """Continue from a snapshot, on the CPU bit for bit as if there had been no break.

        Raises: SnapshotError if it lacks something that training needs, UserError if it does not
            fit the data set.
        """
        restored = restore(snapshot, self.config, self.dataset, self.device, self.model)
        self.progress, self.resumed, self.resumed_from = restored.progress, True, snapshot
        self.collapse.streaks = restored.progress.streaks
        self._warnings += restored.warnings

    def resume_newest(self) -> None:
        """Continue from the newest snapshot of the run's folder that can be read, or from the
        start if there is none. Newer snapshots that cannot be read are renamed.

        Raises: SnapshotError if there are snapshots, but none can be read.
        """
        self._take_lock()
        self.resumed = True
        self._warnings += read_newest(self.run_dir, self.resume, self._new_model)

    def run(self) -> Path | None:
        """Train until config.train.kimg, config.train.minutes, a signal to stop
        (`interrupt.signal`) or an `on_progress` that returns False (`stopped`).

        Returns: the last snapshot's folder, or None if none could be written.
        Raises: TrainingError if training fails for good. The last snapshot is from before that.
        """
        held = self._take_lock()
        try:
            # A resumed run has to choose the same kernels as before, to the last bit.
            with self.interrupt, stylegan_ops.planning("fixed"):
                return self._run_locked()
        finally:
            held.release()

    def _run_locked(self) -> Path | None:
        clean(self.run_dir)
        seen = self.model.images_seen
        self.record = Record(self.run_dir, self.progress.logged, seen, self.stream)
        if is_run(self.run_dir):
            update = lambda: update_config(self.run_dir, self.config)
            self.record.attempt("run.json", update)
        t, m = self.config.train, self.model
        save, trained = self.save_snapshot, self.progress.seconds
        saver = Saver(t, self.samples, m, self.record, save, trained, self._interrupted)
        batches = open_batches(
            self.config, self.dataset, self.device, m.images_seen, self._warn, self._interrupted
        )
        try:
            with TrainBar(m.images_seen, images(t.kimg), t.batch, self.record.stream) as bar:
                return self._train(batches, saver, bar)
        except BaseException as e:
            saver.rescue(e, self._in_step)
            raise
        finally:
            batches.close()
            self.record.close()

    def _train(self, batches: Batches, saver: Saver, bar: TrainBar) -> Path | None:
        """The loop. Returns: the last snapshot's folder."""
        t, m = self.config.train, self.model
        self._begin(saver)
        ticks = Ticks(t, m, self.dataset, self.device, self.record, self.progress, self.collapse)
        if saver.newest_sheet:
            self._tell(ticks, saver)
        done = m.images_seen >= images(t.kimg)
        while not done:
            batch = next(batches, None)
            if batch is None:  # interrupted while waiting for it
                break
            pixels, labels = batch
            reals = to_tensor(pixels, self.device)
            c = labels.to(self.device, non_blocking=True) if self.config.D.c_dim else None
            self._in_step = True
            m.step(reals, c)
            self._in_step = False
            bar.update(t.batch)
            ticks.read_clock()
            self.late = t.minutes is not None and ticks.seconds >= t.minutes * 60
            done = m.images_seen >= images(t.kimg) or self.late or self._interrupted()
            tick = ticks.due()
            if done or tick or m.steps % CHECK_STEPS == 0:
                check_updates(m, reals, c, self.run_dir)
            if done or tick:
                means = ticks.write(tick)
                bar.show(f"G {means['loss/G']:.2f} D {means['loss/D']:.2f}")
                self._tell(ticks, saver)
                done = done or self.stopped
                self.record.report(late=True)
            if not done and saver.sheet_due(m.images_seen) and saver.sheet():
                self._tell(ticks, saver)
                self.record.report()
            if not done and saver.snapshot_due(m.images_seen) and m.finite.healthy():
                saver.snapshot()
                self.record.report()
        return self._finish(saver, ticks)

    def _tell(self, ticks: Ticks, saver: Saver) -> None:
        """Call `on_progress`."""
        if self.on_progress and self.on_progress(ticks.progress(saver.newest_sheet)) is False:
            self.stopped = True

    def _begin(self, saver: Saver) -> None:
        kind = "resumed" if self.resumed else "started"
        self.record.event(self.kimg, kind, f"at {short(self.kimg)} kimg")
        for text in self._warnings:
            self._warn(text)
        if not self.model.images_seen:
            saver.reals()
            saver.sheet()
        self.record.report()
        self.record.print(ABOUT_LOSSES)

    def _finish(self, saver: Saver, ticks: Ticks) -> Path | None:
        """Write what a run ends with. Returns: the last snapshot's folder."""
        stopped, number = self._interrupted(), self.interrupt.signal
        if not stopped and saver.sheet():
            self._tell(ticks, saver)
        last = saver.last_snapshot()
        why = f" by signal {number}" if number else " by the caller" if stopped else ""
        why = why or (" by the time limit" if self.late else "")
        kind = "interrupted" if stopped else "finished"
        self.record.event(self.kimg, kind, f"at {short(self.kimg)} kimg{why}")
        self.record.report()
        return last or next(reversed(snapshots_of(self.run_dir)), None)

    def save_snapshot(self, early: bool = False) -> Path:
        """Write the networks and the state of training.

        Args: early: whether the next snapshot replaces this one.
        Returns: the folder.
        Raises: OSError.
        """
        self.progress.streaks = dict(self.collapse.streaks)
        return save(self.run_dir, self.config, self.dataset, self.model, self.progress, early)

    def _warn(self, text: str) -> None:
        self.record.warn(self.kimg, text)

    def _interrupted(self) -> bool:
        return bool(self.interrupt.signal) or self.stopped

    def _new_model(self) -> None:
        balance = self.config.data.balance_classes
        labels = labels_to_draw(self.dataset, balance) if self.config.G.c_dim else None
        self.model = TrainingStep(self.config, self.device, labels)

    def _take_lock(self) -> filelock.BaseFileLock:
        """Keep other processes out of the run's folder, from before a snapshot is read."""
        if self._lock is None or not self._lock.is_locked:
            self._lock = lock(self.run_dir)
        return self._lock
