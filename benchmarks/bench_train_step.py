# SPDX-License-Identifier: Apache-2.0
"""Time and memory of a training step, phase by phase, with kernels and with the reference.

The step counts G main + path length / 4 + D main + R1 / 16, as often as each happens. The default
is the 64 px network in float32. On a CPU each contestant is a process of its own; "tuned" is
`stylegan_ops.tune_cpu_allocator()`. Second table: where the time of a step goes, by PyTorch's
profiler.
"""

import click
import torch
from harness import children
from harness.common import report, where
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

import stylegan_ops
from stylegan.config import preset
from stylegan.device import resolve_device
from stylegan.training.memory import estimate_memory_gb
from stylegan.training.step import TrainingStep

CONTESTANTS = {  # {device type: {name: (backend, whether the allocator is tuned)}}
    "cpu": {
        "reference": ("reference", False),
        "reference, tuned": ("reference", True),
        "kernels, tuned": ("auto", True),
    },
    "cuda": {"reference": ("reference", False), "kernels": ("auto", False)},
}
GROUPS = {  # of the breakdown, by what the name of an op contains
    "filtered_lrelu": ("filtered_lrelu",),
    "upfirdn2d, fir_act": ("upfirdn2d", "fir_act"),
    "bias_act": ("bias_act",),
    "products with styles, scales, gains": ("mul",),
    "copies, fills": ("copy", "fill", "zero"),
    "sums": ("sum", "mean", "var", "std"),
    "dense layers": ("mm",),
}


def shares_of(t):
    """{phase: times a step}"""
    return {
        "G main": 1,
        **({"path length": 1 / t.pl_interval} if t.pl_weight else {}),
        "D main": 1,
        "R1": 1 / t.r1_interval,
    }


def without_none(fields):
    """The fields that are given."""
    return {name: value for name, value in fields.items() if value is not None}


def make(device, choice, name, fields):
    """The phases of one contestant, all of them one after the other as "all", and "breakdown"."""
    backend, tuned = choice
    if tuned:
        stylegan_ops.tune_cpu_allocator()
    config = preset(name, **fields).resolved()
    device = torch.device(device)
    model = TrainingStep(config, device)
    t, (height, width) = config.train, config.G.resolution
    reals = torch.rand(t.batch, config.G.channels, height, width, device=device) * 2 - 1
    phases = {
        "G main": model.g_main,
        **({"path length": model.g_path_length} if t.pl_weight else {}),
        "D main": lambda: model.d_main(reals),
        "R1": lambda: model.d_r1(reals),
    }

    def under(run):
        with stylegan_ops.backend(backend):
            return run()

    functions = {name: lambda run=run: under(run) for name, run in phases.items()}
    counted = [(phases[name], share) for name, share in shares_of(t).items()]
    return functions | {
        "all": lambda: under(lambda: [run() for run in phases.values()]) and None,
        "breakdown": lambda: under(lambda: breakdown(counted, device)),
    }


def group_of(event):
    """The row of the breakdown that an op belongs to."""
    if "winograd" in event.key or "modconv" in event.key:
        return "convolutions"
    if "conv" in event.key:
        weights = [s for s in event.input_shapes[1:3] if len(s) == 4]
        depthwise = any(s[1] == 1 for s in weights)
        return "upfirdn2d, fir_act" if depthwise else "convolutions"
    names = (name for name, parts in GROUPS.items() if any(p in event.key for p in parts))
    return next(names, "everything else")


def breakdown(phases, device):
    """{kind of op: ms a step} of phases [(function, times a step)]."""
    cuda, totals = device.type == "cuda", {}
    kinds = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * cuda]
    for run, share in phases:
        with profile(activities=kinds, record_shapes=True) as p:
            run()
        for event in p.key_averages(group_by_input_shape=True):
            if event.device_type == DeviceType.CPU:  # else a kernel, which its op counts already
                us = event.self_device_time_total if cuda else event.self_cpu_time_total
                group = group_of(event)
                totals[group] = totals.get(group, 0.0) + us / 1e3 * share
    return totals


def by_op(made, shown):
    """Rows of ms a step by kind of op, of the contestants in `shown`."""
    totals = {who: made[who].ask("breakdown")[1] for who in shown}
    last = totals[shown[-1]]
    order = sorted(set().union(*totals.values()), key=lambda op: -last.get(op, 0.0))
    return [{"op": op, **{f"{who} ms": totals[who].get(op, 0.0) for who in shown}} for op in order]


@click.command(help=__doc__)
@click.option("--preset", "kind", default="auto", help="stylegan3-t, ...")
@click.option("--resolution", default=64)
@click.option("--channel-base", type=int, help="Default 8192 at 64 px, else the preset's.")
@click.option("--channel-max", type=int, help="Default 256 at 64 px, else the preset's.")
@click.option("--mapping-layers", default=2)
@click.option("--batch", default=8)
@click.option("--precision", default="float32")
@click.option("--device", default="auto")
@click.option("--repeats", default=5)
@click.option("--out", help="Path of the result files, without suffix.")
def main(device, repeats, out, kind, **fields):
    """Print each phase, images/s and peak memory."""
    if fields["resolution"] == 64:
        fields = {"channel_base": 8192, "channel_max": 256} | without_none(fields)
    fields = without_none(fields)
    device = resolve_device(device)
    if device.type not in CONTESTANTS:
        raise click.ClickException(f"this runs on cpu and cuda, not on {device.type}")
    stylegan_ops.load(device.type)  # builds the kernels, before anything is timed
    config = preset(kind, **fields).resolved()
    t, (height, width) = config.train, config.G.resolution
    made = children.contestants(device, make, CONTESTANTS[device.type], kind, fields)
    names = list(made)
    try:
        for contestant in made.values():
            contestant.ask("all")  # the first run: what memory a step takes
        peaks = children.peaks_mb(made)
        shares = shares_of(t)
        children.warm_up(made, shares, min_runs=2)
        rows, step = [], dict.fromkeys(names, 0.0)
        for name, share in shares.items():
            ms = children.race(made, name, repeats)
            step = {who: step[who] + ms[who] * share for who in names}
            rows.append(row_of(name, share, ms, t.batch))
        rows.append(row_of("step", 1, step, t.batch))
        ops = by_op(made, names[-2:])
    finally:
        children.close(made)
    which = "" if kind == "auto" else f"{kind} "
    title = f"train step {which}{width}x{height} batch {t.batch} base {config.G.channel_base}"
    machine = {
        **where(device),
        **{f"{who} peak_gb": round(mb / 1e3, 2) for who, mb in peaks.items()},
        "estimated_gb": round(estimate_memory_gb(config, device), 2),
    }
    report(title, rows, machine, out)
    report(title + ", by op", ops, machine, out and f"{out}_by_op")


def row_of(name, share, ms, batch):
    """A row of the table: ms by contestant; the last one is compared with the others."""
    *others, measured = ms
    return {
        "phase": name,
        "per step": round(share, 4),
        **{f"{who} ms": ms[who] for who in ms},
        "images/s": batch / ms[measured] * 1e3,
        "s/kimg": ms[measured] / batch,
        **{f"{who} / {measured}": ms[who] / ms[measured] for who in others},
    }


if __name__ == "__main__":
    main()
