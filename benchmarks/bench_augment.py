# SPDX-License-Identifier: Apache-2.0
"""Adaptive augmentation, in two tables.

The whole pipe bgc, forward and backward, and the share of its colors: what fusing them with the
geometry could save at most. Training steps with the pipe and without, in turns; on a CPU in seconds
of all its threads, which other programs hardly change. A published figure to compare the steps of
paper256 with: 12.5 s/kimg and 4.5 GB on an A100 (StyleGAN2-ADA, 256 px).
"""

import time
from functools import partial

import click
import torch
from harness.common import race_ms, report, where
from harness.op_race import Settings, op_options, tensor

import stylegan_ops
from stylegan.config import preset
from stylegan.training.augment import color, pipe_of
from stylegan.training.augment.draws import Draws
from stylegan.training.step import TrainingStep

PROBABILITIES = 0.0, 0.3, 0.8
P = 0.6  # of the training steps: where many runs end
STEPS = 16  # a turn: every phase of a step happens
NETWORKS = {
    "cpu": {"demo": {"resolution": 32, "batch": 8}, "small": {"resolution": 64, "batch": 8}},
    "cuda": {"small": {"resolution": 64}, "paper256": {"resolution": 256, "batch": 8}},
}


def draws_of(n, p, device):
    """The same ones in every run."""
    return Draws(n, torch.tensor(p, device=device), torch.Generator(device).manual_seed(1))


def both_ways(function, x):
    """Forward and backward."""
    y = function(x)
    if y is not x:
        torch.autograd.grad(y, x, torch.ones_like(y))


def pipe_rows(settings):
    """Rows of the pipe, by size and probability."""
    for size in sorted(settings.resolutions):
        x = tensor((settings.batch, 3, size, size), "float32", "contiguous", settings.device)
        for p in PROBABILITIES:
            pipe = pipe_of("bgc").to(settings.device)
            pipe.p.fill_(p)
            pipe.generator = torch.Generator(settings.device)
            colors = color.matrices(pipe.strengths, draws_of(len(x), p, settings.device), rgb=True)

            def run(backend, pipe=pipe, x=x):
                pipe.generator.manual_seed(1)
                with stylegan_ops.backend(backend):
                    both_ways(pipe, x)

            ms = race_ms(
                {
                    "kernels": (partial(run, "auto"), None),
                    "reference": (partial(run, "reference"), None),
                    "colors": (
                        lambda x=x, c=colors: both_ways(lambda x: color.apply(x, c), x),
                        None,
                    ),
                    "clone": (x.detach().clone, None),
                },
                settings.device,
                settings.repeats,
            )
            yield {
                "x": list(x.shape),
                "p": p,
                "ms": ms["kernels"],
                "/ clone": ms["kernels"] / ms["clone"],
                "reference / kernels": ms["reference"] / ms["kernels"],
                "share of colors": ms["colors"] / ms["kernels"] if p else None,
            }


def turn(model, reals, device):
    """Seconds of STEPS steps."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    start = clock()
    for _ in range(STEPS):
        model.step(reals)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def step_rows(settings, turns):
    """Rows of training steps, by network."""
    device = settings.device
    for name, fields in NETWORKS.get(device.type, {}).items():
        times, peaks, models = {}, {}, {}
        for aug in ("none", "fixed"):
            given = fields | {"aug": aug} | ({"aug_p": P} if aug == "fixed" else {})
            config = preset(name, **given).resolved()
            models[aug] = TrainingStep(config, device)
            times[aug] = []
        height, width = config.G.resolution
        reals = torch.rand(config.train.batch, config.G.channels, height, width, device=device)
        for i in range(turns + 1):
            for aug, model in models.items():
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                seconds = turn(model, reals * 2 - 1, device)
                if device.type == "cuda":
                    peaks[f"{aug} gb"] = torch.cuda.max_memory_allocated() / 1e9
                if i:  # the first turn chooses strategies
                    times[aug].append(seconds)
        images = STEPS * config.train.batch
        per_kimg = {aug: sorted(t)[len(t) // 2] / images * 1e3 for aug, t in times.items()}
        ratios = sorted(b / a for a, b in zip(times["none"], times["fixed"]))
        yield {
            "network": f"{name} {width}x{height} batch {config.train.batch}",
            "s/kimg without": per_kimg["none"],
            f"s/kimg with, p {P}": per_kimg["fixed"],
            "with / without": ratios[len(ratios) // 2],
            **peaks,
        }


@click.command(help=__doc__)
@op_options
@click.option("--turns", default=5, show_default=True, help=f"Of {STEPS} steps each.")
def main(turns, **options):
    """Print the tables."""
    settings = Settings.of(**options)
    stylegan_ops.load(settings.device.type)  # builds the kernels, before anything is timed
    machine, out = where(settings.device), settings.out
    report("augmentation pipe bgc", list(pipe_rows(settings)), machine, out and f"{out}_pipe")
    rows = list(step_rows(settings, turns))
    report("training steps with augmentation", rows, machine, out and f"{out}_step")


if __name__ == "__main__":
    main()
