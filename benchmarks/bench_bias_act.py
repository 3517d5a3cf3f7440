# SPDX-License-Identifier: Apache-2.0
"""bias_act over the layers of real networks: native kernel, reference, compiled reference, clone.

"of clone" is the bytes per second of the op over those of `x.clone()`; every tensor is counted once
for each read and write, masks included. Double backward: from dx to dy, x and b.
"""

import io
from contextlib import redirect_stdout

import click
import torch
from harness.common import race_ms, report, where

import stylegan_ops
from stylegan.config import preset
from stylegan.device import resolve_device
from stylegan.models.sizes import channels_of
from stylegan_ops.ops.bias_act import bias_act, bias_act_ref
from stylegan_ops.runtime.activation import PIECEWISE

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class Case:
    """One tensor with a bias, and the three passes over it by one implementation."""

    def __init__(self, shape, dtype, layout, act, clamp, device):
        make = lambda: torch.randn(shape, device=device).to(dtype).to(memory_format=layout)  # noqa: E731
        self.x, self.dy, self.v = make().requires_grad_(), make().requires_grad_(), make()
        self.b = torch.randn(shape[1], device=device, requires_grad=True)
        self.options = {"act": act, "clamp": clamp}

    def bytes(self, name):
        """What each pass must move."""
        x = self.x.nbytes
        if self.options["act"] in PIECEWISE:
            return 2 * x + self.x.numel() * (2 if self.options["clamp"] else 1) // 8
        return {"forward": 2 * x, "backward": 3 * x, "double": 5 * x}[name]

    def passes(self, op, double=True):
        """(name, run, setup) of the passes by `op`."""
        leaves = self.x, self.b

        def forward():
            return op(self.x, self.b, **self.options)

        yield "forward", forward, None
        dy = self.dy.detach()
        yield "backward", lambda y: torch.autograd.grad(y, leaves, dy), forward
        if double:
            first = lambda: torch.autograd.grad(forward(), self.x, self.dy, create_graph=True)[0]  # noqa: E731
            inputs = self.dy, *leaves
            yield (
                "double",
                lambda dx: torch.autograd.grad(dx, inputs, self.v, allow_unused=True),
                first,
            )


def rows_of(case, device, repeats, compiled):
    """Rows for one case, one a pass."""
    races = {name: {"native": (run, setup)} for name, run, setup in case.passes(bias_act)}
    for name, run, setup in case.passes(bias_act_ref):
        races[name]["reference"] = run, setup
    if compiled:
        torch.compiler.reset()
        op = torch.compile(bias_act_ref, dynamic=False)
        for name, run, setup in case.passes(op, double=False):  # it has no double backward
            races[name]["compiled"] = run, setup
    for name, contestants in races.items():
        ms = race_ms({"clone": (case.x.detach().clone, None), **contestants}, device, repeats)
        rate, clone_rate = case.bytes(name) / ms["native"], 2 * case.x.nbytes / ms["clone"]
        yield {
            "pass": name,
            "ms": ms["native"],
            "gb_per_s": rate / 1e6,
            "of clone": rate / clone_rate,
            "/ clone": ms["native"] / ms["clone"],
            "reference / native": ms["reference"] / ms["native"],
            "compiled / native": ms["compiled"] / ms["native"] if "compiled" in ms else None,
        }


def layers(resolution, low):
    """(channels, size) from the largest layer down."""
    config = preset("auto", resolution=resolution, channel_base=32768).resolved().G
    while resolution >= low:
        yield channels_of(resolution, config), resolution
        resolution //= 2


@click.command(help=__doc__)
@click.option("--resolution", type=int, help="Of the network; default 512, on a GPU 1024.")
@click.option("--low", default=64, help="Leave out layers below this resolution.")
@click.option("--batch", type=int, help="Default 1, on a GPU 8.")
@click.option("--dtypes", help="Default float32, on a GPU float16,bfloat16,float32.")
@click.option("--acts", default="lrelu", help="Comma-separated.")
@click.option("--clamp", type=float, default=None)
@click.option("--device", default="auto")
@click.option("--repeats", default=15)
@click.option("--compiled/--no-compiled", default=True, help="Race torch.compile at full size.")
@click.option("--out", help="Path of the result files, without suffix.")
def main(resolution, low, batch, dtypes, acts, clamp, device, repeats, compiled, out):
    """Print a row per layer, dtype, layout and pass."""
    stylegan_ops.tune_cpu_allocator()
    device = resolve_device(device)
    gpu = device.type == "cuda"
    if reason := stylegan_ops.load(device.type):
        raise click.ClickException(f"no kernels: {reason}")
    resolution, batch = resolution or (1024 if gpu else 512), batch or (8 if gpu else 1)
    dtypes = dtypes or ("float16,bfloat16,float32" if gpu else "float32")
    rows, machine = [], where(device)
    for channels, size in layers(resolution, low):  # the largest first: they matter most
        race = compiled and size == resolution  # compiling takes seconds a case
        for act in acts.split(","):
            for dtype in dtypes.split(","):
                for layout in LAYOUTS:
                    shape = batch, channels, size, size
                    about = {"act": act, "dtype": dtype, "layout": layout, "shape": list(shape)}
                    case = Case(shape, DTYPES[dtype], LAYOUTS[layout], act, clamp, device)
                    rows += [about | row for row in rows_of(case, device, repeats, race)]
        if out:  # what is there so far, should the time be over before the end
            with redirect_stdout(io.StringIO()):
                report("bias_act", rows, machine, out)
    report("bias_act", rows, machine, out)


if __name__ == "__main__":
    main()
