# SPDX-License-Identifier: Apache-2.0
"""Batches for training, read by other processes, which may die."""

import multiprocessing
import os
import signal
import threading
import warnings
from collections import Counter
from contextlib import contextmanager

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from stylegan.data.dataset import KILLER, ImageStream
from stylegan.errors import UserError

DEATHS = 10  # of loader processes before a run gives up
RECOVERED = 100  # batches after which they are forgotten
POLL_SECONDS = 1  # between looks at whether loader processes live, while waiting for a batch
HANGS_SECONDS = 60  # after which a wait is worth a word


class LoaderError(RuntimeError):
    """Loader processes keep dying."""


class Batches:
    """Endless batches (uint8 [batch, channels, H, W], float32 [batch, c_dim]); a pure function of
    seed and position, however many processes read.

    A process that dies is named with the file that it was reading and replaced; a file at which
    two die is passed over.

    Args:
        dataset: an `ImageDataset`.
        batch: images in each.
        seed, mirror, position: of the `ImageStream`.
        workers: loader processes; 0 reads in this one.
        pin_memory: for copies to a CUDA device.
        warn: called with a line of text on what went wrong and was mended.
        stop: asked while waiting; if it says so, there are no more batches.
    Raises: UserError if files cannot be used, LoaderError.
    """

    def __init__(
        self, dataset, batch, seed, mirror, position, workers, pin_memory, warn, stop=lambda: False
    ):
        self.dataset, self.batch, self.workers = dataset, batch, workers
        self.seed, self.mirror, self.position = seed, mirror, position
        self.pin_memory, self.warn, self.stop = pin_memory, warn, stop
        self._processes, self._died_at = set(), Counter()
        self._deaths = self._since = 0  # of loader processes, and batches since the last
        self._batches = self._start()

    def __iter__(self):
        return self

    def __next__(self):
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
            self._mourn(error)
            self.close()
            self._batches = self._start()

    def _next(self):
        """(batch, None), or (None, why there is none). An exception would keep the iterator, and so
        the loader processes, alive until it is forgotten."""
        if not self.workers:
            batch = next(self._batches)
        else:
            try:
                batch = next(self._batches)
            except (RuntimeError, OSError, EOFError) as e:
                # A frame of PyTorch's holds e, which holds the frame, and the iterator.
                e.__traceback__ = None
                return None, f"{type(e).__name__}: {e}"
        if isinstance(batch, UserError):
            self.close()
            raise batch
        return batch, None

    def close(self):
        """End the loader processes."""
        self._batches = None

    def _end_hanging(self):
        """End processes that are at a file for long, which `close` would wait for. (To end any
        other so is not safe: it may hold a lock.)"""
        at = dict(zip(self._pids.tolist(), self.dataset.reading.tolist()))
        for process in self._processes:
            if at.get(process.pid, -1) >= 0:
                process.terminate()

    def _start(self):
        if self.workers:
            self.dataset.reading = torch.full([self.workers], -1).share_memory_()
            self._pids = torch.zeros(self.workers, dtype=torch.int64).share_memory_()
        before = set(multiprocessing.active_children())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of more processes than CPUs: it was asked for
            loader = DataLoader(
                _Errors(self.dataset),
                batch_size=self.batch,
                sampler=ImageStream(len(self.dataset), self.seed, self.mirror, self.position),
                num_workers=self.workers,
                pin_memory=self.pin_memory,
                collate_fn=_collate,
                timeout=POLL_SECONDS if self.workers else 0,
                generator=torch.Generator(),  # of its own: the global one is the run's
                worker_init_fn=_Begin(self._pids) if self.workers else None,
            )
            with _kept_handler("SIGCHLD"):
                batches = iter(loader)
        self._processes = set(multiprocessing.active_children()) - before
        return batches

    def _dead(self):
        """{pid: exit code} of loader processes that have died."""
        return {p.pid: p.exitcode for p in self._processes if p.exitcode}

    def _mourn(self, error):
        """Say which process died at which file. Raises: RuntimeError if none did."""
        for process in self._processes:
            process.join(0.1)  # a connection breaks before there is an exit code
        dead = self._dead()
        if not dead:
            raise RuntimeError(error)
        slots = [i for i, pid in enumerate(self._pids.tolist()) if pid in dead]
        how = _how(next(iter(dead.values())))
        text = f"a loader process died {self._where(slots)} ({how})"
        at = [i for i in self.dataset.reading[slots].tolist() if i >= 0]
        self._died_at.update(at)
        for i in at:
            if self._died_at[i] > 1:
                self.dataset.skipped[i] = KILLER
        self._deaths = 1 if self._since > RECOVERED else self._deaths + 1
        self._since = 0
        if self._deaths >= DEATHS:
            raise LoaderError(f"{text}, {DEATHS} by now; --workers 0 does without")
        self.warn(f"{text}; another takes its place")

    def _where(self, slots):
        """Which files loader processes are at, in words."""
        at = sorted({i for i in self.dataset.reading[list(slots)].tolist() if i >= 0})
        if not at:
            return "between two files"
        return ", ".join(f"at {self.dataset.files[i]}" for i in at)


class _Errors(Dataset):
    """A data set that returns what it cannot read as the UserError. Raised in a loader process, an
    error would arrive as the text of a traceback."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, item):
        try:
            return self.dataset[item]
        except UserError as e:
            return UserError(e.subject, e.why)  # without its traceback


def _collate(items):
    """A batch, or the first error among its images."""
    return next((i for i in items if isinstance(i, UserError)), None) or default_collate(items)


class _Begin:
    """What a loader process does first."""

    def __init__(self, pids):
        self.pids = pids

    def __call__(self, worker):
        self.pids[worker] = os.getpid()
        # Ctrl-C goes to all processes of a terminal; the run still wants its last batch.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _kept_handler(name):
    """Undo what is done to the handler of a signal. DataLoader's own for SIGCHLD raises wherever
    the main thread is when a loader process dies, be it in the middle of a training step."""
    here = threading.current_thread() is threading.main_thread()
    number = getattr(signal, name, None) if here else None  # Windows has none
    kept = number and signal.getsignal(number)
    if getattr(kept, "__module__", "").startswith("torch."):  # of a DataLoader before
        kept = signal.SIG_DFL
    try:
        yield
    finally:
        if number:
            signal.signal(number, kept)


def _how(exitcode):
    if exitcode > 0:
        return f"exit code {exitcode}"
    name = signal.Signals(-exitcode).name
    hints = {"SIGKILL": ", as when memory runs out", "SIGBUS": ", as when /dev/shm is full"}
    return name + hints.get(name, "")
