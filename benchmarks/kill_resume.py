# SPDX-License-Identifier: Apache-2.0
"""Kill a training run at random moments, resume it each time, and compare with an unbroken run.

`stylegan train --resume auto` is started again and again and killed (SIGKILL) after a random time:
at start-up, in a step, in the middle of a snapshot. After each kill the newest snapshot must load.
At the end of the run every line of its log must equal that of a run without kills, number by
number. If a run ends before all kills are done, another one begins.
"""

import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from harness.common import report, where

from stylegan.networks import load_networks
from stylegan.runs.folder import runs_of
from stylegan.runs.snapshot import read_state
from stylegan.snapshots import snapshots_of

# Steps of some 30 ms, and a snapshot after each.
SETTINGS = """--channel-base 128 --channel-max 8 --resolution 16 --batch 4 --batch-gpu 2 --cond
    --mirror --tick-kimg 0.012 --grid-kimg 0.4 --snapshot-kimg 0.004 --keep 3
    --device cpu""".split()
TIMING = ("seconds", "images_per_s", "memory_gb")


def start(outdir, kimg, workers):
    """A training process that resumes the run in `outdir`."""
    command = [sys.executable, "-c", "from stylegan.cli.main import program; program()", "train"]
    command += [*SETTINGS, "--kimg", str(kimg), "--workers", str(workers)]
    command += ["--resume", "auto", "--outdir", str(outdir)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def to_the_end(outdir, kimg, workers):
    """Train without a break. Raises: AssertionError with the output of the process if it fails."""
    process = start(outdir, kimg, workers)
    text, _ = process.communicate()
    assert process.returncode == 0, text


def metrics(outdir):
    """The lines of numbers in the log of the only run in `outdir`, without times and memory."""
    (run_dir,) = runs_of(outdir)
    lines = [json.loads(line) for line in (run_dir / "log.jsonl").read_text("utf-8").splitlines()]
    return [
        {k: v for k, v in line.items() if k not in TIMING} for line in lines if "event" not in line
    ]


def kill_once(outdir, kimg, workers, seconds):
    """Start, and kill after so many seconds. Returns: (state, whether it was in the middle of
    writing a snapshot), state being "killed" or "finished"."""
    process = start(outdir, kimg, workers)
    try:
        text, _ = process.communicate(timeout=seconds)
        assert process.returncode == 0, text
        return "finished", False
    except subprocess.TimeoutExpired:
        process.kill()
        text, _ = process.communicate()
        assert "stylegan: " not in text, text  # an error; orphaned loader processes may complain
    halves = any(p.name[0] == "." for run in runs_of(outdir) for p in run.glob("snapshots/.*"))
    for run_dir in runs_of(outdir):
        for snapshot in snapshots_of(run_dir)[-1:]:
            nets = load_networks(snapshot, "cpu")
            assert nets.G and nets.D and nets.G_ema and read_state(snapshot)["step"]
    return "killed", halves


def kill_and_compare(kills, kimg, workers, seed, max_seconds, folder, log=print):
    """Spend `kills` kills. Returns: {"kills", "in a snapshot", "runs", "lines compared"}.

    Args: workers: loader processes, which every start of a run takes in turn from this list.

    Raises: AssertionError if a run cannot go on, or differs from the unbroken one.
    """
    folder, rng, turns = Path(folder), random.Random(seed), itertools.cycle(workers)
    to_the_end(folder / "unbroken", kimg, next(turns))
    expected = metrics(folder / "unbroken")
    done = {"kills": 0, "in a snapshot": 0, "runs": 0, "lines compared": 0}
    while done["kills"] < kills:
        outdir, state = folder / f"killed-{done['runs']}", None
        while state != "finished" and done["kills"] < kills:
            seconds = rng.uniform(0.5, max_seconds)
            state, halves = kill_once(outdir, kimg, next(turns), seconds)
            done["kills"] += state == "killed"
            done["in a snapshot"] += halves
            log(f"{done['kills']:3} {state} after {seconds:.2f} s{', in a snapshot' * halves}")
        to_the_end(outdir, kimg, next(turns))
        found = metrics(outdir)
        assert found == expected, next((a, b) for a, b in zip(found, expected) if a != b)
        done["runs"] += 1
        done["lines compared"] += len(found)
    return done


@click.command()
@click.option("--kills", default=50, show_default=True)
@click.option("--kimg", default=4.0, show_default=True, help="Length of a run.")
@click.option("--workers", default=0, show_default=True)
@click.option("--longest", default=9.0, show_default=True, help="Seconds before a kill, at most.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", help="Path of the result files, without suffix.")
def main(kills, kimg, workers, longest, seed, out):
    """Kill, go on, compare."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        done = kill_and_compare(kills, kimg, [workers], seed, longest, folder)
    row = {**done, "workers": workers, "differences": 0, "minutes": (time.monotonic() - begun) / 60}
    report("Kill and resume", [row], where("cpu"), out)


if __name__ == "__main__":
    main()
