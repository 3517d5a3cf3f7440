# SPDX-License-Identifier: Apache-2.0
"""3x3 convolutions by minimal filtering against PyTorch's (oneDNN), over the layers of real
networks; float32, channels_last, on a CPU.

Kinds: "stride 1", F.conv2d; "up", F.conv_transpose2d at stride 2, of an up-sampling layer; "down",
F.conv2d at stride 2 without padding, of a down-sampling layer and of the gradient of "up". "px" is
the larger side of the layer. Times are in ms, with all contestants in turns.

"library" is PyTorch's bare convolution. "tiles" is one of the forms, as `modulated_conv2d` uses it:
with styles, demodulation, noise, bias, lrelu and clamp at stride 1, with styles for "up". "folded"
has weights that are transformed already (for PyTorch: in channels_last), "unfolded" starts from
weights [O, I, 3, 3], and "weights" is the time of the transform. "ratio" is PyTorch's time over
that of the tiles. GFLOP/s are for folded weights and count the multiplications and additions of a
direct convolution, 2 * 9 * N * I * O * H' * W' (for "up" with the pixels of x), although the tiles
need fewer. "error" is the largest error against float64, over the largest value.

"rule" is the choice of `best_form`, "fastest" the form that was fastest here, "loss %" the cost of
a wrong choice. To limit PyTorch to AVX2, set ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2.
"""

from dataclasses import dataclass
from itertools import product

import click
import torch
import torch.nn.functional as F
from harness import plots
from harness.common import race_ms, report, save, where
from harness.modconv_layers import PEAK_SHAPES, layers

import stylegan_ops
from stylegan_ops.layer import winograd
from stylegan_ops.layer.records import Epilogue

TITLE = "winograd 3x3 convolutions float32, ms"
FORMS = {"stride 1": ("tile2", "tile4"), "up": ("up",), "down": ("down",)}
ISAS = "portable", "avx2", "avx512"  # by their numbers
TARGET = 1.5  # times as fast as PyTorch, at PEAK_SHAPES, batch 1, folded
LOSS = 5  # %; less may be noise
CROP = 32  # px that errors are measured on; float64 takes long


@dataclass(frozen=True)
class Shape:
    kind: str
    c_in: int
    c_out: int
    px: int  # of the larger side

    @property
    def sides(self):
        """(px of x, px of y)"""
        half = self.px // 2
        all_sides = {"stride 1": (self.px, self.px), "up": (half, self.px + 1)}
        return all_sides.get(self.kind, (self.px + 1, half))

    @property
    def padding(self):
        return (1, 1) if self.kind == "stride 1" else (0, 0)

    def gigabytes(self, batch):
        """The larger of x and y, in 10^9 bytes."""
        values = (c * side**2 for c, side in zip((self.c_in, self.c_out), self.sides))
        return 4 * batch * max(values) / 1e9

    def gflop(self, batch):
        """Multiplications and additions of a direct convolution, in 10^9."""
        side = self.px if self.kind == "stride 1" else self.px // 2
        return 2 * 9 * batch * self.c_in * self.c_out * side**2 / 1e9

    def library(self, x, weight):
        if self.kind == "up":
            return F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        return F.conv2d(x, weight, stride=2 if self.kind == "down" else 1, padding=self.padding)


def shapes_of(kinds, resolutions, low):
    """The 3x3 layers of networks of these resolutions, from the largest down."""
    found = [s for _, s in layers(resolutions, low) if s.kind != "torgb"]
    for kind in kinds:
        for s in found:
            if (kind == "stride 1") == (s.up == 1):
                channels = (s.c_out, s.c_in) if kind == "down" else (s.c_in, s.c_out)
                yield Shape(kind, *channels, s.size * s.up)


def around(shape, batch):
    """The further arguments of `convolve` as `modulated_conv2d` gives them."""
    styles = torch.rand(batch, shape.c_in)
    if shape.kind != "stride 1":
        return {"styles": styles} if shape.kind == "up" else {}
    return {
        "styles": styles,
        "scale": torch.rand(batch, shape.c_out),
        "noise": torch.randn(1, 1, shape.px, shape.px),
        "end": Epilogue(torch.zeros(shape.c_out), "lrelu", clamp=256),
    }


def contestants_of(shape, x, weight, isas):
    """{(name, form, isa)}: functions without arguments."""
    given = around(shape, x.shape[0])
    ordered = weight.transpose(0, 1) if shape.kind == "up" else weight
    ordered = ordered.contiguous(memory_format=torch.channels_last)
    ordered = ordered.transpose(0, 1) if shape.kind == "up" else ordered
    runs = {
        ("unfolded", "library", None): lambda: shape.library(x, weight),
        ("folded", "library", None): lambda: shape.library(x, ordered),
    }
    for form, isa in product(FORMS[shape.kind], isas):
        transform = lambda form=form, isa=isa: winograd.tiles(weight, form, isa=isa)
        convolve = lambda t, isa=isa: winograd.convolve(x, t, shape.padding, **given, isa=isa)
        held = transform()
        runs["folded", form, isa] = lambda convolve=convolve, held=held: convolve(held)
        runs["unfolded", form, isa] = lambda c=convolve, t=transform: c(t())
        runs["weights", form, isa] = transform
    return runs


def errors_of(shape, x, weight, isas):
    """{(form, isa)}: the largest error over the largest value; ("library", None) for the
    library's."""
    side = min(x.shape[2], CROP + (shape.kind == "down"))
    x = x[:1, :, :side, :side]
    exact = shape.library(x.double(), weight.double())
    error = lambda y: ((y - exact).abs().max() / exact.abs().max()).item()
    errors = {("library", None): error(shape.library(x, weight))}
    for form, isa in product(FORMS[shape.kind], isas):
        t = winograd.tiles(weight, form, isa=isa)
        errors[form, isa] = error(winograd.convolve(x, t, shape.padding, isa=isa))
    return errors


def choice(shape, batch, ms, isa, name):
    """The rule's choice, the fastest, and what the difference costs; name: folded or unfolded."""
    forms = FORMS[shape.kind]
    sizes, channels = (shape.sides[1],) * 2, (shape.c_in, shape.c_out)
    rule = winograd.best_form(forms, batch, channels, sizes, name == "folded", isa=isa)
    rule = rule or "library"
    times = {form: ms[name, form, isa] for form in forms}
    times["library"] = ms[name, "library", None]
    fastest = min(times, key=times.get)
    loss = 100 * (times[rule] / times[fastest] - 1)
    return {f"rule {name}": rule, f"fastest {name}": fastest, f"loss % {name}": loss or None}


def rows_of(shape, batch, isas, repeats):
    """A row for each form and instruction set."""
    side, _ = shape.sides
    x = torch.randn(batch, shape.c_in, side, side).to(memory_format=torch.channels_last)
    weight = torch.randn(shape.c_out, shape.c_in, 3, 3)
    errors = errors_of(shape, x, weight, isas)
    runs = {k: (run, None) for k, run in contestants_of(shape, x, weight, isas).items()}
    ms = race_ms(runs, "cpu", repeats)
    library = {name: ms[name, "library", None] for name in ("folded", "unfolded")}
    for isa, form in product(isas, FORMS[shape.kind]):
        tiles = {name: ms[name, form, isa] for name in library}
        yield {
            "convolution": shape.kind,
            "px": shape.px,
            "channels": f"{shape.c_in}-{shape.c_out}",
            "batch": batch,
            "form": form,
            "isa": ISAS[isa],
            **{f"library {name}": library[name] for name in library},
            **{f"tiles {name}": tiles[name] for name in library},
            "weights": ms["weights", form, isa],
            **{f"ratio {name}": library[name] / tiles[name] for name in library},
            "library GFLOP/s": shape.gflop(batch) / library["folded"] * 1e3,
            "tiles GFLOP/s": shape.gflop(batch) / tiles["folded"] * 1e3,
            "library error": errors["library", None],
            "tiles error": errors[form, isa],
            **choice(shape, batch, ms, isa, "folded"),
            **choice(shape, batch, ms, isa, "unfolded"),
        }


def summary(rows):
    """Lines: the ratios that are aimed at, and how often the rule is wrong."""
    aim = {("stride 1", f"{c}-{c}", px) for c, px in PEAK_SHAPES}
    for isa in dict.fromkeys(r["isa"] for r in rows):
        own, best = [r for r in rows if r["isa"] == isa], {}
        for r in own:
            key = r["convolution"], r["channels"], r["px"]
            if key in aim and r["batch"] == 1:
                best[key] = max(best.get(key, 0), r["ratio folded"])
        if best:
            shown = ", ".join(f"{key[1]} {key[2]} px {v:.2f}" for key, v in best.items())
            yield f"{isa}, times as fast as PyTorch at batch 1, the target is {TARGET}: {shown}"
        for name in ("folded", "unfolded"):
            keys = "convolution", "px", "channels", "batch"  # the forms of these have one choice
            losses = {tuple(r[k] for k in keys): r[f"loss % {name}"] or 0 for r in own}
            wrong = sum(loss > LOSS for loss in losses.values())
            worst = max(losses, key=losses.get)
            yield (
                f"{isa}, {name}: the rule loses more than {LOSS} % in {wrong} of {len(losses)} "
                f"choices, most {losses[worst]:.0f} % ({', '.join(map(str, worst))})"
            )


def numbers(text, name, allowed=None):
    """[int] of a comma-separated option."""
    try:
        found = [int(n) for n in text.split(",")]
    except ValueError:
        found = None
    if not found or (allowed is not None and set(found) - set(allowed)):
        expected = "whole numbers" if allowed is None else f"of {', '.join(map(str, allowed))}"
        raise click.BadParameter(f"expected {expected}; got {text!r}", param_hint=name)
    return found


@click.command(help=__doc__)
@click.option("--resolutions", default="256,1024", help="Of the networks.", show_default=True)
@click.option("--low", default=4, help="Leave out layers below this size.", show_default=True)
@click.option("--batches", default="1,8", show_default=True)
@click.option("--kinds", default=",".join(FORMS), show_default=True)
@click.option("--isa", help="0 portable, 1 AVX2, 2 AVX-512, several with commas; default the best.")
@click.option("--repeats", default=7, show_default=True)
@click.option("--max-gb", default=1.0, help="Of an activation, larger are left out.")
@click.option("--out", help="Path of the result files, without suffix.")
def main(resolutions, low, batches, kinds, isa, repeats, max_gb, out):
    """Print a row per layer, batch and form."""
    kinds = kinds.split(",")
    if unknown := set(kinds) - set(FORMS):
        raise click.BadParameter(f"expected of {', '.join(FORMS)}; got {', '.join(unknown)}")
    resolutions, batches = numbers(resolutions, "--resolutions"), numbers(batches, "--batches")
    best = winograd.ISA  # beyond what PyTorch takes the kernels may be there and the CPU not
    isas = [best] if isa is None else numbers(isa, "--isa", range(best + 1))
    stylegan_ops.tune_cpu_allocator()
    if reason := stylegan_ops.load("cpu"):
        raise click.ClickException(f"no kernels: {reason}")
    rows, large, machine = [], 0, where("cpu")
    for shape, batch in product(shapes_of(kinds, resolutions, low), batches):
        if shape.gigabytes(batch) > max_gb:
            large += 1
            continue
        with torch.no_grad():
            rows += rows_of(shape, batch, isas, repeats)
        save(TITLE, rows, machine, out)  # what is there so far, should it be stopped
    if not rows:
        raise click.ClickException("no layer is left")
    report(TITLE, rows, machine, out)
    for line in summary(rows):
        click.echo(line)
    click.echo(f"{len(rows)} rows; left out: {large} with an activation above {max_gb:g} GB")
    plots.after(out)


if __name__ == "__main__":
    main()
