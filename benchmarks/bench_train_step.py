# SPDX-License-Identifier: Apache-2.0
"""Time and memory of a training step, phase by phase, with kernels and with the reference.

The step counts G main + path length / 4 + D main + R1 / 16, as often as each happens. The default
is the 64 px network in float32. Both backends are timed in turns in one process, so under the same
allocator; `--keep-blocks` lets that one keep what it frees. A second table says where the time of a
step goes, by PyTorch's profiler.
"""

import click
import torch
from common import keep_large_blocks, race_ms, report, where
from torch.profiler import ProfilerActivity, profile

import stylegan_ops
from stylegan.device import resolve_device
from stylegan.presets import preset
from stylegan.training.memory import estimate_memory_gb, peak_memory_gb
from stylegan.training.step import TrainingStep

BACKENDS = {"kernels": "auto", "reference": "reference"}
GROUPS = {  # of the breakdown, by what the name of an op contains
    "upfirdn2d, fir_act": ("upfirdn2d", "fir_act"),
    "bias_act": ("bias_act",),
    "products with styles, scales, gains": ("mul",),
    "copies, fills": ("copy", "fill", "zero"),
    "sums": ("sum", "mean", "var", "std"),
    "dense layers": ("mm",),
}


def phases_of(model, reals, t):
    """{name: (function, times a step)}"""
    return {
        "G main": (model.g_main, 1),
        "path length": (model.g_path_length, 1 / t.pl_interval),
        "D main": (lambda: model.d_main(reals), 1),
        "R1": (lambda: model.d_r1(reals), 1 / t.r1_interval),
    }


def under(backend, run):
    def wrapped():
        with stylegan_ops.backend(BACKENDS[backend]):
            run()

    return wrapped


def group_of(event):
    """The row of the breakdown that an op belongs to."""
    if "conv" in event.key:
        weights = [s for s in event.input_shapes[1:3] if len(s) == 4]
        depthwise = any(s[1] == 1 for s in weights)
        return "upfirdn2d, fir_act" if depthwise else "convolutions"
    names = (name for name, parts in GROUPS.items() if any(p in event.key for p in parts))
    return next(names, "everything else")


def breakdown(phases, device):
    """Rows of ms a step by kind of op, of each backend."""
    totals = {}
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    for backend in BACKENDS:
        for run, share in phases.values():
            with profile(activities=kinds, record_shapes=True) as p:
                under(backend, run)()
            for event in p.key_averages(group_by_input_shape=True):
                us = event.self_device_time_total if device.type == "cuda" else 0
                us = us or event.self_cpu_time_total * (device.type == "cpu")
                row = totals.setdefault(group_of(event), dict.fromkeys(BACKENDS, 0.0))
                row[backend] += us / 1e3 * share
    order = sorted(totals, key=lambda name: -totals[name]["kernels"])
    return [{"op": name, **{f"{b} ms": totals[name][b] for b in BACKENDS}} for name in order]


@click.command(help=__doc__)
@click.option("--resolution", default=64)
@click.option("--channel-base", default=8192)
@click.option("--channel-max", default=256)
@click.option("--mapping-layers", default=2)
@click.option("--batch", default=8)
@click.option("--precision", default="float32")
@click.option("--device", default="auto")
@click.option("--repeats", default=5)
@click.option("--keep-blocks/--no-keep-blocks", default=False, help="Keep memory that is freed.")
@click.option("--out", help="Path without ending of the result files.")
def main(device, repeats, keep_blocks, out, **fields):
    """Print each phase, images/s and peak memory."""
    if keep_blocks:
        keep_large_blocks()
    device = resolve_device(device)
    config = preset("auto", **fields).resolved()
    model = TrainingStep(config, device)
    t, (height, width) = config.train, config.G.resolution
    reals = torch.rand(t.batch, config.G.channels, height, width, device=device) * 2 - 1
    phases = phases_of(model, reals, t)
    for run, _ in phases.values():
        run()
    peak = peak_memory_gb(device)  # before the timing takes memory to cool the caches with
    rows, step = [], dict.fromkeys(BACKENDS, 0.0)
    for name, (run, share) in phases.items():
        ms = race_ms({b: (under(b, run), None) for b in BACKENDS}, device, repeats)
        for backend in BACKENDS:
            step[backend] += ms[backend] * share
        rows.append(row_of(name, share, ms, t.batch))
    rows.append(row_of("step", 1, step, t.batch))
    estimate = estimate_memory_gb(config, device)
    title = f"train step {width}x{height} batch {t.batch} base {config.G.channel_base}"
    machine = {
        **where(device),
        "large_blocks": "kept" if keep_blocks else "returned",
        "peak_memory_gb": round(peak, 2),
        "estimated_gb": round(estimate, 2),
    }
    report(title, rows, machine, out)
    report(title + ", by op", breakdown(phases, device), machine, out and f"{out}_by_op")


def row_of(name, share, ms, batch):
    return {
        "phase": name,
        "ms": ms["kernels"],
        "per step": round(share, 4),
        "images/s": batch / ms["kernels"] * 1e3,
        "reference ms": ms["reference"],
        "reference / kernels": ms["reference"] / ms["kernels"],
    }


if __name__ == "__main__":
    main()
