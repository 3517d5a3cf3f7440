# SPDX-License-Identifier: Apache-2.0
"""How much memory is free, and how many images at once fit in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from stylegan.config import Config
from stylegan.training.memory import PROCESS_GB, estimate_memory_gb


def free_memory_gb(device: torch.device, root: str | Path = "/") -> float | None:
    """Memory that training on `device` can still get, in 10^9 bytes. On Linux the limits of a
    container count too; on macOS it is all memory of the machine.

    Args: root: of the file system, for tests.
    Returns: None if the system does not report it.
    """
    try:
        if device.type == "cuda":
            return torch.cuda.mem_get_info(device)[0] / 1e9
        if device.type == "mps":
            return (torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()) / 1e9
        free = [*_of_machine(Path(root)), *_of_containers(Path(root))]
        if not free and hasattr(os, "sysconf") and Path(root) == Path("/"):
            free = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (OSError, ValueError, RuntimeError, AttributeError, IndexError):
        return None
    return min(free) / 1e9 if free and min(free) > 0 else None


def excess(config: Config, device: torch.device, free_gb: float | None, cached_gb: float) -> bool:
    """Whether training needs more memory than `free_gb`, besides what the process has already.

    Args: cached_gb: of decoded images, which are kept too.
    """
    if free_gb is None:
        return False
    process = 0 if device.type == "cuda" else PROCESS_GB
    return estimate_memory_gb(config, device) + cached_gb - process > free_gb


def with_less_memory(
    config: Config, device: torch.device, free_gb: float, cached_gb: float
) -> Config | None:
    """A resolved config with the largest batch_gpu that fits in `free_gb`; None if no other fits.

    Whole groups of the minibatch standard deviation come first, then more than one image, because D
    learns to compare images within them.
    """
    t, group = config.train, config.D.mbstd_group or 1
    smaller = [n for n in range(t.batch_gpu - 1, 0, -1) if t.batch % n == 0]
    for n in sorted(smaller, key=lambda n: (n % group != 0, -n)):
        fewer = replace(config, train=replace(t, batch_gpu=n))
        if not excess(fewer, device, free_gb, cached_gb):
            return fewer
    return None


def _of_machine(root: Path) -> Iterator[int]:
    """Bytes that Linux can give without swapping."""
    path = root / "proc/meminfo"
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _of_containers(root: Path) -> Iterator[int]:
    """Bytes that every limited control group around this process has left (versions 1 and 2)."""
    path = root / "proc/self/cgroup"
    for line in path.read_text().splitlines() if path.exists() else ():
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        inner = top / group.lstrip("/")
        # A container may see its own group as the top.
        for folder in (inner, *inner.parents) if inner != top else (top,):
            yield from _left(folder, version=1 if controllers else 2)
            if folder == top:
                break


def _left(folder: Path, version: int) -> Iterator[int]:
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    limit_file, used_file, cache = names if version == 1 else ("memory.max", "memory.current", "")
    try:
        limit = (folder / limit_file).read_text().strip()
        used = int((folder / used_file).read_text())
        stat = (folder / "memory.stat").read_text()
    except OSError:
        return
    if limit == "max" or int(limit) >= 1 << 60:  # no limit
        return
    rows = dict(line.split() for line in stat.splitlines())
    yield int(limit) - used + int(rows.get(cache or "inactive_file", 0))  # files can be dropped
