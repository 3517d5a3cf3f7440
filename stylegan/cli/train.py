# SPDX-License-Identifier: Apache-2.0
"""`stylegan train`: from images to a network."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stylegan.cli.options import GroupedOption, SettingsCommand, given_settings
from stylegan.cli.params import here, use_settings_of

if TYPE_CHECKING:
    import torch

    from stylegan.config import Config
    from stylegan.data.dataset import ImageDataset
    from stylegan.training.loop import Trainer


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
    for name in ("path", "init_from"):  # a run may be resumed from another folder
        if os.path.exists(options.get(name) or ""):
            options[name] = os.path.abspath(options[name])
    if resume and resume != "auto" and "init_from" in options:
        raise click.UsageError("--init-from starts a new run, --resume continues one")
    if like and "init_from" not in options:
        raise click.UsageError("--like goes with --init-from")

    plan = _plan(preset_name, outdir, resume, device, options)
    _train(plan, outdir, dry_run)


def _train(plan: Plan, outdir: str, dry_run: bool) -> None:
    """Print the header and train. Exits with 1 if no snapshot was written, 130 after Ctrl-C."""
    import stylegan_ops
    from stylegan.runs.folder import new_run_dir
    from stylegan.snapshots import snapshots_of
    from stylegan.training.loop import Trainer
    from stylegan.training.setup import about, check_ops, configure_device, header

    config, dataset, device, run_dir = plan.config, plan.dataset, plan.device, plan.run_dir
    ops = config.train.ops
    configure_device(device, config.train.tf32)
    with stylegan_ops.backend(ops) if ops else nullcontext():
        check_ops(device)
        trainer = Trainer(config, dataset, device, run_dir)
        if plan.snapshot:
            trainer.resume(plan.snapshot)
        elif run_dir and not dry_run:
            trainer.resume_newest()
        click.echo("\n".join(header(config, dataset, trainer.model, device)))
        fresh = not plan.snapshot and not (run_dir and snapshots_of(run_dir))
        if config.train.init_from and fresh:
            click.echo("\n".join(["", *_transferred(trainer, config)]))
        if dry_run:
            return
        if not run_dir:
            height, width = dataset.resolution
            name = f"{dataset.name}-{width}x{height}"
            trainer.run_dir = new_run_dir(outdir, name, config, about(dataset, device))
        click.echo(f"folder  {trainer.run_dir}\n")
        last = trainer.run()
    with suppress(OSError):  # standard output on a full disk
        _print_end(trainer, last)
    sys.exit(trainer.interrupt.exit_code if last or trainer.interrupt.signal else 1)


def _transferred(trainer: Trainer, config: Config) -> list[str]:
    """Start with the weights of another network. Returns: a table of what fits."""
    from stylegan.training.transfer import transfer

    names = trainer.dataset.class_names if config.G.c_dim else ()
    return transfer(trainer.model, config.train.init_from or "", names)


def _print_end(trainer: Trainer, last: Path | None) -> None:
    at = f"at {trainer.kimg:g} of {trainer.config.train.kimg:g} kimg"
    hint = f"--resume {trainer.run_dir} continues"
    if last is None:
        click.echo(
            f"\nstopped {at}; no snapshot could be written; make space and start again", err=True
        )
        return
    if trainer.interrupt.signal:
        click.echo(f"\nstopped {at}; {hint}")
    elif trainer.late:
        click.echo(f"\nended by --minutes {trainer.config.train.minutes:g} {at}; {hint}")
    click.echo(f"\nsnapshot: {last}\nreport:   {trainer.run_dir / 'report.html'}")


@dataclass(frozen=True)
class Plan:
    """What to train, and what to continue."""

    config: Config
    dataset: ImageDataset
    device: torch.device
    run_dir: Path | None = None  # None: a new one
    snapshot: Path | None = None  # None: the newest of the run, if there is one


def _plan(
    preset_name: str | None,
    outdir: str,
    resume: str | None,
    device_name: str,
    options: dict[str, Any],
) -> Plan:
    import stylegan_ops
    from stylegan.device import resolve_device
    from stylegan.training.setup import fitted, open_data

    stylegan_ops.tune_cpu_allocator()
    device = resolve_device(device_name)
    if resume not in (None, "auto"):
        if preset_name:
            raise click.UsageError(
                "--preset does not go with --resume, which keeps the run's settings"
            )
        return _plan_resume(resume, device, options)
    config = _fresh(preset_name, device, options)
    dataset = open_data(config)
    if config.train.init_from:
        config = _like_source(config, dataset, options, preset_name)
    config = fitted(config, dataset)
    run_dir = None if resume is None else _find_run(outdir, config)
    return Plan(config, dataset, device, run_dir)


def _find_run(outdir: str, config: Config) -> Path | None:
    """The run that `--resume auto` continues. Exits if it is finished."""
    from stylegan.runs.resume import difference_table, find_run, kimg_of

    found = find_run(outdir, config)
    if found.newest:
        click.echo(f"resume auto: no run in {outdir} has these settings, so a new one begins;")
        click.echo("\n".join([*difference_table(found.newest, found.differences), ""]))
    if found.run_dir and kimg_of(found.run_dir) >= config.train.kimg:
        click.echo(f"{found.run_dir} is finished, at {kimg_of(found.run_dir):g} kimg")
        raise click.exceptions.Exit(0)
    return found.run_dir


def _plan_resume(resume: str, device: torch.device, options: dict[str, Any]) -> Plan:
    """How to continue the run or snapshot `resume`. Raises: UserError."""
    from stylegan.errors import UserError
    from stylegan.runs.resume import difference_table, differences, saved_config
    from stylegan.training.setup import fit_to_data

    saved = saved_config(resume)
    config, dataset = fit_to_data(_with_options(saved.config, options))
    rows = differences(saved.config, config)
    if rows:
        click.echo("\n".join(difference_table(resume, rows)), err=True)
        raise UserError(
            resume,
            "is a run with other settings (above); leave the options out to continue it, or start "
            "a new run from its networks with --init-from",
        )
    if saved.kimg >= config.train.kimg:
        raise UserError(
            resume,
            f"is at {saved.kimg:g} kimg and ends at {config.train.kimg:g}; --kimg with a larger "
            "number continues it",
        )
    return Plan(config, dataset, device, saved.run_dir, saved.snapshot)


def _fresh(name: str | None, device: torch.device, options: dict[str, Any]) -> Config:
    """The config of a new run."""
    from stylegan.config import preset

    if name is None:
        name = "auto" if "path" in options else "demo"
    if name == "demo" and device.type != "cpu":
        name = "demo64"
    if "kimg" in options:  # a given length lifts the demo's time limit
        options.setdefault("minutes", None)
    return _with_options(preset(name), options)


def _like_source(
    config: Config, dataset: ImageDataset, options: dict[str, Any], preset_name: str | None
) -> Config:
    """`config` with the structure of the network that it starts with, except for what `options`
    say. A preset of another model stays as it is."""
    from stylegan.config import preset
    from stylegan.networks import load_networks
    from stylegan.training.transfer.judgement import options_of
    from stylegan.training.transfer.settings import (
        preset_for,
        structural_differences,
        with_structure_of,
    )

    source = load_networks(config.train.init_from or "", "cpu").config
    if preset_for(source) != preset_for(config):
        if preset_name:
            return config
        config = _with_options(preset(preset_for(source)), options)
    before, config = config, with_structure_of(config, source, dataset.resolution)
    if rows := structural_differences(config, before):
        click.echo(f"structure of {config.train.init_from}: {options_of(rows)}")
    return _with_options(config, options)


def _with_options(config: Config, options: dict[str, Any]) -> Config:
    """`config` with the options of the command line."""
    names = {field.name for field in fields(config.data)}
    data = {name: value for name, value in options.items() if name in names}
    rest = {name: value for name, value in options.items() if name not in names}
    return replace(config, data=replace(config.data, **data)).with_fields(**rest)
