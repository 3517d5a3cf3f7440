# SPDX-License-Identifier: Apache-2.0
"""`stylegan dataset`: pictures to a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stylegan.cli.outputs import overwrite_option
from stylegan.cli.params import Command, check_folder, range_option
from stylegan.cli.values import Size
from stylegan.words import pixels, printable

if TYPE_CHECKING:
    from stylegan.data.preparation import Prepared


@click.command(
    "dataset", cls=Command, short_help="Make a data set of your images: one size, one format."
)
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
    help="Grey, RGB or RGBA; auto: whichever most images have.",
)
@range_option
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["keep", "png", "jpeg", "webp"]),
    default="keep",
    show_default=True,
    help="Of the files written. keep: the bytes of an image that needs no change, without its "
    "metadata, else PNG. PNG and WebP lose nothing.",
)
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    help="Of JPEG, and of WebP, which then loses detail too.  [default: JPEG 95, WebP lossless]",
)
@click.option("--labels/--no-labels", default=True, show_default=True, help="Keep the labels.")
@click.option("--dedupe", is_flag=True, help="Leave out images with the pixels of an earlier one.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes. Default: one per CPU.")
@click.option(
    "--zip-encoding",
    metavar="NAME",
    help="Encoding of file names that are not marked as UTF-8: gbk, shift_jis, cp437. "
    "Default: a guess.",
)
@overwrite_option
def command(
    source: str,
    dest: str,
    channels: str,
    file_format: str,
    quality: int | None,
    **options: Any,
) -> None:
    """Make a data set of the images in SOURCE, a folder, zip or tar.

    DEST is a zip or a tar if it ends in .zip or .tar, else a folder. All its images have one size,
    and dataset.json has their labels. Colours become sRGB.

    \b
    stylegan dataset photos photos.zip --resolution 256
    stylegan dataset scans wide.zip --resolution 640x384 --transform pad --channels 1

    A folder per class, or a dataset.json, gives labels. Files that cannot be used are left out and
    listed.
    """
    check_folder(Path(dest).parent, "DEST")
    from stylegan.bars import Bar
    from stylegan.data.pixels.encode import Encoding
    from stylegan.data.preparation import prepare
    from stylegan.errors import LabelError

    try:
        done = prepare(
            source,
            dest,
            size=options.pop("resolution"),
            channels=None if channels == "auto" else int(channels),
            encoding=Encoding(file_format, quality),
            progress=lambda names: Bar(names, unit="img", desc="dataset"),
            **options,
        )
    except LabelError as e:
        raise LabelError(e.subject, f"{e.why}; --no-labels leaves the labels out") from e
    _print_result(done)


def _print_result(done: Prepared) -> None:
    from stylegan.data.decode import KINDS
    from stylegan.data.survey import OtherFiles

    if done.failures:
        names = [printable(failure.name) for failure in done.failures]
        width = min(max(map(len, names)), 60)
        click.echo(f"\nnot used, {len(names):,}:")
        for name, failure in zip(names, done.failures):
            click.echo(f"  {name:{width}}  {failure.why}")
    if done.ignored:
        click.echo(f"\nno images: {OtherFiles([], done.ignored)}")
    if done.duplicates:
        click.echo(f"\nduplicates left out: {done.duplicates:,}")
    if done.deep:
        click.echo(f"\nvalues: {done.deep}")
    for note in (*done.notes, *done.changes):
        click.echo(f"\nnote: {printable(note)}")
    _check_size(done.size)
    labels = f", {len(done.class_names)} classes" if done.class_names else ""
    labels = labels or (", label vectors" if done.labelled else "")
    kind = KINDS[done.channels]
    click.echo(f"\nfiles: {_files(done)}")
    size = pixels(done.size)
    click.echo(f"\n{done.path}: {done.written:,} images, {size} px, {kind}{labels}")


def _files(done: Prepared) -> str:
    """How many files of which format were written, and how many of them are those of the source."""
    formats = ", ".join(f"{n:,} {ending}" for ending, n in done.formats.most_common())
    if not done.kept:
        return formats
    return f"{formats}; {done.kept:,} with the bytes of the source, without metadata"


def _check_size(size: tuple[int, int]) -> None:
    from stylegan.errors import UserError
    from stylegan.models.sizes import block_resolutions

    try:
        block_resolutions(size)
    except UserError as e:
        click.echo(f"\nnote: training will ask for another --resolution: {e}")
