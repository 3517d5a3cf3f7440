# SPDX-License-Identifier: Apache-2.0
"""`stylegan spectra`: average power spectra of data sets and networks."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stylegan.cli.drawing import Asked, asked_options, note
from stylegan.cli.outputs import check_free, output_file, overwrite_option
from stylegan.cli.params import Command, check_sources, device_option, range_option
from stylegan.cli.provenance import made_by
from stylegan.cli.values import Size, finite
from stylegan.words import pixels, printable

if TYPE_CHECKING:
    from stylegan.metrics.pictures import PictureStream
    from stylegan.metrics.spectra import Spectrum

PLOTS, NUMBERS = (".png", ".pdf", ".svg"), (".npz", ".json")


@click.command("spectra", cls=Command, short_help="Compare the frequencies of images and networks.")
@click.argument("sources", metavar="SOURCE...", type=click.Path(), nargs=-1, required=True)
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
@range_option
@click.option(
    "--trunc",
    type=float,
    default=1.0,
    show_default=True,
    callback=finite,
    help="Truncation psi of networks.",
)
@asked_options
@click.option(
    "--batch", type=click.IntRange(min=1), help="Images at once.  [default: by resolution]"
)
@device_option
@overwrite_option
def command(
    sources: tuple[str, ...],
    outs: tuple[str, ...],
    images: int,
    resolution: tuple[int, int] | None,
    value_range: tuple[float, float] | None,
    trunc: float,
    batch: int | None,
    device: str,
    overwrite: bool,
    **options: Any,
) -> None:
    """Compare the average power spectra of SOURCEs: folders, zips or tars of images, and networks.

    The spectra are windowed and averaged over images and channels, in dB. Transparent images are
    composited on white. Images of a network are rounded to 8 bits, like those of a data set.

    \b
    stylegan spectra photos.zip runs --out spectra.png --out spectra.npz
    stylegan spectra runs --label glasses --trunc 0.7
    """
    check_sources(sources)
    paths = list({Path(out).resolve(): Path(out) for out in outs}.values())
    for path in paths:
        _check_suffix(path)
    check_free(paths, overwrite, "--out")
    import stylegan_ops
    from stylegan.metrics.pictures import open_pictures

    stylegan_ops.tune_cpu_allocator()
    sources = tuple(dict.fromkeys(sources))
    asked = Asked(**options)

    def opened_as(source: str) -> PictureStream:
        choose = lambda networks: asked.of(networks, source)
        how: Any = {"center": asked.trunc_center, "choose": choose}
        return open_pictures(source, images, resolution, trunc, device, batch, value_range, **how)

    opened = [opened_as(source) for source in sources]
    given = [*(["--trunc"] if trunc != 1 else []), *asked.given]
    _print_notes(opened, given, resolution)
    streams = dict(zip(_names(sources), opened))
    about = {}
    for (name, stream), source in zip(streams.items(), sources):
        drawn = asked.about(stream.networks, trunc) if stream.networks else {}
        about[name] = _about(source, stream, drawn, resolution)
    spectra: dict[str, Spectrum] = {}
    interrupted = None
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(output_file(path, "--out")) for path in paths]
        try:
            for name, pictures in streams.items():
                spectra[name] = _measure(name, pictures)
                _print_used(name, pictures)
        except KeyboardInterrupt as e:
            interrupted = e
        if interrupted and not spectra:
            raise interrupted
        for part in parts:
            _write(spectra, {name: about[name] for name in spectra}, part)
    click.echo("\n".join(map(str, paths)))
    if interrupted:
        raise interrupted


def _measure(name: str, pictures: PictureStream) -> Spectrum:
    from stylegan.bars import Bar
    from stylegan.metrics.pictures import on_white
    from stylegan.metrics.spectra import SpectrumMeter

    meter = SpectrumMeter()
    with Bar(total=pictures.count, unit="img", desc=name) as bar:
        for batch in pictures.batches:
            meter.add(on_white(batch))
            bar.update(len(batch))
    return meter.result()


def _write(spectra: Mapping[str, Spectrum], about: Mapping[str, Any], path: Path) -> None:
    from stylegan.metrics.spectra_files import plot, save_numbers

    (plot if path.suffix.lower() in PLOTS else save_numbers)(spectra, path, about)


def _about(
    source: str,
    pictures: PictureStream,
    drawn: Mapping[str, Any],
    resolution: tuple[int, int] | None,
) -> dict[str, Any]:
    """How a spectrum was made. Args: drawn: options of networks."""
    options = {"images": pictures.count}
    if pictures.networks is not None:
        return made_by("spectra", source, pictures.networks, {**options, **drawn})
    size = {"resolution": pixels(resolution)} if resolution else {}
    return {"command": "spectra", "data": source, **options, **size}


def _print_notes(
    opened: list[PictureStream],
    given: Sequence[str],
    resolution: tuple[int, int] | None,
) -> None:
    """Print which options have no effect on the sources. Args: given: options of networks."""
    networks = [pictures.networks is not None for pictures in opened]
    if given and not any(networks):
        have = "has" if len(given) == 1 else "have"
        note(f"{', '.join(given)} {have} no effect without a network")
    if resolution and all(networks):
        note("--resolution has no effect on networks")


def _print_used(name: str, pictures: PictureStream) -> None:
    """Which images of a data set were measured, on standard error."""
    if pictures.files is None:
        return
    used = pictures.count - len(pictures.unused)
    lines = [f"{used:,} of {pictures.files:,} images"]
    lines += [f"made by {pictures.made}"] if pictures.made else []
    lines += [f"values: {pictures.values}"] if pictures.values else []
    lines += [f"note: {note}" for note in pictures.notes]
    lines += [f"not used: {problem}" for problem in pictures.unused]
    for line in lines:
        click.echo(printable(f"{name}: {line}"), err=True)


def _check_suffix(path: Path) -> None:
    """Raises: click.UsageError if no such file can be written here."""
    if path.suffix.lower() not in PLOTS + NUMBERS:
        suffixes = f"{', '.join(PLOTS + NUMBERS[:-1])} or {NUMBERS[-1]}"
        raise click.BadParameter(
            f"expected a name that ends in {suffixes}, got {path}", param_hint="--out"
        )
    if path.suffix.lower() in PLOTS and importlib.util.find_spec("matplotlib") is None:
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
