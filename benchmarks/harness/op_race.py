# SPDX-License-Identifier: Apache-2.0
"""An op against its reference, pass by pass, over cases: what the benchmarks of single ops share.

"/ clone" is the time over that of `clone()` of the larger of the first input and the output.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import click
import torch

import stylegan_ops
from harness.common import race_ms, report, where
from stylegan.device import resolve_device

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
PASSES = "inference", "forward", "backward", "double"  # forward stores what backward needs


@dataclass(frozen=True)
class Settings:
    """The options of a benchmark, with defaults filled in."""

    resolutions: tuple[int, ...]  # px of the networks
    low: int  # px of the smallest layer
    batch: int
    dtypes: tuple[str, ...]
    device: torch.device
    repeats: int
    compiled: bool  # race torch.compile of the reference
    seconds: float  # no case begins after that
    out: str | None

    @classmethod
    def of(cls, resolutions, low, batch, dtypes, device, repeats, compiled, seconds, out):
        """Settings from the options of `op_options`."""
        device = resolve_device(device)
        gpu = device.type == "cuda"
        return cls(
            resolutions=tuple(int(r) for r in resolutions.split(",")),
            low=low,
            batch=batch or (8 if gpu else 1),
            dtypes=tuple((dtypes or ("float16,float32" if gpu else "float32")).split(",")),
            device=device,
            repeats=repeats or (11 if gpu else 7),
            compiled=gpu if compiled is None else compiled,
            seconds=seconds or (25 if gpu else float("inf")),
            out=out,
        )

    def formats(self) -> Iterator[tuple[str, str]]:
        """Names of dtypes and layouts."""
        for dtype in self.dtypes:
            for layout in LAYOUTS:
                yield dtype, layout


@dataclass(frozen=True)
class Case:
    """One call of an op.

    Args:
        about: columns that describe it.
        make: function () -> `Contest`, called right before it is timed.
    """

    about: dict[str, Any]
    make: Callable[[], Contest]


@dataclass(frozen=True)
class Contest:
    """What is timed.

    Args:
        ops: {name: function of the inputs}; the first one is compared with all others.
        inputs: tensors; those that require a gradient get one in "backward" and "double".
        passes: of `PASSES`. "double" is the gradient of dx w.r.t. dy and all inputs.
        only: {name: passes}, for ops that support only some passes.
    """

    ops: dict[str, Callable[..., torch.Tensor]]
    inputs: list[torch.Tensor]
    passes: tuple[str, ...] = PASSES
    only: dict[str, tuple[str, ...]] | None = None


def op_options(function: Callable) -> Callable:
    """The options that `Settings.of` takes."""
    options = [
        click.option("--resolutions", default="256,1024", show_default=True, help="Of networks."),
        click.option("--low", default=128, show_default=True, help="Smallest layer, px."),
        click.option("--batch", type=int, help="Default 1, on a GPU 8."),
        click.option("--dtypes", help="Default float32, on a GPU float16,float32."),
        click.option("--device", default="auto", show_default=True),
        click.option("--repeats", type=int, help="Default 7, on a GPU 11."),
        click.option(
            "--compile/--no-compile",
            "compiled",
            default=None,
            help="Race torch.compile of the reference in the first case; default on a GPU.",
        ),
        click.option("--seconds", type=float, help="Begin no case after that; on a GPU 25."),
        click.option("--out", help="Path of the result files, without suffix."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def measure(title: str, cases: Iterator[Case], settings: Settings) -> None:
    """Time all cases and print a table. With `settings.out` it is also saved, after every case."""
    stylegan_ops.tune_cpu_allocator()
    if reason := stylegan_ops.load(settings.device.type):
        raise click.ClickException(f"no kernels: {reason}")
    rows, machine, skipped = [], where(settings.device), 0
    end = time.monotonic() + settings.seconds
    for case in cases:
        if time.monotonic() > end:
            skipped += 1
            continue
        compiled = settings.compiled and not rows
        rows += [case.about | row for row in rows_of(case.make(), settings, compiled)]
        with redirect_stdout(io.StringIO()):
            report(title, rows, machine, settings.out)
    if not rows:
        raise click.ClickException("no case is left")
    report(title, rows, machine, settings.out)
    if skipped:
        click.echo(f"the time was over before the last {skipped} cases")


def rows_of(contest: Contest, settings: Settings, compiled: bool) -> Iterator[dict[str, Any]]:
    """A row per pass."""
    ops, only = dict(contest.ops), dict(contest.only or {})
    if compiled and "reference" in ops:
        torch.compiler.reset()
        ops["compiled"] = torch.compile(ops["reference"], dynamic=False)
        only["compiled"] = tuple(p for p in contest.passes if p != "double")  # not supported
    first = next(iter(ops))
    with torch.no_grad():
        y = ops[first](*contest.inputs)
    x = contest.inputs[0].detach()
    larger = x if x.numel() > y.numel() else y
    for name in contest.passes:
        runs = {"clone": (larger.clone, None)}
        for op, function in ops.items():
            if name in only.get(op, PASSES):
                runs[op] = prepared(name, function, contest.inputs, y)
        ms = race_ms(runs, settings.device, settings.repeats)
        yield {
            "pass": name,
            "ms": ms[first],
            "/ clone": ms[first] / ms["clone"],
            **{
                f"{op} / {first}": ms[op] / ms[first] if op in ms else None
                for op in ops
                if op != first
            },
        }


def prepared(
    name: str, function: Callable[..., torch.Tensor], inputs: list[torch.Tensor], y: torch.Tensor
) -> tuple[Callable, Callable | None]:
    """(run, setup) of one pass, for `race_ms`."""
    leaves = [t for t in inputs if t.requires_grad]
    forward = lambda: function(*inputs)
    grad = torch.autograd.grad
    if name == "inference":
        return torch.no_grad()(forward), None
    if name == "forward":
        return forward, None
    dy = torch.randn_like(y)
    if name == "backward":
        return lambda y: grad(y, leaves, dy), forward
    dy.requires_grad_()
    v = torch.randn_like(leaves[0])
    setup = lambda: grad(forward(), leaves[0], dy, create_graph=True)[0]
    return lambda dx: grad(dx, [dy, *leaves], v, allow_unused=True), setup


def tensor(shape, dtype: str, layout: str, device: torch.device) -> torch.Tensor:
    """Random images [N, C, H, W] that require a gradient."""
    x = torch.randn(shape, device=device).to(DTYPES[dtype])
    return x.contiguous(memory_format=LAYOUTS[layout]).requires_grad_()


def vector(*shape: int, device: torch.device) -> torch.Tensor:
    """Random float32 numbers that require a gradient."""
    return torch.randn(shape, device=device).requires_grad_()
