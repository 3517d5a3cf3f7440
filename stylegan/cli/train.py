# SPDX-License-Identifier: Apache-2.0
"""`stylegan train`: from images to a network."""

import os
import sys

import click

from stylegan.cli.params import Size, device_option
from stylegan.config import PRESETS

positive = click.FloatRange(min=0, min_open=True)
count = click.IntRange(min=1)


@click.command()
@click.option(
    "--data",
    "path",
    type=click.Path(),
    metavar="PATH",
    help="Folder or zip of images; nested folders count. Default: the embedded demo.",
)
@click.option(
    "--preset",
    "--cfg",
    "preset",
    type=click.Choice(list(PRESETS)),
    help="Settings to start from, with their model: StyleGAN2, or StyleGAN3 (-t: details move with "
    "the picture; -r: turn with it too). Default: auto, or demo without --data.",
)
@click.option(
    "--resolution",
    type=Size(),
    help="Crop and resize images, 256 or 640x480. Default: their own size.",
)
@click.option(
    "--channels",
    type=click.Choice(["auto", "1", "3", "4"]),
    help="Grey, RGB or RGBA. Default: auto, as most images.",
)
@click.option("--cond/--no-cond", default=None, help="Train on the labels.")
@click.option("--mirror/--no-mirror", default=None, help="Show images flipped half of the time.")
@click.option("--max-images", type=count, help="Train on a random subset of this many.")
@click.option("--workers", type=click.IntRange(min=0), help="Loader processes; 0: none.")
@click.option("--kimg", type=positive, help="Length of the run in thousands of images.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    help="End after this long, if that comes first; 0: no limit.",
)
@click.option("--batch", type=count, help="Images per step.")
@click.option(
    "--batch-gpu", type=count, help="Images at once; the rest of the batch is accumulated."
)
@click.option("--loss", type=click.Choice(["nonsaturating", "saturating"]))
@click.option(
    "--r1-gamma",
    "--gamma",
    "r1_gamma",
    type=click.FloatRange(min=0),
    help="Weight of the R1 penalty.",
)
@click.option("--pl-weight", type=click.FloatRange(min=0), help="Weight of path length; 0: none.")
@click.option("--style-mixing", type=click.FloatRange(0, 1), help="Its probability.")
@click.option("--g-lr", type=positive, help="Adam's step for G.")
@click.option("--d-lr", type=positive, help="Adam's step for D.")
@click.option("--ema-kimg", type=positive, help="Half-life of the average of G, in kimg.")
@click.option("--channel-base", type=count, help="Capacity: channels times resolution.")
@click.option("--channel-max", type=count, help="Most channels of a layer.")
@click.option("--mapping-layers", type=count, help="Layers from z to w.")
@click.option(
    "--g-architecture", type=click.Choice(["skip", "resnet", "orig"]), help="Of StyleGAN2."
)
@click.option("--d-architecture", type=click.Choice(["resnet", "skip", "orig"]))
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    help="Of the highest resolutions. auto: float16 on CUDA, float32 elsewhere.",
)
@click.option("--tf32/--no-tf32", default=None, help="TensorFloat-32 on CUDA.")
@click.option(
    "--ops", type=click.Choice(["auto", "native", "reference"]), help="Backend of the ops."
)
@click.option("--seed", type=click.IntRange(min=0, max=2**31 - 1), help="Of the whole run.")
@click.option("--snapshot-kimg", type=positive, help="Between snapshots.")
@click.option(
    "--snapshot-minutes",
    type=click.FloatRange(min=0),
    help="Between snapshots at most; 0: by --snapshot-kimg alone.  [default: 15]",
)
@click.option(
    "--keep", type=click.IntRange(min=0), help="Snapshots to keep; 0: all.  [default: 10]"
)
@click.option("--grid-kimg", type=positive, help="Between sample grids.")
@click.option("--tick-kimg", type=positive, help="Between lines of the log.")
@click.option("--outdir", type=click.Path(file_okay=False), default="runs", show_default=True)
@click.option(
    "--resume",
    type=click.Path(),
    metavar="RUN|SNAPSHOT|auto",
    help="Go on exactly from the newest snapshot of a run, or from a snapshot; auto: the newest "
    "run in --outdir with these settings, or a new one.",
)
@click.option(
    "--init-from",
    type=click.Path(),
    metavar="NETWORK",
    help="Begin with the weights of another network where they fit (transfer).",
)
@device_option
@click.option("--dry-run", is_flag=True, help="Print the header and stop.")
def command(preset, outdir, resume, device, dry_run, **options):
    """Train StyleGAN2 or StyleGAN3 on images; without options, on the embedded demo.

    \b
    stylegan train
    stylegan train --data photos.zip --resolution 256 --mirror
    stylegan train --data photos.zip --resolution 256 --cfg stylegan3-t
    stylegan train --resume runs/00000-photos

    Ctrl-C finishes the step, writes a snapshot and exits with 130 (SIGTERM: 143).
    """
    options = {name: value for name, value in options.items() if value is not None}
    if "channels" in options:
        options["channels"] = None if options["channels"] == "auto" else int(options["channels"])
    for name in ("path", "init_from"):  # a run may go on from another folder
        if os.path.exists(options.get(name, "")):
            options[name] = os.path.abspath(options[name])
    for name in ("minutes", "snapshot_minutes", "keep"):  # 0 is none
        if name in options:
            options[name] = options[name] or None
    if resume and resume != "auto" and "init_from" in options:
        raise click.UsageError("--init-from begins a new run, --resume goes on with one")

    from contextlib import nullcontext, suppress

    import stylegan_ops
    from stylegan.device import resolve_device
    from stylegan.networks import snapshots_of
    from stylegan.runs.folder import new_run_dir
    from stylegan.training.loop import Trainer
    from stylegan.training.setup import about, check_ops, configure_device, header
    from stylegan.training.transfer import transfer

    stylegan_ops.tune_cpu_allocator()
    device = resolve_device(device)
    config, dataset, run_dir, snapshot = _plan(preset, outdir, resume, device, options)
    ops = config.train.ops
    configure_device(device, config.train.tf32)
    with stylegan_ops.backend(ops) if ops else nullcontext():
        check_ops(device)
        trainer = Trainer(config, dataset, device, run_dir)
        if snapshot:
            trainer.resume(snapshot)
        elif run_dir and not dry_run:
            trainer.resume_newest()
        click.echo("\n".join(header(config, dataset, trainer.model, device)))
        begins = not snapshot and not (run_dir and snapshots_of(run_dir))
        if config.train.init_from and begins:
            click.echo("\n".join(["", *transfer(trainer.model, config.train.init_from)]))
        if dry_run:
            return
        if not run_dir:
            height, width = dataset.resolution
            name = f"{dataset.name}-{width}x{height}"
            trainer.run_dir = new_run_dir(outdir, name, config, about(dataset, device))
        click.echo(f"folder  {trainer.run_dir}\n")
        last = trainer.run()
    with suppress(OSError):  # standard output on a full disk
        _say_how_it_ended(trainer, last)
    sys.exit(trainer.interrupt.exit_code if last or trainer.interrupt.signal else 1)


def _say_how_it_ended(trainer, last):
    at = f"at {trainer.kimg:g} of {trainer.config.train.kimg:g} kimg"
    go_on = f"--resume {trainer.run_dir} goes on"
    if trainer.interrupt.signal:
        click.echo(f"\nstopped {at}; {go_on}")
    elif trainer.late:
        click.echo(f"\nended by --minutes {trainer.config.train.minutes:g} {at}; {go_on}")
    if last is None:
        click.echo("\nno snapshot could be written", err=True)
    else:
        click.echo(f"\nsnapshot: {last}\nreport:   {trainer.run_dir / 'report.html'}")


def _plan(preset, outdir, resume, device, options):
    """(config, data set, run folder, snapshot): what to train, and what to go on with. Without a
    run folder a new one is made; without a snapshot the newest of the run is taken."""
    from stylegan.errors import UserError
    from stylegan.runs import resume as old
    from stylegan.training.setup import fit_to_data

    if resume in (None, "auto"):
        config, dataset = fit_to_data(_fresh(preset, device, options))
        if resume is None:
            return config, dataset, None, None
        run_dir, nearest = old.find_run(outdir, config)
        if run_dir is None and nearest:
            click.echo(f"resume auto: no run in {outdir} has these settings, so a new one begins;")
            click.echo("\n".join([*old.difference_table(*nearest), ""]))
        if run_dir and old.kimg_of(run_dir) >= config.train.kimg:
            click.echo(f"{run_dir} is finished, at {old.kimg_of(run_dir):g} kimg")
            raise click.exceptions.Exit(0)
        return config, dataset, run_dir, None
    if preset:
        raise click.UsageError("--preset does not go with --resume, which keeps the run's settings")
    saved, run_dir, snapshot, kimg = old.saved_config(resume)
    config, dataset = fit_to_data(_with_options(saved, options))
    rows = old.differences(saved, config)
    if rows:
        click.echo("\n".join(old.difference_table(resume, rows)), err=True)
        raise UserError(
            resume,
            "is a run with other settings (above); leave the options out to continue it, or start "
            "a new run from its networks with --init-from",
        )
    if kimg >= config.train.kimg:
        raise UserError(
            resume,
            f"is at {kimg:g} kimg and ends at {config.train.kimg:g}; --kimg with a larger number "
            "continues it",
        )
    return config, dataset, run_dir, snapshot


def _fresh(name, device, options):
    """The config of a new run."""
    from stylegan.config import preset

    if name is None:
        name = "auto" if "path" in options else "demo"
    if name == "demo" and device.type != "cpu":
        name = "demo64"
    if "kimg" in options:  # who says how many images does not want the demo's time limit
        options.setdefault("minutes", None)
    return _with_options(preset(name), options)


def _with_options(config, options):
    """`config` with the options of the command line in their places."""
    from dataclasses import fields, replace

    names = {field.name for field in fields(config.data)}
    data = {name: value for name, value in options.items() if name in names}
    rest = {name: value for name, value in options.items() if name not in names}
    return replace(config, data=replace(config.data, **data)).with_fields(**rest)
