# SPDX-License-Identifier: Apache-2.0
"""`stylegan doctor`: whether the kernels work here, and how to fix them if not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from stylegan.cli.params import Command
from stylegan.threads import describe_threads

if TYPE_CHECKING:
    from stylegan_ops.doctor import Health, Row

NAMES = {"cpu": "CPU", "cuda": "GPU"}


@click.command("doctor", cls=Command, short_help="Check, build and explain the kernels.")
@click.option("--clean", is_flag=True, help="Only empty the cache of built kernels.")
def command(clean: bool) -> None:
    """Show what the kernels need, build them if they are missing, and check each one.

    The first line says whether everything works. Exits with 1 if a kernel that should work here
    does not.

    \b
    stylegan doctor                       after an installation, or when something is slow
    stylegan doctor --clean               to build everything again
    """
    from stylegan_ops import doctor

    if clean:
        try:
            freed = doctor.clean()
        except doctor.Problem as e:
            raise click.ClickException(str(e)) from e
        click.echo(f"{freed.folder}: {freed.size / 1e6:.1f} MB freed")
        return
    threads = describe_threads()
    tools = [*doctor.tools(), doctor.Row("threads", str(threads), threads.fix)]
    kernels = {device: doctor.loaded(device) for device in doctor.devices()}
    ops = list(doctor.health())
    rows = [*tools, *kernels.values()]
    click.echo(f"{_summary(tools, kernels, ops)}\n")
    for row in rows:
        click.echo(f"{row.name:12} {row.found}")
    click.echo()
    for op in ops:
        click.echo(f"{op.op:18} {op.device:5} {_state(op):10} {op.found}")
    to_fix = [row for row in rows if row.fix]
    if to_fix:
        click.echo("\nto fix:")
        for row in to_fix:
            click.echo(f"  {row.name + ':':12} {row.fix}")
    if any(op.faulty for op in ops):
        raise SystemExit(1)


def _state(op: Health) -> str:
    if op.faulty and op.backend == "native":
        return "WRONG"
    return op.backend if op.needed else "not needed"


def _summary(tools: Sequence[Row], kernels: dict[str, Row], ops: Sequence[Health]) -> str:
    """The first line: what all of it means.

    Args: kernels: by device.
    """
    wrong = [f"{op.op} on the {NAMES[op.device]}" for op in ops if _state(op) == "WRONG"]
    if wrong:
        return (
            f"Something is wrong: the kernel of {', '.join(wrong)} gives other numbers than "
            "PyTorch. STYLEGAN_OPS=reference does without kernels."
        )
    slow = {op.device for op in ops if op.needed and op.backend == "reference"}
    missing = [device for device in kernels if device in slow and kernels[device].fix]
    if slow and not any(op.faulty for op in ops):
        return "Works, but slowly: STYLEGAN_OPS=reference turns the kernels off. Unset it."
    if slow:
        device = (missing or sorted(slow))[0]
        row = kernels[device]
        why = row.found.removeprefix("none: ")
        fix = f". To fix: {row.fix}" if row.fix else ""
        return f"Works, but slowly on the {NAMES[device]}: {why}{fix}"
    unused = [row for row in tools if row.name in ("CUDA", "GPU") and row.fix]
    if unused:
        return f"Works, but without the GPU: {unused[0].found}. To fix: {unused[0].fix}"
    where = " and ".join(f"this {NAMES[device]}" for device in kernels)
    return f"Everything works: compiled kernels for {where}."
