# SPDX-License-Identifier: Apache-2.0
"""filtered_lrelu over the layers of StyleGAN3: native kernel against reference, compiled reference,
clone.

"/ clone" is the time over that of `clone()` of the larger of x and y. "of clone" is the bytes per
second over those of clone, where x and y count once each.

Sets: basic has the two layers that take most of the time. On a CPU each contestant is a process,
with the default allocator and with `tune_cpu_allocator()` ("tuned"), and MB is its peak memory
minus that before the first call. T-256, T-1024, R-256, R-1024 have the layers of these networks.
"""

import time

import click
import torch
from harness import children
from harness.common import race_ms, report, where

import stylegan_ops
from stylegan.config import preset
from stylegan.device import resolve_device
from stylegan.models.precision import block_format
from stylegan.models.stylegan3_filters import geometry
from stylegan_ops import filtered_lrelu
from stylegan_ops.ops.filtered_lrelu import filtered_lrelu_ref

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
OPS = {"native": filtered_lrelu, "reference": filtered_lrelu_ref}
# up, down, taps of both filters, padding; x is [1, 128, 148, 148]
BASIC = {"up 2, down 2": (2, 2, 12, 12, 10), "up 4, down 2": (4, 2, 24, 12, (28, 29, 28, 29))}
BASIC_SHAPE = 1, 128, 148, 148
CALLS = 10  # of a contestant in a row: threads of the one before still spin for some milliseconds


def basic_case(name):
    """(shape of x, keyword arguments)"""
    up, down, up_taps, down_taps, padding = BASIC[name]
    fu, fd = (torch.hann_window(k + 2)[1:-1] for k in (up_taps, down_taps))
    given = {"fu": fu / fu.sum(), "fd": fd / fd.sum(), "up": up, "down": down}
    return BASIC_SHAPE, given | {"padding": padding, "clamp": 256}


def network_cases(name):
    """(name, shape of x, keyword arguments) of every layer but ToRGB of T-256, R-1024, ..."""
    kind, resolution = name.split("-")
    config = preset(f"stylegan3-{kind.lower()}", resolution=int(resolution)).resolved().G
    for g in geometry(config):
        if g.torgb:
            continue
        size = g.before.size + g.kernel - 1
        fu, fd = g.filters()
        given = {"fu": fu, "fd": fd, "up": g.up, "down": g.down, "clamp": 256}
        yield g.name, (1, g.after.channels, size, size), given | {"padding": [*g.padding] * 2}


def tensors(shape, given, device, dtype, layout):
    """(x, b, keyword arguments)"""
    x = torch.randn(shape, device=device).to(dtype).to(memory_format=layout)
    given = {k: v.to(device) if torch.is_tensor(v) else v for k, v in given.items()}
    return x, torch.randn(shape[1], device=device), given


def make(device, choice, name, layout):
    """{"run": one call} of a contestant of the basic set."""
    op, tuned = choice
    if tuned:
        stylegan_ops.tune_cpu_allocator()
    x, b, given = tensors(*basic_case(name), device, torch.float32, LAYOUTS[layout])
    with torch.no_grad():
        OPS[op](x[:, :, :16, :16], b=b, **given)  # loads libraries
    before = children.resident_mb()

    @torch.no_grad()
    def run():
        for _ in range(CALLS):
            OPS[op](x, b=b, **given)

    return {"run": run, "beyond_mb": lambda: children.peak_mb() - before}


def basic_rows(repeats, layouts):
    """A row per case, layout and allocator."""
    choices = {f"{op}{', tuned' * t}": (op, t) for op in OPS for t in (False, True)}
    for name in BASIC:
        for layout in layouts:
            made = children.contestants(torch.device("cpu"), make, choices, name, layout)
            try:
                children.warm_up(made)
                ms = children.race(made, repeats=repeats)
                ms = {who: total / CALLS for who, total in ms.items()}
                mb = {who: child.ask("beyond_mb")[1] for who, child in made.items()}
            finally:
                children.close(made)
            for kind in ("", ", tuned"):
                native, ref = f"native{kind}", f"reference{kind}"
                row = {"case": name, "layout": layout, "allocator": "tuned" if kind else "as found"}
                row |= {"native ms": ms[native], "reference ms": ms[ref]}
                row |= {"reference / native": ms[ref] / ms[native]}
                yield row | {"native MB": round(mb[native]), "reference MB": round(mb[ref])}


def passes(op, x, b, given, double):
    """(name, run, setup) of forward, backward and double backward."""
    x, b = x.detach().requires_grad_(), b.detach().requires_grad_()
    forward = lambda: op(x, b=b, **given)
    with torch.no_grad():
        y = forward()
    dy = torch.randn_like(y).requires_grad_()
    grad = torch.autograd.grad

    def plain():
        with torch.no_grad():
            return forward()

    yield "forward", plain, None
    yield "forward, kept for backward", forward, None
    yield "backward", lambda y: grad(y, [x, b], dy.detach()), forward
    if double:
        first = lambda: grad(forward(), x, dy, create_graph=True)[0]
        v = torch.randn_like(x)
        yield "double", lambda dx: grad(dx, dy, v), first


def layer_rows(x, b, given, device, repeats, double, reference, compiled):
    """A row per pass."""
    ops = dict(OPS) if reference else {"native": filtered_lrelu}
    if compiled:
        torch.compiler.reset()
        ops["compiled"] = torch.compile(filtered_lrelu_ref, dynamic=False)
    with torch.no_grad():
        y = filtered_lrelu(x, b=b, **given)
    larger, moved = x if x.numel() > y.numel() else y, x.nbytes + y.nbytes
    races = {}
    for who, op in ops.items():
        for name, run, setup in passes(op, x, b, given, double and who == "native"):
            races.setdefault(name, {})[who] = run, setup
    for name, contestants in races.items():
        ms = race_ms({"clone": (larger.clone, None), **contestants}, device, repeats)
        yield {
            "pass": name,
            "ms": ms["native"],
            "/ clone": ms["native"] / ms["clone"],
            "of clone": moved / ms["native"] / (2 * larger.nbytes / ms["clone"]),
            **{f"{k} / native": ms.get(k, float("nan")) / ms["native"] for k in ops if k in ms},
        }


@click.command(help=__doc__)
@click.option("--sets", default=None, help="basic, T-256, T-1024, R-256, R-1024; some of them.")
@click.option("--layouts", default="contiguous,channels_last", help="Of the basic set.")
@click.option("--dtype", type=click.Choice(list(DTYPES)), help="Default: float16 on CUDA.")
@click.option("--repeats", default=7)
@click.option("--double/--no-double", default=True)
@click.option("--reference/--no-reference", default=True)
@click.option("--compile/--no-compile", "compiled", default=None, help="Default: on CUDA.")
@click.option("--seconds", type=float, help="Begin no layer after that; default 75 on CUDA.")
@click.option("--device", default="auto")
@click.option("--out", help="Path of the result files, without suffix; the set is added.")
def main(sets, layouts, dtype, repeats, double, reference, compiled, seconds, device, out):
    """Print a table per set."""
    device = resolve_device(device)
    gpu = device.type == "cuda"
    if reason := stylegan_ops.load(device.type):
        raise click.ClickException(f"no kernels: {reason}")
    sets = (sets or ("T-1024,R-1024" if gpu else "basic,T-256,R-256")).split(",")
    dtype = DTYPES[dtype or ("float16" if gpu else "float32")]
    seconds, compiled = (
        seconds or (75 if gpu else float("inf")),
        gpu if compiled is None else compiled,
    )
    start = time.monotonic()
    for name in sets:
        path = None if out is None else f"{out}_{name}"
        if name == "basic":
            rows = list(basic_rows(repeats, layouts.split(",")))
            report("filtered_lrelu, basic", rows, where(device), path)
            continue
        if not gpu:
            stylegan_ops.tune_cpu_allocator()
        rows = []
        for layer, shape, given in network_cases(name):
            if time.monotonic() - start > seconds:
                click.echo(f"the time was over before {layer} of {name}")
                break
            layout = block_format(device, dtype)
            x, b, given = tensors(shape, given, device, dtype, layout)
            about = {"layer": layer, "up": given["up"], "down": given["down"], "x": list(shape)}
            options = device, repeats, double, reference, compiled
            rows += [about | row for row in layer_rows(x, b, given, *options)]
        report(f"filtered_lrelu, {name}, {str(dtype)[6:]}", rows, where(device), path)


if __name__ == "__main__":
    main()
