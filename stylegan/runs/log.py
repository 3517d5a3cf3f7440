# SPDX-License-Identifier: Apache-2.0
"""The log of a run: JSON lines, and a copy for TensorBoard."""

import json
import math
import os
import shutil
from datetime import datetime, timezone
from pathlib import Path

from stylegan.files import whole_file
from stylegan.words import six_digits

MIN_FREE = 1 << 20  # bytes free on the disk, below which TensorBoard is left out


class RunLog:
    """log.jsonl in the run folder: a line of numbers per tick, a line of words per event;
    TensorBoard's files beside it where it is installed.

    Lines that a full disk does not take are kept for the next time.

    Args:
        run_dir: an existing folder.
        logged: images seen up to which lines of numbers count; what an earlier process logged
            beyond is dropped, for it is about to be logged again.
        seen: images seen up to which events count.
    """

    def __init__(self, run_dir, logged=0, seen=0):
        self.path, self._pending = Path(run_dir) / "log.jsonl", []
        self._size = _cut(self.path, logged, seen)
        self._board = _Board(run_dir, logged)

    def write(self, values):
        """Append {name: number}, with "kimg" in it. Raises: OSError, once the line is kept."""
        self._board.write(values)
        self._append({name: six_digits(value) for name, value in values.items()})

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
        """Have the disk hold all lines, as a snapshot is held. Raises: OSError."""
        self._flush()
        with self.path.open("rb+") as f:
            os.fsync(f.fileno())

    def close(self):
        """Close what is open."""
        self._board.close()

    def _append(self, line):
        self._pending.append(json.dumps(line) + "\n")
        self._flush()

    def _flush(self):
        data = "".join(self._pending).encode()
        with self.path.open("ab") as f:
            f.truncate(self._size)  # of what a full disk, or a kill, cut short
            f.write(data)
        self._size += len(data)
        self._pending = []


class _Board:
    """TensorBoard's files, where it is installed: a copy of the numbers, which fails silently."""

    def __init__(self, run_dir, images_seen):
        self._run_dir, self._purge, self._writer = str(run_dir), images_seen, None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            SummaryWriter = None
        self._open = SummaryWriter

    def write(self, values):
        step = round(values["kimg"] * 1000)
        # The writer's thread dies of a full disk, with a traceback.
        if self._open is None or shutil.disk_usage(self._run_dir).free < MIN_FREE:
            return
        try:
            if self._writer is None:
                self._writer = self._open(self._run_dir, purge_step=self._purge)
            for name, value in values.items():
                if name != "kimg":
                    self._writer.add_scalar(name, value, step)
        except Exception:
            self._writer, self._purge = None, step

    def close(self):
        try:
            if self._writer:
                self._writer.close()
        except Exception:
            pass  # log.jsonl has it all


def _cut(path, logged, seen):
    """Bytes of a log up to a moment of its run, after dropping what follows."""
    if not path.exists():
        return 0
    kept, dropped, size = [], False, 0
    for line in path.read_bytes().splitlines(keepends=True):
        images, is_event = _images_of(line)
        if images > (seen if is_event else logged):
            dropped = True
            continue
        kept.append(line)
        size += len(line)
    if dropped:
        with whole_file(path) as part:
            part.write_bytes(b"".join(kept))
    return size


def _images_of(line):
    """(images seen, whether it is an event) of a line; infinitely many where it was cut off."""
    try:
        values = json.loads(line)
        images = round(values["kimg"] * 1000) if line.endswith(b"\n") else math.inf
        return images, "event" in values
    except (ValueError, KeyError, TypeError):
        return math.inf, False
