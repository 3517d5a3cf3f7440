# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: timing, the line that says where, Markdown and JSON lines."""

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


def time_ms(run, device, repeats=7, setup=None):
    """Median time of `run()` with cold caches, in ms; `setup()` is called before each and not
    timed."""
    cold = torch.empty(COLD_BYTES, dtype=torch.uint8, device=device)
    times = []
    for i in range(repeats + 1):
        argument = setup() if setup else None
        cold.fill_(i % 256)
        _synchronize(device)
        start = time.perf_counter()
        run(argument) if setup else run()
        _synchronize(device)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[1:])  # the first call warms up


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


def _synchronize(device):
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


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
