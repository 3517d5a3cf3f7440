# SPDX-License-Identifier: Apache-2.0
"""The log of a run: JSON lines, and a copy for TensorBoard."""

from __future__ import annotations

import json
import math
import os
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from stylegan.files import whole_file
from stylegan.words import rounded

MIN_FREE = 1 << 20  # bytes; with less free on the disk nothing is written for TensorBoard


class RunLog:
    """log.jsonl in the run folder: a line of numbers per tick, a line of words per event. If
    TensorBoard is installed, its files lie beside it.

    Lines that cannot be written because the disk is full are kept for the next time.

    Args:
        run_dir: an existing folder.
        logged: images seen at the last line of numbers that counts. Later lines of an earlier
            process are dropped, because this one will log them again.
        seen: images seen at the last event that counts.
    """

    def __init__(self, run_dir: str | Path, logged: int = 0, seen: int = 0) -> None:
        self.path = Path(run_dir) / "log.jsonl"
        self._pending: list[str] = []
        self._size = _cut(self.path, logged, seen)
        self._board = _Board(run_dir, logged)

    def write(self, values: dict[str, float]) -> None:
        """Append {name: number}, which includes "kimg". Raises: OSError; the line is kept."""
        self._board.write(values)
        self._append({k: rounded(v) if isinstance(v, float) else v for k, v in values.items()})

    def event(self, kimg: float, kind: str, text: str) -> None:
        """Append an event.

        Args:
            kind: started, resumed, warning, finished, interrupted or failed.
            text: one line.
        Raises: OSError; the line is kept.
        """
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._append({"kimg": kimg, "time": now, "event": kind, "text": text})

    def sync(self) -> None:
        """Wait until the disk holds all lines, as before a snapshot. Raises: OSError."""
        self._flush()
        with self.path.open("rb+") as f:
            os.fsync(f.fileno())

    def close(self) -> None:
        """Close TensorBoard's files."""
        self._board.close()

    def _append(self, line: dict[str, Any]) -> None:
        self._pending.append(json.dumps(line) + "\n")
        self._flush()

    def _flush(self) -> None:
        data = "".join(self._pending).encode()
        with self.path.open("ab") as f:
            f.truncate(self._size)  # drops what a full disk or a kill cut short
            f.write(data)
        self._size += len(data)
        self._pending = []


class _Board:
    """TensorBoard's files, if it is installed: a copy of the numbers, which may fail silently."""

    def __init__(self, run_dir: str | Path, images_seen: int) -> None:
        self._run_dir, self._purge = str(run_dir), images_seen
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._open: Any = SummaryWriter
        except ImportError:
            self._open = None

    def write(self, values: dict[str, float]) -> None:
        step = round(values["kimg"] * 1000)
        # On a full disk the writer's thread would die with a traceback.
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

    def close(self) -> None:
        try:
            if self._writer:
                self._writer.close()
        except Exception:
            pass  # log.jsonl has all of it


def _cut(path: Path, logged: int, seen: int) -> int:
    """Drop the lines of a log that are later than `logged` and `seen`. Returns: its size in
    bytes."""
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


def _images_of(line: bytes) -> tuple[float, bool]:
    """(images seen, whether it is an event) of a line; infinitely many if it was cut off."""
    try:
        values = json.loads(line)
        images = round(values["kimg"] * 1000) if line.endswith(b"\n") else math.inf
        return images, "event" in values
    except (ValueError, KeyError, TypeError):
        return math.inf, False
