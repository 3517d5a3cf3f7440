# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: timing, the line that says where, Markdown and JSON lines."""

import ctypes
import json
import platform
import statistics
import subprocess
import time
from datetime import date
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
COLD_BYTES = 256 << 20  # written before every timed call, more than any cache holds
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h


def keep_large_blocks():
    """Let this process keep the memory that it frees. Otherwise every large tensor is new pages,
    and on a CPU clearing them takes several times as long as an elementwise op."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    except (OSError, AttributeError):
        pass  # not glibc


def time_ms(run, device, repeats=7, setup=None):
    """Median time of `run()` with cold caches, in ms; `setup()` is called before each and not
    timed, its result is the argument of `run`."""
    return race_ms({"run": (run, setup)}, device, repeats)["run"]


def race_ms(contestants, device, repeats=7):
    """Median times of several, {name: (run, setup or None)}, as of `time_ms`, taken in turns, so
    that a machine that is slow for a while is slow for all.

    On a GPU the time is between two events, and writing the cold buffer takes longer than the
    calls take to be queued: what is timed is the device alone.
    """
    cuda = torch.device(device).type == "cuda"
    cold = torch.empty(COLD_BYTES * (16 if cuda else 1), dtype=torch.uint8, device=device)
    watch = _cuda_watch if cuda else _watch
    times = {name: [] for name in contestants}
    for i in range(repeats + 2):
        for name, (run, setup) in contestants.items():
            arguments = [setup()] if setup else []
            cold.fill_(i % 256)
            times[name].append(watch(run, *arguments))
    return {name: statistics.median(t[2:]) for name, t in times.items()}  # the first warm up


def _watch(run, *arguments):
    start = time.perf_counter()
    run(*arguments)
    return (time.perf_counter() - start) * 1e3


def _cuda_watch(run, *arguments):
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run(*arguments)
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)


def where(device):
    """The machine in a dictionary: device, torch, CUDA, threads, commit, date."""
    device = torch.device(device)
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = _cpu_name() or platform.processor() or platform.machine()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "commit": _commit(),
        "date": date.today().isoformat(),
    }


def report(title, rows, machine, out=None):
    """Print rows (dictionaries with the same keys) as a Markdown table; with `out`, a path without
    ending, write it to out.md and as JSON lines, with the machine in every line, to out.jsonl."""
    keys = list(rows[0])
    about = ", ".join(f"{k} {v}" for k, v in machine.items() if v is not None)
    table = [f"## {title}", "", about, "", "| " + " | ".join(keys) + " |", "|" + "---|" * len(keys)]
    table += ["| " + " | ".join(_cell(row[k]) for k in keys) + " |" for row in rows]
    text = "\n".join(table) + "\n"
    print(text)
    if out is not None:
        out = Path(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.with_suffix(".md").write_text(text, "utf-8")
        lines = [json.dumps({"benchmark": title, **row, **machine}) + "\n" for row in rows]
        out.with_suffix(".jsonl").write_text("".join(lines), "utf-8")


def _cell(value):
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 100
        else (f"{value:.0f}" if isinstance(value, float) else str(value))
    )


def _cpu_name():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), None
    )


def _commit():
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return (
            subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip() or None
        )
    except OSError:
        return None
