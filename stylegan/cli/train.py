# SPDX-License-Identifier: Apache-2.0
"""`stylegan train`: from images to a network."""

import click

from stylegan.cli.params import Size, device_option
from stylegan.presets import PRESETS

# Settings that may differ from those of the run that is resumed: how long, how often, how. (With
# another batch_gpu the random draws come in another order.)
FREE_ON_RESUME = (
    "kimg",
    "minutes",
    "batch_gpu",
    "workers",
    "snapshot_kimg",
    "grid_kimg",
    "tick_kimg",
    "tf32",
    "ops",
)

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
    type=click.Choice(list(PRESETS)),
    help="Settings to start from. Default: auto, or demo without --data.",
)
@click.option(
    "--resolution",
    type=Size(),
    help="Crop and resize images, 256 or 640x480. Default: their own size.",
)
@click.option(
    "--channels",
    type=click.Choice(["1", "3", "4"]),
    help="Grey, RGB or RGBA. Default: as the first image.",
)
@click.option("--cond/--no-cond", default=None, help="Train on the labels.")
@click.option("--mirror/--no-mirror", default=None, help="Show images flipped half of the time.")
@click.option("--workers", type=click.IntRange(min=0), help="Loader processes.")
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
@click.option("--g-architecture", type=click.Choice(["skip", "resnet", "orig"]))
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
@click.option("--grid-kimg", type=positive, help="Between sample grids.")
@click.option("--tick-kimg", type=positive, help="Between lines of the log.")
@click.option("--outdir", type=click.Path(file_okay=False), default="runs", show_default=True)
@click.option(
    "--resume",
    type=click.Path(),
    metavar="RUN|SNAPSHOT",
    help="Go on from the newest snapshot of a run, or from a snapshot.",
)
@device_option
@click.option("--dry-run", is_flag=True, help="Print the header and stop.")
def command(preset, outdir, resume, device, dry_run, **options):
    """Train StyleGAN2 on images; without options, on the embedded demo.

    \b
    stylegan train
    stylegan train --data photos.zip --resolution 256 --mirror
    stylegan train --resume runs/00000-photos
    """
    options = {name: value for name, value in options.items() if value is not None}
    if "channels" in options:
        options["channels"] = int(options["channels"])
    if "minutes" in options:
        options["minutes"] = options["minutes"] or None

    from contextlib import nullcontext

    import stylegan_ops
    from stylegan.device import resolve_device
    from stylegan.training.checkpoint import new_run_dir
    from stylegan.training.setup import check_ops, configure_device, fit_to_data, header
    from stylegan.training.trainer import Trainer

    device = resolve_device(device)
    if resume:
        config, run_dir, snapshot = _resumed(resume, preset, options)
    else:
        config, run_dir, snapshot = _fresh(preset, device, options), None, None
    ops = config.train.ops
    config, dataset = fit_to_data(config)
    configure_device(device, config.train.tf32)
    with stylegan_ops.backend(ops) if ops else nullcontext():
        check_ops(device)
        trainer = Trainer(config, dataset, device)
        if snapshot:
            trainer.resume(snapshot)
        click.echo("\n".join(header(config, dataset, trainer.model, device)))
        if dry_run:
            return
        height, width = dataset.resolution
        trainer.run_dir = run_dir or new_run_dir(outdir, f"{dataset.name}-{width}x{height}")
        click.echo(f"folder  {trainer.run_dir}\n")
        snapshot = trainer.run()
        if trainer.late:
            click.echo(
                f"\nended by --minutes {config.train.minutes:g} at {trainer.kimg:g} of "
                f"{config.train.kimg:g} kimg; --resume {trainer.run_dir} goes on"
            )
        click.echo(f"\nsnapshot: {snapshot}")


def _fresh(name, device, options):
    """The config of a new run."""
    from stylegan.presets import preset

    if name is None:
        name = "auto" if "path" in options else "demo"
    if name == "demo" and device.type != "cpu":
        name = "demo64"
    if "kimg" in options:  # who says how many images does not want the demo's time limit
        options.setdefault("minutes", None)
    return _with_options(preset(name), options)


def _resumed(path, preset, options):
    """(config, run folder, snapshot) of a run to go on with; a snapshot that is not the newest
    of a run has no run folder: it becomes a run of its own."""
    from stylegan.errors import UserError
    from stylegan.networks import load_networks, snapshots_of

    if preset:
        raise click.UsageError("--preset does not go with --resume, which keeps the run's settings")
    nets = load_networks(path, "cpu")
    wanted = _with_options(nets.config, options)
    for part, kept in nets.config.to_dict().items():
        for name, value in kept.items():
            new = wanted.to_dict()[part][name]
            if new != value and name not in (*FREE_ON_RESUME, "path"):
                raise UserError(
                    f"--{name.replace('_', '-')} {new}: the run to resume has {value}; "
                    "leave the option out, or start a new run"
                )
    if nets.meta["kimg"] >= wanted.train.kimg:
        raise UserError(
            f"{path} is at {nets.meta['kimg']:g} kimg and ends at {wanted.train.kimg:g}; "
            "--kimg with a larger number goes on"
        )
    run_dir = nets.folder.parent.parent
    newest = nets.folder in snapshots_of(run_dir)[-1:]
    return wanted, run_dir if newest else None, nets.folder


def _with_options(config, options):
    """`config` with the options of the command line in their places."""
    from dataclasses import replace

    data_names = ("path", "resolution", "channels", "cond", "mirror", "workers")
    data = {name: options[name] for name in data_names if name in options}
    rest = {name: value for name, value in options.items() if name not in data}
    return replace(config, data=replace(config.data, **data)).with_fields(**rest)
