# SPDX-License-Identifier: Apache-2.0
"""upfirdn2d over the resampling layers of real networks: native kernel, reference, compiled
reference, clone.

"/ clone" is the time over that of `clone()` of the larger side; "of clone" the bytes per second
over those of clone, where input and output count once each. Sets: networks; basic, one tensor of
[1, 64, 512, 512] with 4 and 12 taps.
"""

import io
import time
from contextlib import redirect_stdout

import click
import torch
from harness.common import race_ms, report, where

import stylegan_ops
from stylegan.config import preset
from stylegan.device import resolve_device
from stylegan.models.sizes import channels_of
from stylegan_ops import setup_filter, upfirdn2d
from stylegan_ops.ops.upfirdn2d import upfirdn2d_ref

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
SETS = "basic", "networks"
CHANNEL_BASE = {256: 16384, 512: 32768, 1024: 32768}  # of the presets of the papers
TAPS = setup_filter([1, 3, 3, 1])
LONG = setup_filter([1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1])  # separable
UP, DOWN = dict(up=2, padding=[2, 1, 2, 1], gain=4.0), dict(down=2, padding=1)
LONG_UP, LONG_DOWN = dict(up=2, padding=[6, 5, 6, 5], gain=4.0), dict(down=2, padding=5)


def basic_cases(size=512):
    """(name, shape of x, filter, further arguments); the larger side is of that size."""
    large, small = (1, 64, size, size), (1, 64, size // 2, size // 2)
    yield "4 x 4 filter", large, TAPS, dict(padding=[2, 1, 2, 1])
    yield "4 x 4 up 2", small, TAPS, UP
    yield "4 x 4 down 2", large, TAPS, DOWN
    yield "12 taps filter", large, LONG, dict(padding=[6, 5, 6, 5])
    yield "12 taps up 2", small, LONG, LONG_UP
    yield "12 taps down 2", large, LONG, LONG_DOWN


def layer_cases(size, channels, batch):
    """The same for the layers of one resolution of G and D, padded as by conv2d_resample."""
    yield "G filter", (batch, channels, size + 1, size + 1), TAPS, dict(padding=1, gain=4.0)
    yield "D filter", (batch, channels, size, size), TAPS, dict(padding=2)
    yield "D skip", (batch, channels, size, size), TAPS, DOWN
    yield "G image", (batch, 3, size // 2, size // 2), TAPS, UP


def sizes_of(resolution, low):
    """(size, channels) from the largest layer down."""
    base = CHANNEL_BASE.get(resolution, 32768)
    config = preset("auto", resolution=resolution, channel_base=base).resolved().G
    size = resolution
    while size >= low:
        yield size, channels_of(size, config)
        size //= 2


class Case:
    """One tensor and one filter, and the three passes over it by one implementation."""

    def __init__(self, shape, f, kwargs, dtype, layout, device):
        self.make = lambda s: torch.randn(s, device=device).to(dtype).to(memory_format=layout)
        self.x, self.v = self.make(shape).requires_grad_(), self.make(shape)
        self.kwargs = {"f": f.to(device)} | kwargs
        with torch.no_grad():
            self.dy = self.make(upfirdn2d(self.x, **self.kwargs).shape).requires_grad_()

    def larger(self):
        return (self.x if self.x.numel() > self.dy.numel() else self.dy).detach()

    def passes(self, op, double):
        """(name, run, setup) of the passes by `op`."""
        forward, dy = lambda: op(self.x, **self.kwargs), self.dy.detach()
        yield "forward", forward, None
        yield "backward", lambda y: torch.autograd.grad(y, self.x, dy), forward
        if double:
            grad = torch.autograd.grad
            first = lambda: grad(forward(), self.x, self.dy, create_graph=True)[0]
            yield "double", lambda dx: grad(dx, self.dy, self.v), first


def rows_of(case, device, repeats, compiled, double, reference_double):
    """Rows for one case, one a pass. The reference takes up to 200 times as long for its double
    backward, so that is raced on demand."""
    races = {name: {"native": (run, setup)} for name, run, setup in case.passes(upfirdn2d, double)}
    for name, run, setup in case.passes(upfirdn2d_ref, reference_double):
        races[name]["reference"] = run, setup
    if compiled:
        torch.compiler.reset()
        op = torch.compile(upfirdn2d_ref, dynamic=False)
        for name, run, setup in case.passes(op, double=False):  # it has no double backward
            races[name]["compiled"] = run, setup
    larger, moved = case.larger(), case.x.nbytes + case.dy.nbytes
    for name, contestants in races.items():
        ms = race_ms({"clone": (larger.clone, None), **contestants}, device, repeats)
        yield {
            "pass": name,
            "ms": ms["native"],
            "/ clone": ms["native"] / ms["clone"],
            "of clone": moved / ms["native"] / (2 * larger.nbytes / ms["clone"]),
            **{
                f"{k} / native": ms[k] / ms["native"] if k in ms else None
                for k in ("reference", "compiled")
            },
        }


class Tables:
    """Rows by set, written whenever some are added; and whether there is time for more."""

    def __init__(self, device, out, seconds):
        self.rows, self.machine, self.out = {}, where(device), out
        self.end = time.monotonic() + seconds if seconds else float("inf")

    def add(self, name, about, rows):
        self.rows.setdefault(name, []).extend(about | row for row in rows)
        if self.out:  # what is there so far, should the time be over before the end
            with redirect_stdout(io.StringIO()):
                self.report([name])

    def report(self, names=None):
        for name in names or self.rows:
            title = "upfirdn2d" if name == "networks" else f"upfirdn2d {name}"
            out = self.out and (self.out if name == "networks" else f"{self.out}_{name}")
            report(title, self.rows[name], self.machine, out)

    def over(self):
        return time.monotonic() > self.end


def jobs(sets, resolutions, low, batch, dtypes, repeats, compiled, device):
    """(set, description, function that makes its rows), the largest first."""
    formats = [(d, lay) for d in dtypes.split(",") for lay in LAYOUTS]
    sets, resolutions = sets.split(","), [int(r) for r in resolutions.split(",")]
    gpu = device.type == "cuda"

    def job(shape, f, kwargs, dtype, layout, *races):
        case = Case(shape, f, kwargs, DTYPES[dtype], LAYOUTS[layout], device)
        return rows_of(case, device, repeats, *races)

    if "basic" in sets:
        for name, shape, f, kwargs in basic_cases():
            for d, lay in formats:
                about = {"op": name, "dtype": d, "layout": lay, "shape": list(shape)}
                args = job, shape, f, kwargs, d, lay, compiled, True, d == "float32"
                yield "basic", about, args
    for resolution in sorted(resolutions, reverse=True):
        n = batch or ((4 if resolution > 256 else 8) if gpu else 1)
        for size, channels in sizes_of(resolution, low):
            full = size == resolution
            cases = layer_cases(size, channels, n) if "networks" in sets else ()
            for name, shape, f, kwargs in cases:
                for d, lay in formats:
                    if name == "G image" and d != "float32":
                        continue  # images are float32 whatever the blocks are
                    about = {"network": resolution, "op": name, "dtype": d, "layout": lay}
                    args = job, shape, f, kwargs, d, lay, compiled and full, not full, False
                    yield "networks", about | {"shape": list(shape)}, args


@click.command(help=__doc__)
@click.option("--set", "sets", default=",".join(SETS), help="Comma-separated.", show_default=True)
@click.option("--resolutions", default="256,1024", help="Of the networks.", show_default=True)
@click.option("--low", default=128, help="Leave out layers below this resolution.")
@click.option("--batch", type=int, help="Default 1; on a GPU 8, and 4 above 256 px.")
@click.option("--dtypes", help="Default float32, on a GPU float16,bfloat16,float32.")
@click.option("--device", default="auto")
@click.option("--repeats", type=int, help="Default 7, on a GPU 11.")
@click.option("--compiled/--no-compiled", default=None, help="At full size; default on a GPU.")
@click.option("--seconds", type=float, help="Begin nothing after that; default 85 on a GPU.")
@click.option("--out", help="Path of the result files, without suffix.")
def main(sets, resolutions, low, batch, dtypes, device, repeats, compiled, seconds, out):
    """Print a row per layer, dtype, layout and pass."""
    if unknown := set(sets.split(",")) - set(SETS):
        raise click.BadParameter(f"expected of {', '.join(SETS)}; got {', '.join(unknown)}")
    stylegan_ops.tune_cpu_allocator()
    device = resolve_device(device)
    gpu = device.type == "cuda"
    if reason := stylegan_ops.load(device.type):
        raise click.ClickException(f"no kernels: {reason}")
    dtypes = dtypes or ("float16,bfloat16,float32" if gpu else "float32")
    tables = Tables(device, out, (85 if gpu else 0) if seconds is None else seconds)
    compiled = gpu if compiled is None else compiled
    repeats, left_out = repeats or (11 if gpu else 7), 0
    with stylegan_ops.backend("native"):
        todo = jobs(sets, resolutions, low, batch, dtypes, repeats, compiled, device)
        for name, about, (function, *args) in todo:
            if tables.over():
                left_out += 1
            else:
                tables.add(name, about, function(*args))
    tables.report()
    if left_out:
        click.echo(f"the time was over before the last {left_out} layers")


if __name__ == "__main__":
    main()
