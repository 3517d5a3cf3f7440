# SPDX-License-Identifier: Apache-2.0
"""`stylegan doctor`: whether the kernels work here, and how to fix them if not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stylegan.cli.params import Command
from stylegan.threads import describe_threads

if TYPE_CHECKING:
    from stylegan_ops.doctor import Row


@click.command("doctor", cls=Command, short_help="Check, build and explain the kernels.")
@click.option("--clean", is_flag=True, help="Only empty the cache of built kernels.")
def command(clean: bool) -> None:
    """Show what the kernels need, build them if they are missing, and check each one.

    Exits with 1 if a kernel that should work here does not.

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
    to_fix: list[Row] = []
    for row in doctor.tools():
        _show(row, to_fix)
    threads = describe_threads()
    _show(doctor.Row("threads", str(threads), threads.fix), to_fix)
    for device in doctor.devices():
        _show(doctor.loaded(device), to_fix)
    click.echo()
    failed = False
    for h in doctor.health():
        state = "WRONG" if h.faulty and h.backend == "native" else h.backend
        click.echo(f"{h.op:18} {h.device:5} {state:10} {h.found}")
        failed = failed or h.faulty
    if to_fix:
        click.echo("\nto fix:")
        for row in to_fix:
            click.echo(f"  {row.name + ':':12} {row.fix}")
    if failed:
        raise SystemExit(1)


def _show(row: Row, to_fix: list[Row]) -> None:
    click.echo(f"{row.name:12} {row.found}")
    if row.fix:
        to_fix.append(row)
