# SPDX-License-Identifier: Apache-2.0
"""`stylegan train`: from images to a network."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from stylegan.cli.options import GroupedOption, SettingsCommand, given_settings
from stylegan.cli.params import here, use_settings_of
from stylegan.words import short

if TYPE_CHECKING:
    from stylegan.training.session import TrainingResult


@click.command("train", cls=SettingsCommand, short_help="Train a network on images.")
@click.option(
    "--device",
    cls=GroupedOption,
    group="Training",
    default="auto",
    help="auto, cpu, cuda, cuda:1, mps.  [default: auto]",
)
@click.option(
    "--resume",
    cls=GroupedOption,
    group="Training",
    type=click.Path(),
    metavar="RUN|SNAPSHOT|auto",
    help="Continue exactly from the newest snapshot of a run, or from a snapshot; auto: the newest "
    "run in --outdir with these settings, or a new one.",
)
@click.option(
    "--outdir",
    cls=GroupedOption,
    type=click.Path(file_okay=False),
    default="runs",
    callback=here,
    help="Folder of the runs.  [default: runs]",
)
@click.option(
    "--like",
    cls=GroupedOption,
    group="Training",
    type=click.Path(),
    metavar="NETWORK",
    callback=use_settings_of,
    help="Network with the settings of the state dict that --init-from names.",
)
@click.option("--dry-run", cls=GroupedOption, is_flag=True, help="Print the header and stop.")
def command(
    preset_name: str | None,
    outdir: str,
    resume: str | None,
    device: str,
    dry_run: bool,
    like: str | None,
    **options: Any,
) -> None:
    """Train StyleGAN2 or StyleGAN3 on images; without options, on the embedded demo.

    \b
    stylegan train
    stylegan train --data photos.zip --resolution 256 --mirror
    stylegan train --data photos.zip --resolution 256 --cfg stylegan3-t
    stylegan train --resume runs/00000-photos-256x256

    Ctrl-C finishes the step, writes a snapshot and exits with 130 (SIGTERM: 143).

    Defaults are those of --preset auto; the demo and the other presets have their own. An option
    that both networks have, such as --channel-max, sets G and D alike. With --g- or --d- before its
    name it sets one of them: --g-channel-max 256.
    """
    options = given_settings(options)
    if resume and resume != "auto" and "init_from" in options:
        raise click.UsageError("--init-from starts a new run, --resume continues one")
    if like and "init_from" not in options:
        raise click.UsageError("--like goes with --init-from")
    if preset_name and resume not in (None, "auto"):
        raise click.UsageError("--preset does not go with --resume, which keeps the run's settings")
    _check_paths(options, resume)

    from stylegan.runs.resume import kimg_of
    from stylegan.training.plan import OtherSettings, Request, make_plan
    from stylegan.training.session import carry_out

    wanted = Request(options, preset_name, resume, outdir, device)
    try:
        plan = make_plan(wanted, click.echo)
    except OtherSettings as e:
        click.echo("\n".join(e.table), err=True)
        raise
    if plan.finished:
        at = kimg_of(plan.run_dir or "")
        click.echo(f"{plan.run_dir} is finished, at {short(at)} kimg")
        return
    result = carry_out(plan, click.echo, dry_run=dry_run)
    if result is None:
        return
    with suppress(OSError):  # standard output on a full disk
        _print_end(result, plan.config.train.minutes)
    sys.exit(result.exit_code)


def _check_paths(options: dict[str, Any], resume: str | None) -> None:
    """Refuse paths that do not exist before anything imports torch. Raises: UserError."""
    from stylegan.data.source import open_source
    from stylegan.snapshots import find_snapshot

    if not os.path.exists(options.get("path") or "."):
        open_source(options["path"])
    for network in (options.get("init_from"), resume):
        if network and network != "auto" and not os.path.exists(network):
            find_snapshot(network)


def _print_end(result: TrainingResult, minutes: float | None) -> None:
    at = f"at {short(result.kimg)} of {short(result.target_kimg)} kimg"
    hint = f"--resume {result.run_dir} continues"
    if result.snapshot is None:
        click.echo(
            f"\nstopped {at}; no snapshot could be written; make space and start again", err=True
        )
        return
    if result.ended == "signal":
        click.echo(f"\nstopped {at}; {hint}")
    elif result.ended == "minutes":
        click.echo(f"\nended by --minutes {minutes:g} {at}; {hint}")
    click.echo(f"\nsnapshot: {result.snapshot}\nreport:   {result.run_dir / 'report.html'}")
