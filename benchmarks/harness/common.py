# SPDX-License-Identifier: Apache-2.0
"""What all benchmarks share: timing, facts about the machine, tables in Markdown and JSON lines."""

import json
import platform
import statistics
import subprocess
import time
from datetime import date
from pathlib import Path

import torch

from stylegan.runs.folder import runs_of
from stylegan_ops.ops.modulated_conv2d import OP
from stylegan_ops.runtime import plan

ROOT = Path(__file__).parents[2]
COLD_BYTES = 256 << 20  # written before every timed call; larger than any cache


def settled(device_type):
    """Whether every op has chosen its strategies on that device."""
    return all(row["strategy"] for row in plan.plans(OP, device_type))


def settle(run, device, max_runs=12):
    """Call `run` until every strategy is chosen, at most `max_runs` times."""
    for _ in range(max_runs):
        run()
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize()
        if settled(torch.device(device).type):
            return


def time_ms(run, device, repeats=7, setup=None):
    """Median time of `run()` with cold caches, in ms. If `setup` is given, it is called before each
    run, is not timed, and its result is the argument of `run`."""
    return race_ms({"run": (run, setup)}, device, repeats)["run"]


def race_ms(contestants, device, repeats=7, warm_up=2):
    """Median times of several contestants, {name: (run, setup or None)}, as in `time_ms`.

    They take turns, so that a machine that is slow for a while is slow for all. The first `warm_up`
    rounds do not count. On a GPU the time is between two events. Writing the cold buffer takes
    longer than queueing the calls, so that only the time of the device counts.
    """
    cuda = torch.device(device).type == "cuda"
    cold = torch.empty(COLD_BYTES * (16 if cuda else 1), dtype=torch.uint8, device=device)
    watch = _cuda_watch if cuda else _watch
    times = {name: [] for name in contestants}
    for i in range(repeats + warm_up):
        for name, (run, setup) in contestants.items():
            arguments = [setup()] if setup else []
            cold.fill_(i % 256)
            times[name].append(watch(run, *arguments))
    return {name: statistics.median(t[warm_up:]) for name, t in times.items()}


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
    """Facts about this machine: device, torch, CUDA, threads, commit, date."""
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


def run_in(folder):
    """The newest training run in a folder, or the folder."""
    runs = runs_of(folder)
    return runs[-1] if runs else Path(folder)


def report(title, rows, machine, out=None):
    """Print rows (dictionaries; a missing key leaves its cell empty) as a Markdown table. With
    `out`, `save` it too."""
    print(_table(title, rows, machine))
    save(title, rows, machine, out)


def save(title, rows, machine, out):
    """Write the table to out.md and the rows to out.jsonl, with the machine in every line.

    Args: out: a path without suffix; None writes nothing.
    """
    if out is not None:
        out = Path(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.with_suffix(".md").write_text(_table(title, rows, machine), "utf-8")
        lines = [json.dumps({"benchmark": title, **row, **machine}) + "\n" for row in rows]
        out.with_suffix(".jsonl").write_text("".join(lines), "utf-8")


def _table(title, rows, machine):
    keys = list(dict.fromkeys(key for row in rows for key in row))
    about = ", ".join(f"{k} {v}" for k, v in machine.items() if v is not None)
    table = [f"## {title}", "", about, "", "| " + " | ".join(keys) + " |", "|" + "---|" * len(keys)]
    table += ["| " + " | ".join(_cell(row.get(k)) for k in keys) + " |" for row in rows]
    return "\n".join(table) + "\n"


def _cell(value):
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


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
