# SPDX-License-Identifier: Apache-2.0
"""modulated_conv2d over the layers of real networks: every strategy that supports them, "auto", the
reference, torch.compile of the reference, and PyTorch's bare convolution of the same shape.

"plan" is the strategy that auto chooses. "folded" is auto with a folded weight, as in a Pipeline,
and "plan folded" its choice. Forward is without gradients, with one noise image for all samples, as
in generation. Backward is w.r.t. all inputs. Double is that of path length: from the gradients of x
and styles to all inputs; it has no bare convolution.

"GFLOP/s" is the rate of auto. It counts the multiplications and additions of a direct convolution,
2 * 9 * N * I * O * H' * W' for 3x3 (with the pixels of the input if it is transposed), and twice
that for backward, even if the strategy needs fewer. "% of peak" is relative to "peak GFLOP/s", the
fastest of a few large convolutions of PyTorch (on a GPU: products of matrices) in this dtype, so
Winograd exceeds 100 %. "fir %" and "around %" are the parts of the forward time, by PyTorch's
profiler, in the resampling filter and in everything that is neither filter nor convolution.
"""

import time
from itertools import product

import click
import torch
from harness import plots
from harness.common import race_ms, report, save, settle, where
from harness.modconv_layers import Layer, layers, peak_gflops, shares
from torch._dynamo.exc import TorchDynamoException

import stylegan_ops
from stylegan.device import resolve_device
from stylegan_ops.layer import choose
from stylegan_ops.layer.records import Epilogue, Resampling
from stylegan_ops.ops.modulated_conv2d import OP, modulated_conv2d
from stylegan_ops.runtime import plan

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PASSES = "forward", "backward", "double"
STRATEGIES = {  # by device: the columns
    "cpu": ("weights", "sandwich", "samples", "winograd"),
    "cuda": ("weights", "sandwich", "tensor_core_layer"),
}
CONTESTANTS = "auto", "folded", "reference", "compile", "bare"
INDUCTOR_FAILS = TorchDynamoException, RuntimeError  # then that cell stays empty


def candidates_of(layer, weight, differentiable):
    """The strategies for a layer."""
    k = layer.kwargs
    resampling = Resampling(layer.up, 1, k.get("padding", 0), k.get("resample_filter"))
    epilogue = Epilogue(act=k.get("act", "linear"))
    return choose.candidates(layer.x, weight, resampling, epilogue, k.get("noise"), differentiable)


def within(context, function, argument=None):
    """function, in the context that `context(argument)` makes anew for each call."""

    def run(*arguments):
        with context(argument):
            return function(*arguments)

    return run


def contestants_of(layer, name, device, compiled):
    """{contestant: (run, setup)} for one pass, and {"plan", "plan folded"}: what auto takes."""
    auto, plans = layer.passes(name, modulated_conv2d), {}
    candidates = candidates_of(layer, layer.weight, name != "forward")
    runs, strategies = {"auto": auto}, dict.fromkeys(candidates.names + candidates.others)
    if name == "forward":
        folded = layer.folded()
        runs["folded"] = layer.passes(name, modulated_conv2d, folded)
        for key, contestant, weight in (
            ("plan", "auto", layer.weight),
            ("plan folded", "folded", folded),
        ):
            found = candidates_of(layer, weight, differentiable=False)
            plans[key] = strategy_of(runs[contestant][0], found.names, device)
    else:  # no plan: auto is the rule's choice, so that one is not raced twice
        plans["plan"] = candidates.names[0]
        del strategies[candidates.names[0]]
    for strategy in strategies:
        runs[strategy] = [f and within(plan.forced, f, strategy) for f in auto]
    runs["reference"] = [f and within(stylegan_ops.backend, f, "reference") for f in auto]
    if compiled and name != "double":  # it has no double backward
        torch.compiler.reset()
        op = torch.compile(modulated_conv2d, dynamic=False)
        pair = layer.passes(name, op)
        pair = [f and within(stylegan_ops.backend, f, "reference") for f in pair]
        try:
            run, setup = pair
            run(*([setup()] if setup else []))
            runs["compile"] = pair
        except INDUCTOR_FAILS as e:
            click.echo(f"{layer.name}: torch.compile fails: {str(e).splitlines()[0]}", err=True)
    if name != "double":
        runs["bare"] = layer.passes(name, layer.bare)
    return runs, plans


def strategy_of(run, names, device):
    """What auto takes in `run`, a forward pass."""
    settle(run, device)
    if len(names) == 1:
        return names[0]
    run()  # the newest plan is the one used last
    rows = plan.plans(OP, device.type)
    return rows[-1]["strategy"] if rows else names[0]


def row_of(layer, name, device, repeats, compiled, gflop, peak):
    """The row of one pass: ms of each contestant, and ratios; gflop: of the pass, or None."""
    with torch.set_grad_enabled(name != "forward"):
        runs, plans = contestants_of(layer, name, device, compiled)
        ms = race_ms(runs, device, repeats, warm_up=1)
        split = shares(runs["auto"][0], device) if name == "forward" else {}
    if name != "forward":
        ms[plans["plan"]] = ms["auto"]
    ratio = lambda a, b: ms[a] / ms[b] if a in ms and b in ms else None
    rate = gflop and gflop / ms["auto"] * 1e3
    return {
        "pass": name,
        "plan": plans["plan"],
        "plan folded": plans.get("plan folded"),
        **{c: ms.get(c) for c in (*STRATEGIES.get(device.type, ()), *CONTESTANTS)},
        "reference/auto": ratio("reference", "auto"),
        "compile/auto": ratio("compile", "auto"),
        "auto/bare": ratio("auto", "bare"),
        "GFLOP/s": rate,
        "% of peak": rate and 100 * rate / peak,
        "fir %": split.get("fir"),
        "around %": split.get("around"),
    }


@click.command(help=__doc__)
@click.option("--resolutions", default="256,1024", help="Of the networks.", show_default=True)
@click.option("--low", default=4, help="Leave out layers below this size.", show_default=True)
@click.option("--batches", default="1,8", show_default=True)
@click.option("--passes", default=",".join(PASSES), show_default=True)
@click.option("--dtype", type=click.Choice(list(DTYPES)), help="Default float32, float16 on a GPU.")
@click.option("--device", default="auto")
@click.option("--repeats", type=int, help="Default 3, on a GPU 9.")
@click.option(
    "--compile/--no-compile",
    "compiled",
    default=None,
    help="Race torch.compile at the networks' full sizes, largest batch; default on a GPU.",
)
@click.option("--max-gb", type=float, help="Of an activation, larger are left out; 1 on a CPU.")
@click.option("--seconds", type=float, help="Begin no layer after that.")
@click.option("--out", help="Path of the result files, without suffix.")
def main(resolutions, low, batches, passes, dtype, device, repeats, compiled, max_gb, seconds, out):
    """Print a row per layer, batch and pass, the largest first."""
    passes, batches = passes.split(","), sorted(map(int, batches.split(",")), reverse=True)
    if unknown := set(passes) - set(PASSES):
        raise click.BadParameter(f"expected of {', '.join(PASSES)}; got {', '.join(unknown)}")
    stylegan_ops.tune_cpu_allocator()
    device = resolve_device(device)
    gpu = device.type == "cuda"
    dtype, compiled = (
        dtype or ("float16" if gpu else "float32"),
        gpu if compiled is None else compiled,
    )
    max_gb = (float("inf") if gpu else 1) if max_gb is None else max_gb
    end = time.monotonic() + (seconds or float("inf"))
    resolutions, rows, large, late = [int(r) for r in resolutions.split(",")], [], 0, 0
    title, peak = f"modulated_conv2d {dtype}, ms", peak_gflops(device, DTYPES[dtype])
    machine = where(device) | {"peak GFLOP/s": round(peak)}
    for (about, shape), batch in product(layers(resolutions, low), batches):
        if shape.gigabytes(batch, DTYPES[dtype]) > max_gb:
            large += 1
            continue
        if time.monotonic() > end:
            late += 1
            continue
        race = compiled and batch == batches[0] and shape.size * shape.up in resolutions
        for name in passes:
            layer = Layer(shape, 1 if name == "forward" else batch, batch, DTYPES[dtype], device)
            about_row = about | {"batch": batch}
            job = name, device, repeats or (9 if gpu else 3), race
            rows.append(about_row | row_of(layer, *job, shape.gflop(batch, name), peak))
        save(title, rows, machine, out)  # what is there so far, should it be stopped
    report(title, rows, machine, out)
    click.echo(
        f"{len(rows)} rows; left out: {large} layers with an activation above {max_gb:g} GB, "
        f"{late} that there was no time for"
    )
    plots.after(out)


if __name__ == "__main__":
    main()
