# SPDX-License-Identifier: Apache-2.0
"""stylegan doctor: what is there, what is missing, and how to mend it."""

import click


@click.command("doctor")
@click.option("--clean", is_flag=True, help="Empty the cache of built kernels, and stop.")
def command(clean):
    """Show what the kernels need and whether they work; build them where they are missing.

    Exits with 1 if a kernel that should work here does not.

    \b
    stylegan doctor                       after an installation, or when something is slow
    stylegan doctor --clean               to build everything anew
    """
    from stylegan_ops import _cache, _doctor

    if clean:
        try:
            folder, size = _cache.clean()
        except _cache.Unwritable as e:
            raise click.ClickException(str(e)) from e
        click.echo(f"{folder}: {size / 1e6:.1f} MB freed")
        return
    mends = []
    for row in _doctor.tools():
        _show(row, mends)
    for device in _doctor.devices():
        _show(_doctor.loaded(device), mends)
    click.echo()
    ill = False
    for h in _doctor.health():
        what = "WRONG" if h.ill and h.backend == "native" else h.backend
        click.echo(f"{h.op:18} {h.device:5} {what:10} {h.found}")
        ill = ill or h.ill
    if mends:
        click.echo("\nto mend:")
        for row in mends:
            click.echo(f"  {row.name + ':':12} {row.mend}")
    if ill:
        raise SystemExit(1)


def _show(row, mends):
    click.echo(f"{row.name:12} {row.found}")
    if row.mend:
        mends.append(row)
