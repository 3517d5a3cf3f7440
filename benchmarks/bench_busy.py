# SPDX-License-Identifier: Apache-2.0
"""Training and generating alone, and beside other busy processes, by how threads wait.

Contestants: "default" waits as OpenMP does by itself, "tuned" as `stylegan.tune_threads()` sets it.
Each is a process of its own. They take turns, a second each, alone; beside one and two programs
that keep one thread busy; and beside a training with the same setting.

The fair share is the contestant's threads divided by all busy threads, of the speed that "default"
has alone: 2/3 beside one busy thread on two cores. Linux shares the time of a CPU among threads
like that if they are of one session and have the same priority, as here. What must hold: alone at
least 97 % of the default, beside others at least 80 % of the fair share.

Use a quiet machine. Linux only.
"""

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import threading
import time

import bench_generator
import click
import torch
from harness import children
from harness.common import report, where

import stylegan_ops
from stylegan.config import preset
from stylegan.threads import COUNT_VARIABLES, WAITING, WAITING_VARIABLES, cpu_count
from stylegan.training.step import TrainingStep

BUSY = "while True: pass"
BESIDE = {"nothing": 0, "one busy thread": 1, "two busy threads": 2}  # {name: busy processes}
TRAINING = "a training"


def make(device, work, seconds):
    """{"run": runs per second of `work`}; a run is a step of the demo or one image."""
    if work == "generate 256x256":
        one = bench_generator.make(device, ("auto", "tuned"), "256x1", {})["run"]
    else:
        one = steps(device)

    def run():
        start, count = time.perf_counter(), 0
        while (taken := time.perf_counter() - start) < seconds:
            one()
            count += 1
        return count / taken

    one()
    return {"run": run}


def steps(device):
    """A function that does one step of the demo's training, without its rare parts."""
    stylegan_ops.tune_cpu_allocator()
    config = preset("demo")
    config = config.with_fields(resolution=config.data.resolution).resolved()
    model = TrainingStep(config, torch.device(device))
    shape = (config.train.batch, config.G.channels, *config.G.resolution)
    reals = torch.rand(shape) * 2 - 1

    def run():
        with stylegan_ops.planning("fixed"):
            model.g_main()
            model.d_main(reals)

    return run


WORK = ("train the demo", "generate 256x256")


@contextlib.contextmanager
def environment(variables):
    """Processes that start meanwhile have these variables, and no others that OpenMP reads."""
    before = dict(os.environ)
    for name in (*WAITING_VARIABLES, *COUNT_VARIABLES):
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Others:
    """Processes that keep one thread each busy while they are asked to."""

    def __init__(self, count):
        self.processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
        self._signal(count, signal.SIGSTOP)

    @contextlib.contextmanager
    def busy(self, count):
        self._signal(count, signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(count, signal.SIGSTOP)

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def _signal(self, count, number):
        for process in self.processes[:count]:
            process.send_signal(number)


@contextlib.contextmanager
def training(other):
    """The contestant `other` runs meanwhile."""
    thread = threading.Thread(target=other.ask, args=("run",))
    thread.start()
    try:
        yield
    finally:
        thread.join()


def started(settings, work, seconds):
    """{setting: a contestant} that does that work."""
    made = {}
    for name, variables in settings.items():
        with environment(variables):
            made[name] = children.Child(make, "cpu", work, seconds)
    return made


def speeds(work, settings, rounds, seconds):
    """{(beside, setting): [runs per second]} of that work."""
    made, trainings = started(settings, work, seconds), started(settings, WORK[0], seconds)
    others = Others(max(BESIDE.values()))
    found = {(beside, name): [] for beside in (*BESIDE, TRAINING) for name in settings}
    try:
        for i in range(rounds + 1):  # the first warms up
            order = list(settings) if i % 2 else list(settings)[::-1]
            for beside, name in ((b, n) for b in (*BESIDE, TRAINING) for n in order):
                busy = (
                    training(trainings[name]) if beside == TRAINING else others.busy(BESIDE[beside])
                )
                with busy:
                    speed = made[name].ask("run")[1]
                if i:
                    found[beside, name].append(speed)
    finally:
        others.close()
        children.close(made)
        children.close(trainings)
    return found


def rows_of(work, found, settings, threads):
    """A row per company."""
    base = found["nothing", next(iter(settings))]
    rows = []
    for beside in (*BESIDE, TRAINING):
        busy = threads if beside == TRAINING else BESIDE[beside]
        fair = threads / (threads + busy)
        row = {"work": work, "beside": beside, "fair share": fair}
        for name in settings:
            row[f"{name}, runs/s"] = statistics.median(found[beside, name])
        for name in settings:
            ratios = (a / b for a, b in zip(found[beside, name], base))
            row[f"{name}, of the fair share"] = statistics.median(ratios) / fair
        rows.append(row)
    return rows


@click.command(help=__doc__)
@click.option("--spins", default="", help="GOMP_SPINCOUNT of more contestants: 500,5000.")
@click.option("--rounds", default=12, help="Of every contestant, alone and beside the others.")
@click.option("--seconds", default=1.0, help="Of a turn.")
@click.option("--out", help="Path of the result files, without suffix.")
def main(spins, rounds, seconds, out):
    """Print speeds and shares."""
    stylegan_ops.load("cpu")  # builds the kernels, before anything is timed
    settings = {"default": {}, "tuned": WAITING}
    for count in filter(None, spins.split(",")):
        settings[f"spins {count}"] = {"GOMP_SPINCOUNT": count}
    machine, rows = where("cpu"), []
    for work in WORK:
        found = speeds(work, settings, rounds, seconds)
        rows += rows_of(work, found, settings, min(cpu_count(), machine["threads"]))
    report("beside busy processes", rows, machine, out)


if __name__ == "__main__":
    main()
