# SPDX-License-Identifier: Apache-2.0
"""`stylegan spectra`: average power spectra of data sets and networks."""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path

import click

from stylegan.cli.outputs import output_file
from stylegan.cli.params import Size, device_option, finite
from stylegan.words import printable

PLOTS, NUMBERS = (".png", ".pdf", ".svg"), (".npz", ".json")


@click.command("spectra")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "--out",
    "outs",
    type=click.Path(dir_okay=False),
    multiple=True,
    default=["spectra.png"],
    show_default=True,
    help="A plot (.png, .pdf or .svg, needs the extra `plot`) or numbers (.npz: everything, "
    ".json: the slices). Repeat the option for several files.",
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Images of each source: a random subset of a data set, the first seeds of a network.",
)
@click.option(
    "--resolution",
    type=Size(),
    help="Crop and resize the images of data sets. Resizing changes their spectra.",
)
@click.option(
    "--trunc",
    type=float,
    default=1.0,
    show_default=True,
    callback=finite,
    help="Truncation psi of networks.",
)
@device_option
def command(
    sources: tuple[str, ...],
    outs: tuple[str, ...],
    images: int,
    resolution: tuple[int, int] | None,
    trunc: float,
    device: str,
) -> None:
    """Compare the average power spectra of SOURCEs: folders, zips or tars of images, and networks.

    The spectra are windowed and averaged over images and channels, in dB. Transparent images are
    composited on white. Images of a network are rounded to 8 bits, like those of a data set.

    \b
    stylegan spectra photos.zip runs --out spectra.png --out spectra.npz
    """
    paths = list({Path(out).resolve(): Path(out) for out in outs}.values())
    for path in paths:
        _check_suffix(path)
    from tqdm import tqdm

    import stylegan_ops
    from stylegan.metrics.pictures import on_white, open_pictures
    from stylegan.metrics.spectra import SpectrumMeter
    from stylegan.metrics.spectra_files import plot, save_numbers

    stylegan_ops.tune_cpu_allocator()
    sources = tuple(dict.fromkeys(sources))
    opened = [open_pictures(source, images, resolution, trunc, device) for source in sources]
    spectra = {}
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(output_file(path, "--out")) for path in paths]
        for name, pictures in zip(_names(sources), opened):
            meter = SpectrumMeter()
            with tqdm(total=pictures.count, unit="img", desc=name, disable=None) as bar:
                for batch in pictures.batches:
                    meter.add(on_white(batch))
                    bar.update(len(batch))
            spectra[name] = meter.result()
        for part in parts:
            (plot if part.suffix in PLOTS else save_numbers)(spectra, part)
    click.echo("\n".join(map(str, paths)))


def _check_suffix(path: Path) -> None:
    """Raises: click.UsageError if no such file can be written here."""
    if path.suffix not in PLOTS + NUMBERS:
        suffixes = f"{', '.join(PLOTS + NUMBERS[:-1])} or {NUMBERS[-1]}"
        raise click.BadParameter(
            f"expected a name that ends in {suffixes}, got {path}", param_hint="--out"
        )
    if path.suffix in PLOTS and importlib.util.find_spec("matplotlib") is None:
        raise click.UsageError(
            f"{path}: a plot needs matplotlib, pip install 'stylegan[plot]'; "
            "--out spectra.npz does not"
        )


def _names(sources: tuple[str, ...]) -> list[str]:
    """A different name for each source: that of its file or folder, or else its path."""
    names = [printable(Path(source).resolve().name) for source in sources]
    if len(set(names)) < len(names):
        return [printable(source) for source in sources]
    return names
