# SPDX-License-Identifier: Apache-2.0
"""`stylegan dataset`: pictures to a data set."""

import click

from stylegan.cli.params import Size
from stylegan.words import printable


@click.command()
@click.argument("source", type=click.Path())
@click.argument("dest", type=click.Path())
@click.option(
    "--resolution",
    type=Size(),
    help="Size of all images, 256 or 640x480 (width x height). Default: their own, if all agree.",
)
@click.option(
    "--transform",
    type=click.Choice(["center-crop", "center-crop-wide", "fit", "pad"]),
    default="center-crop",
    show_default=True,
    help="How an image gets the size: its middle; its middle in the wide shape on a black square; "
    "all of it, stretched; all of it, with a border.",
)
@click.option(
    "--channels",
    type=click.Choice(["auto", "1", "3", "4"]),
    default="auto",
    show_default=True,
    help="Grey, RGB or RGBA; auto: as most images.",
)
@click.option("--labels/--no-labels", default=True, show_default=True, help="Keep the labels.")
@click.option("--dedupe", is_flag=True, help="Leave out images whose pixels were there before.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes. Default: one per CPU.")
@click.option("--overwrite", is_flag=True, help="Replace a data set at DEST.")
def command(source, dest, channels, **options):
    """Make a data set of the images in SOURCE (folder or zip): all of one size, as DEST (a folder,
    or a zip if it ends so), with dataset.json for the labels.

    \b
    stylegan dataset photos photos.zip --resolution 256
    stylegan dataset scans wide.zip --resolution 640x384 --transform pad --channels 1

    A folder per class, or a dataset.json, gives labels. What cannot be used is left out and named.
    """
    from tqdm import tqdm

    from stylegan.data.prepare import prepare

    done = prepare(
        source,
        dest,
        size=options.pop("resolution"),
        channels=None if channels == "auto" else int(channels),
        progress=lambda names: tqdm(names, unit="img", desc="dataset", disable=None),
        **options,
    )
    _say(done)


def _say(done):
    from stylegan.data.decode import KINDS

    if done.failures:
        names = [printable(name) for name, _ in done.failures]
        width = min(max(map(len, names)), 60)
        click.echo(f"\nnot used, {len(names):,}:")
        for name, (_, why) in zip(names, done.failures):
            click.echo(f"  {name:{width}}  {why}")
    if done.ignored:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in done.ignored.most_common(8))
        click.echo(f"\nno images: {kinds}")
    if done.duplicates:
        click.echo(f"\nduplicates left out: {done.duplicates:,}")
    height, width = done.size
    if done.enlarged:
        click.echo(f"\nnote: {done.enlarged:,} images were smaller than {width}x{height} px")
    _check_size(done.size)
    labels = f", {len(done.class_names)} classes" if done.class_names else ""
    labels = labels or (", label vectors" if done.labelled else "")
    kind = KINDS[done.channels]
    click.echo(f"\n{done.path}: {done.written:,} images, {width}x{height} px, {kind}{labels}")


def _check_size(size):
    from stylegan.errors import UserError
    from stylegan.models.sizes import block_resolutions

    try:
        block_resolutions(size)
    except UserError as e:
        click.echo(f"\nnote: training will ask for another --resolution: {e}")
