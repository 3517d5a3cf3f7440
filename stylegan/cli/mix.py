# SPDX-License-Identifier: Apache-2.0
"""`stylegan mix`: a style mixing grid."""

from __future__ import annotations

from pathlib import Path

import click

from stylegan.cli.params import Numbers, make_folder, network_argument, picture_options


@click.command("mix")
@network_argument
@click.option("--rows", type=Numbers(), default="0-3", show_default=True, help="Seeds of the rows.")
@click.option(
    "--columns", type=Numbers(), default="4-9", show_default=True, help="Seeds of the columns."
)
@click.option(
    "--layers",
    type=Numbers(),
    default="0-3",
    show_default=True,
    help="Layers whose style comes from the column: low numbers are coarse, high ones fine.",
)
@picture_options()
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    default="mix.png",
    show_default=True,
    help="A .png or .webp file.",
)
def command(
    network: str,
    rows: list[int],
    columns: list[int],
    layers: list[int],
    trunc: float,
    label: str | None,
    noise_mode: str,
    device: str,
    out: str,
) -> None:
    """Mix the styles of images of NETWORK: the images of the rows take styles of the columns.

    \b
    stylegan mix runs --rows 1-4 --columns 10-15 --layers 0-3 --trunc 0.7
    """
    from PIL import Image

    import stylegan_ops
    from stylegan.imaging import grid, save_image
    from stylegan.inference.pipeline import Pipeline

    path = Path(out)
    if path.suffix not in (".png", ".webp"):
        raise click.BadParameter(
            f"expected a name that ends in .png or .webp, got {path}", param_hint="--out"
        )
    stylegan_ops.tune_cpu_allocator()
    pipe = Pipeline.from_pretrained(network, device)
    table = pipe.mix(rows, columns, layers, label, trunc, noise_mode)
    images = [image for row in table for image in row if image is not None]  # all but the corner
    corner = Image.new(images[0].mode, images[0].size)
    make_folder(path.parent, "--out")
    metadata = {
        "network": network,
        "kimg": pipe.networks.meta.get("kimg"),
        "noise_mode": noise_mode,
        **({"class": label} if label else {}),
        "rows": ",".join(map(str, rows)),
        "columns": ",".join(map(str, columns)),
        "layers": ",".join(map(str, layers)),
        "trunc": trunc,
    }
    save_image(grid([corner, *images], len(columns) + 1), path, metadata)
    click.echo(path)
