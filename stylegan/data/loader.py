# SPDX-License-Identifier: Apache-2.0
"""Batches for training, loaded by other processes, which may die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from stylegan.data.balance import stream_of
from stylegan.data.dataset import KILLER, ImageDataset
from stylegan.errors import UserError

MAX_DEATHS = 10  # of loader processes before a run gives up
RECOVERED = 100  # batches without a death after which earlier ones do not count
POLL_SECONDS = 1  # between checks whether loader processes live, while waiting for a batch
HANGS_SECONDS = 60  # of waiting between warnings

Batch = tuple[torch.Tensor, torch.Tensor]


class LoaderError(RuntimeError):
    """Loader processes keep dying."""


class Batches:
    """Endless batches (uint8 [batch, channels, H, W], float32 [batch, c_dim]); a pure function of
    seed and position, however many processes read.

    If a process dies, a warning names the file that it was reading, and a new process replaces it.
    A file that kills two is skipped.

    Args:
        dataset: the images.
        batch: images in each.
        seed, mirror, position, balance: of `stream_of`.
        workers: loader processes; 0 loads in this one.
        pin_memory: for copies to a CUDA device.
        warn: called with a line on what went wrong and was repaired.
        stop: called while waiting; there are no more batches once it returns True.
    Raises: UserError if files cannot be used, LoaderError.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        batch: int,
        seed: int,
        mirror: bool,
        position: int,
        workers: int,
        pin_memory: bool,
        warn: Callable[[str], None],
        stop: Callable[[], bool] = lambda: False,
        balance: bool = False,
    ) -> None:
        self.dataset, self.batch, self.workers = dataset, batch, workers
        self.seed, self.mirror, self.position, self.balance = seed, mirror, position, balance
        self.pin_memory, self.warn, self.stop = pin_memory, warn, stop
        self._processes: set[Any] = set()
        self._died_at: Counter[int] = Counter()
        self._deaths = self._since = 0  # of loader processes, and batches since the last
        self._batches: Any = self._start()

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Batch:
        waited = 0
        while True:
            batch, error = self._next()
            if error is None:
                self.position += self.batch
                self._since += 1
                return batch
            if self.stop():
                self._end_hanging()
                raise StopIteration
            if "timed out" in error and not self._dead():
                waited += POLL_SECONDS
                if waited % HANGS_SECONDS == 0:
                    where = self._where(range(self.workers))
                    self.warn(f"no images for {waited} s: loader processes are {where}")
                continue
            self._replace_dead(error)
            self.close()
            self._batches = self._start()

    def _next(self) -> tuple[Any, str | None]:
        """(batch, None), or (None, why there is none). An exception would keep the iterator, and so
        the loader processes, alive until it is deleted."""
        if not self.workers:
            batch = next(self._batches)
        else:
            try:
                batch = next(self._batches)
            except (RuntimeError, OSError, EOFError) as e:
                # A frame of PyTorch refers to e, which refers to the frame and the iterator.
                e.__traceback__ = None
                return None, f"{type(e).__name__}: {e}"
        if isinstance(batch, UserError):
            self.close()
            raise batch
        return batch, None

    def close(self) -> None:
        """End the loader processes."""
        self._batches = None

    def _end_hanging(self) -> None:
        """End processes that hang at a file, which `close` would wait for. (Others must not be
        ended in this way: they may hold a lock.)"""
        at = dict(zip(self._pids.tolist(), self._reading.tolist()))
        for process in self._processes:
            if at.get(process.pid, -1) >= 0:
                process.terminate()

    def _start(self) -> Iterator[Any]:
        if self.workers:
            self._reading = torch.full([self.workers], -1).share_memory_()
            self.dataset.reading = self._reading
            self._pids = torch.zeros(self.workers, dtype=torch.int64).share_memory_()
        before = set(multiprocessing.active_children())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of more processes than CPUs: the user chose that
            loader = DataLoader(
                _Errors(self.dataset),
                batch_size=self.batch,
                sampler=stream_of(
                    self.dataset, self.seed, self.mirror, self.position, self.balance
                ),
                num_workers=self.workers,
                pin_memory=self.pin_memory,
                collate_fn=_collate,
                timeout=POLL_SECONDS if self.workers else 0,
                generator=torch.Generator(),  # not the global one, which belongs to the run
                worker_init_fn=_Start(self._pids) if self.workers else None,
            )
            with _kept_handler("SIGCHLD"):
                batches = iter(loader)
        self._processes = set(multiprocessing.active_children()) - before
        return batches

    def _dead(self) -> dict[int, int]:
        """{pid: exit code} of loader processes that have died."""
        return {p.pid: p.exitcode for p in self._processes if p.exitcode}

    def _replace_dead(self, error: str) -> None:
        """Warn which process died at which file. Raises: RuntimeError if none did."""
        for process in self._processes:
            process.join(0.1)  # the connection breaks before the exit code is known
        dead = self._dead()
        if not dead:
            raise RuntimeError(error)
        slots = [i for i, pid in enumerate(self._pids.tolist()) if pid in dead]
        how = _how(next(iter(dead.values())))
        text = f"a loader process died {self._where(slots)} ({how})"
        at = [i for i in self._reading[slots].tolist() if i >= 0]
        self._died_at.update(at)
        for i in at:
            if self._died_at[i] > 1:
                self.dataset.skipped[i] = KILLER
        self._deaths = 1 if self._since > RECOVERED else self._deaths + 1
        self._since = 0
        if self._deaths >= MAX_DEATHS:
            raise LoaderError(f"{text}, {MAX_DEATHS} by now; --workers 0 uses none")
        self.warn(f"{text}; another replaces it")

    def _where(self, slots: Iterable[int]) -> str:
        """Which files loader processes are reading."""
        at = sorted({i for i in self._reading[list(slots)].tolist() if i >= 0})
        if not at:
            return "between two files"
        return ", ".join(f"at {self.dataset.files[i]}" for i in at)


class _Errors(Dataset):
    """A data set that returns a UserError instead of raising it. From a loader process, only the
    text of its traceback would arrive."""

    def __init__(self, dataset: ImageDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: Any) -> Any:
        try:
            return self.dataset[item]
        except UserError as e:
            return UserError(e.subject, e.why)  # without its traceback


def _collate(items: list[Any]) -> Any:
    """A batch, or the first error among its images."""
    return next((i for i in items if isinstance(i, UserError)), None) or default_collate(items)


class _Start:
    """What a loader process does first."""

    def __init__(self, pids: torch.Tensor) -> None:
        self.pids = pids

    def __call__(self, worker: int) -> None:
        self.pids[worker] = os.getpid()
        # Ctrl-C reaches all processes of a terminal, but the run still needs its last batch.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _kept_handler(name: str) -> Iterator[None]:
    """Restore the handler of a signal. DataLoader installs one for SIGCHLD that raises an error in
    the main thread when a loader process dies, even in the middle of a training step."""
    here = threading.current_thread() is threading.main_thread()
    number = getattr(signal, name, None) if here else None  # Windows has none
    kept = number and signal.getsignal(number)
    if getattr(kept, "__module__", "").startswith("torch."):  # of an earlier DataLoader
        kept = signal.SIG_DFL
    try:
        yield
    finally:
        if number:
            signal.signal(number, kept)


def _how(exitcode: int) -> str:
    if exitcode > 0:
        return f"exit code {exitcode}"
    name = signal.Signals(-exitcode).name
    hints = {"SIGKILL": ", as when memory runs out", "SIGBUS": ", as when /dev/shm is full"}
    return name + hints.get(name, "")
