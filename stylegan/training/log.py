# SPDX-License-Identifier: Apache-2.0
"""What a run writes down: means of what was measured since the last line, as JSON lines and
TensorBoard."""

import json
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

    def take(self):
        """{name: mean} of everything since the last call."""
        means = {name: float(total) / n for name, (total, n) in self._sums.items()}
        self._sums = {}
        return means


class RunLog:
    """log.jsonl in the run folder, one line per tick; TensorBoard events beside it where it is
    installed.

    Args:
        run_dir: an existing folder.
        images_seen: images that the run has seen; what an earlier one logged beyond is dropped.
    """

    def __init__(self, run_dir, images_seen=0):
        self.path = Path(run_dir) / "log.jsonl"
        self._cut(images_seen)
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(run_dir), purge_step=images_seen or None)
        except ImportError:
            self._board = None

    def _cut(self, images_seen):
        """Drop lines of images that the snapshot to go on from has not seen."""
        if self.path.exists():
            lines = self.path.read_text("utf-8").splitlines(keepends=True)
            kept = [line for line in lines if _images_of(line) <= images_seen]
            if len(kept) < len(lines):
                self.path.write_text("".join(kept), "utf-8")

    def write(self, values):
        """Append {name: number}, with "kimg" in it."""
        with self.path.open("a", encoding="utf-8") as f:
            f.write(json.dumps({k: _short(v) for k, v in values.items()}) + "\n")
        if self._board is not None:
            step = round(values["kimg"] * 1000)
            for name, value in values.items():
                if name != "kimg":
                    self._board.add_scalar(name, value, step)
            self._board.flush()

    def close(self):
        """Close what is open."""
        if self._board is not None:
            self._board.close()


def _images_of(line):
    try:
        return round(json.loads(line)["kimg"] * 1000)
    except (ValueError, KeyError, TypeError):  # cut off by a crash
        return float("inf")


def _short(value):
    return float(f"{value:.6g}") if isinstance(value, float) else value
