# SPDX-License-Identifier: Apache-2.0
"""What a run writes down: means of what was measured since the last line, as JSON lines and
TensorBoard."""

import json
import os
from datetime import datetime, timezone
from pathlib import Path

import torch


class Stats:
    """Running means that do not make the device wait: values stay on it until `take`."""

    def __init__(self):
        self._sums = {}

    def add(self, name, value, count=1):
        """Add `value`, a number or a scalar tensor, that is the mean of `count` samples."""
        value = value.detach() if torch.is_tensor(value) else value
        total, n = self._sums.get(name, (0, 0))
        self._sums[name] = (total + value * count, n + count)

    def means(self):
        """{name: mean} of everything since `clear`."""
        return {name: float(total) / n for name, (total, n) in self._sums.items()}

    def clear(self):
        """Begin anew."""
        self._sums = {}

    def state_dict(self):
        """For a snapshot."""
        return {name: [total, n] for name, (total, n) in self._sums.items()}

    def load_state_dict(self, state, device):
        """The inverse of `state_dict`."""
        self._sums = {
            name: (total.to(device) if torch.is_tensor(total) else total, n)
            for name, (total, n) in state.items()
        }


class RunLog:
    """log.jsonl in the run folder: a line of numbers per tick, a line of words per event;
    TensorBoard's files beside it where it is installed.

    Lines that a full disk does not take are kept for the next time.

    Args:
        run_dir: an existing folder.
        images_seen: up to where lines count; what an earlier process logged beyond is dropped.
    """

    def __init__(self, run_dir, images_seen=0):
        self.path, self._pending = Path(run_dir) / "log.jsonl", []
        self._size = _length_until(self.path, images_seen)
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(run_dir), purge_step=images_seen)
        except (ImportError, OSError):
            self._board = None

    def write(self, values):
        """Append {name: number}, with "kimg" in it. Raises: OSError, once the line is kept."""
        if self._board is not None:
            step = round(values["kimg"] * 1000)
            for name, value in values.items():
                if name != "kimg":
                    self._board.add_scalar(name, value, step)
        self._append({name: _short(value) for name, value in values.items()})

    def event(self, kimg, kind, text):
        """Append that something happened.

        Args:
            kind: started, resumed, warning, finished, interrupted or failed.
            text: one line.
        Raises: OSError, once the line is kept.
        """
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._append({"kimg": kimg, "time": now, "event": kind, "text": text})

    def sync(self):
        """Have the disk hold what was written, as a snapshot is held."""
        with self.path.open("rb") as f:
            os.fsync(f.fileno())

    def close(self):
        """Close what is open."""
        if self._board is not None:
            try:
                self._board.close()
            except OSError:
                pass  # a copy for TensorBoard; log.jsonl has it all

    def _append(self, line):
        self._pending.append(json.dumps(line) + "\n")
        data = "".join(self._pending).encode()
        with self.path.open("ab") as f:
            f.truncate(self._size)  # of what a full disk, or a kill, cut short
            f.write(data)
        self._size += len(data)
        self._pending = []


def _length_until(path, images_seen):
    """Bytes of the lines of a log up to a moment of its run."""
    size = 0
    if path.exists():
        with path.open("rb") as f:
            for line in f:
                if _images_of(line) > images_seen:
                    break
                size += len(line)
    return size


def _images_of(line):
    try:
        return round(json.loads(line)["kimg"] * 1000) if line.endswith(b"\n") else float("inf")
    except (ValueError, KeyError, TypeError):  # cut off by a crash
        return float("inf")


def _short(value):
    return float(f"{value:.6g}") if isinstance(value, float) else value
