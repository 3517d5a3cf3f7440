# SPDX-License-Identifier: Apache-2.0
"""`stylegan generate`: images from seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from stylegan.cli.params import (
    Numbers,
    Pair,
    finite,
    make_folder,
    network_argument,
    picture_options,
)
from stylegan.words import ceil_div

if TYPE_CHECKING:
    from stylegan.inference.pipeline import Pipeline

MAX_WEBP_SIDE = 16383  # px, the limit of the format
CHUNK = 64  # maximum number of images between two steps of the progress bar


@click.command("generate")
@network_argument
@click.option(
    "--seeds",
    type=Numbers(),
    default="0-15",
    show_default=True,
    help="Seeds of the images: numbers and ranges, 0,3,5-9.",
)
@picture_options()
@click.option(
    "--trunc-cutoff",
    type=click.IntRange(min=0),
    help="Truncate only this many leading layers.  [default: all]",
)
@click.option(
    "--translate",
    type=Pair(),
    metavar="X,Y",
    help="Move the image by these fractions of its size, to the right and down. StyleGAN3 only.",
)
@click.option(
    "--rotate",
    type=float,
    callback=finite,
    metavar="DEGREES",
    help="Rotate the image counter-clockwise around its centre, before it is moved. StyleGAN3 "
    "only.",
)
@click.option(
    "--grid", "as_grid", is_flag=True, help="Write one sheet instead of a file per image."
)
@click.option(
    "--columns",
    type=click.IntRange(min=1),
    help="Columns of the sheet.  [default: as many as rows]",
)
@click.option(
    "--format", "suffix", type=click.Choice(["png", "webp"]), default="png", show_default=True
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="Images at once.  [default: by resolution and memory]",
)
@click.option(
    "--compile",
    is_flag=True,
    help="Use torch.compile: faster for many images, after half a minute.",
)
@click.option(
    "--outdir",
    type=click.Path(file_okay=False),
    default="out",
    show_default=True,
    help="Folder of the images.",
)
def command(
    network: str,
    seeds: list[int],
    trunc: float,
    label: str | None,
    noise_mode: str,
    device: str,
    trunc_cutoff: int | None,
    translate: tuple[float, float] | None,
    rotate: float | None,
    as_grid: bool,
    columns: int | None,
    suffix: str,
    batch: int | None,
    compile: bool,
    outdir: str,
) -> None:
    """Generate images from NETWORK: a run, a snapshot, NVIDIA's .pkl or rosinality's .pt.

    \b
    stylegan generate runs --seeds 0-31 --trunc 0.7 --grid
    stylegan generate runs --translate 0.25,0 --rotate 30
    """
    from tqdm import tqdm

    import stylegan_ops
    from stylegan.imaging import grid, save_image
    from stylegan.inference.pipeline import Pipeline

    stylegan_ops.tune_cpu_allocator()
    pipe = Pipeline.from_pretrained(network, device, compile)
    folder = make_folder(outdir, "--outdir")
    columns = columns or min(len(seeds), max(round(len(seeds) ** 0.5), 1))
    if as_grid:
        _check_sheet(pipe, columns, len(seeds), suffix)
    metadata = _metadata(pipe, network, trunc, noise_mode, translate, rotate)
    sheet, size = [], min(batch or min(pipe.batch, CHUNK), len(seeds))
    with tqdm(total=len(seeds), unit="img", desc="generate", disable=None) as bar:
        for part in (seeds[i : i + size] for i in range(0, len(seeds), size)):
            out = pipe(
                part,
                label=label,
                truncation_psi=trunc,
                truncation_cutoff=trunc_cutoff,
                noise_mode=noise_mode,
                batch=size if compile else batch,
                translate=translate,
                rotate=rotate,
            )
            bar.update(len(part))
            if as_grid:
                sheet += out.images
                continue
            for seed, number, image in zip(part, out.labels, out.images):
                own = {**metadata, "seed": seed, **_class(pipe, number)}
                save_image(image, folder / f"seed{seed:04d}.{suffix}", own)
    if as_grid:
        metadata |= {"seeds": ",".join(map(str, seeds)), **({"class": label} if label else {})}
        save_image(grid(sheet, columns), folder / f"grid.{suffix}", metadata)
    images = "1 image" if len(seeds) == 1 else f"{len(seeds):,} images"
    click.echo(folder / f"grid.{suffix}" if as_grid else f"{images} in {folder}")


def _check_sheet(pipe: Pipeline, columns: int, count: int, suffix: str) -> None:
    """Raises: click.UsageError if the sheet is too large for its format."""
    height, width = pipe.G.config.resolution
    size = (columns * width, ceil_div(count, columns) * height)
    if suffix == "webp" and max(size) > MAX_WEBP_SIDE:
        raise click.UsageError(
            f"a WebP holds at most {MAX_WEBP_SIDE} px a side, the sheet has {size[0]}x{size[1]}; "
            "--format png does"
        )


def _metadata(
    pipe: Pipeline,
    network: str,
    trunc: float,
    noise_mode: str,
    translate: tuple[float, float] | None,
    rotate: float | None,
) -> dict[str, Any]:
    """What is saved inside of every image."""
    meta = pipe.networks.meta
    return {
        "network": network,
        **({"kimg": meta["kimg"]} if "kimg" in meta else {}),
        "trunc": trunc,
        "noise_mode": noise_mode,
        **({"translate": "{:g},{:g}".format(*translate)} if translate else {}),
        **({} if rotate is None else {"rotate": rotate}),
    }


def _class(pipe: Pipeline, number: int | None) -> dict[str, Any]:
    """The class of one image, by name if there are names."""
    if number is None:
        return {}
    names = pipe.networks.class_names
    return {"class": names[number] if names else number}
