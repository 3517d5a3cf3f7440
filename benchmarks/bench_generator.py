# SPDX-License-Identifier: Apache-2.0
"""Images/s and memory of a generator, StyleGAN2 or 3: the reference against the kernels.

z to images, mapping and synthesis, with constant noise and without gradients; "kernels" with
constants folded, as in `stylegan.Pipeline`. On a CPU "tuned" is
`stylegan_ops.tune_cpu_allocator()`, the others find the allocator as a user does; MB is the peak of
the whole process, PyTorch included. On a GPU "compiled" is `torch.compile` of the synthesis and
"graph" a CUDA graph of the whole; MB is what a contestant's making and its first run allocate.
"""

import time

import click
import torch
from harness import children, plots
from harness.common import report, save, where

import stylegan_ops
from stylegan import build_generator
from stylegan.device import resolve_device
from stylegan.models.fold import fold_constants

CPU_SIZES = (  # 1024x8: tensors of 1 GB in four processes
    "256x1,256x8,512x1,512x8,1024x1,T-256x1,R-256x1"
)
CUDA_SIZES = (  # compiled last, that takes longest
    "256x1,1024x1,1024x8,T-1024x1,R-1024x1,T-256x8,512x1,512x8,256x8"
)
PRESETS = {"": "auto", "T-": "stylegan3-t", "R-": "stylegan3-r"}  # by what a size begins with
CONTESTANTS = {  # {device type: {name: (backend, what else)}}
    "cpu": {
        "reference": ("reference", None),
        "reference, tuned": ("reference", "tuned"),
        "kernels": ("auto", None),
        "kernels, tuned": ("auto", "tuned"),
    },
    "cuda": {
        "reference": ("reference", None),
        "reference, compiled": ("reference", "compiled"),
        "kernels": ("auto", None),
        "kernels, graph": ("auto", "graph"),
    },
}
LONG = 40  # seconds of a race, beyond which three repeats do
BASE = {"cpu": "kernels, tuned", "cuda": "kernels"}


def parsed(size):
    """(preset, resolution, batch) of 256x8, T-256x8, ..."""
    kind = size[:2] if size[:2] in PRESETS else ""
    return PRESETS[kind], *map(int, size[len(kind) :].split("x"))


def make(device, choice, size, fields):
    """{"run": z to images} of one contestant."""
    name, resolution, batch = parsed(size)
    backend, extra = choice
    if extra == "tuned":
        stylegan_ops.tune_cpu_allocator()
    torch.manual_seed(0)
    G = build_generator(name, resolution=resolution, **fields)
    G = G.eval().requires_grad_(False).to(device)
    if backend == "auto":  # as `stylegan.Pipeline` does, and goes by rule on a CPU
        fold_constants(G)
    plan = "fixed" if str(device) == "cpu" else "measure"
    z = torch.randn(batch, G.z_dim).to(device)
    synthesis = torch.compile(G.synthesis, dynamic=False) if extra == "compiled" else G.synthesis

    @torch.inference_mode()
    def run():
        with stylegan_ops.backend(backend), stylegan_ops.planning(plan):
            synthesis(G.mapping(z), noise_mode="const")

    return {"run": graphed(run) if extra == "graph" else run}


def graphed(run):
    """Replays `run` as one CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def rows_of(device, choices, size, fields, warm_up, repeats):
    """A row per contestant."""
    base, batch = BASE[device.type], parsed(size)[-1]
    made = children.contestants(device, make, choices, size, fields)
    try:
        children.warm_up(made, min_runs=warm_up)
        ms = children.race(made, repeats=repeats, seconds=LONG)
        peaks = children.peaks_mb(made)
    finally:
        children.close(made)
    return [
        {
            "size": size.partition("x")[0],
            "batch": batch,
            "contestant": name,
            "ms per image": ms[name] / batch,
            "images/s": 1e3 * batch / ms[name],
            "peak MB": round(peaks[name]),
            f"time / {base}": ms[name] / ms[base],
        }
        for name in made
    ]


@click.command(help=__doc__)
@click.option(
    "--sizes",
    help="SIZExBATCH,..., of StyleGAN3 T-SIZExBATCH, R-SIZExBATCH; default "
    f"{CPU_SIZES}; on a GPU {CUDA_SIZES}.",
)
@click.option("--channel-base", type=int, help="Default: by the size, as the preset auto.")
@click.option("--warm-up", default=2, help="Runs that do not count; more while plans are made.")
@click.option("--repeats", type=int, help="Default 5, on a GPU 15.")
@click.option("--compile", "compiled", default="256x8", help="Sizes to race torch.compile at.")
@click.option("--seconds", type=float, help="Begin no size after that; default 70 on a GPU.")
@click.option("--device", default="auto")
@click.option("--out", help="Path of the result files, without suffix.")
def main(sizes, channel_base, warm_up, repeats, compiled, seconds, device, out):
    """Print a row per size and contestant."""
    device = resolve_device(device)
    gpu = device.type == "cuda"
    if device.type not in CONTESTANTS:
        raise click.ClickException(f"this runs on cpu and cuda, not on {device.type}")
    if reason := stylegan_ops.load(device.type):  # builds them, before anything is timed
        raise click.ClickException(f"no kernels: {reason}")
    sizes = (sizes or (CUDA_SIZES if gpu else CPU_SIZES)).split(",")
    seconds = seconds or (70 if gpu else float("inf"))
    repeats, start = repeats or (15 if gpu else 5), time.monotonic()
    fields = {"channel_base": channel_base} if channel_base else {}
    title, rows, notes, machine = "generator", [], [], where(device)
    for i, size in enumerate(sizes):
        if time.monotonic() - start > seconds:
            notes.append(f"the time was over before {', '.join(sizes[i:])}")
            break
        choices = CONTESTANTS[device.type]
        if size not in compiled.split(","):
            choices = {name: c for name, c in choices.items() if c[1] != "compiled"}
        try:
            rows += rows_of(device, choices, size, fields, warm_up, repeats)
        except (children.Died, torch.OutOfMemoryError) as e:
            notes.append(f"{size}: {e}")
        save(title, rows, machine, out)  # what is there so far, should it be stopped
    if not rows:
        raise click.ClickException("; ".join(notes))
    report(title, rows, machine, out)
    for note in notes:
        click.echo(note)
    plots.after(out)


if __name__ == "__main__":
    main()
