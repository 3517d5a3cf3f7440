# SPDX-License-Identifier: Apache-2.0
"""`stylegan mix`: a style mixing grid."""

from pathlib import Path

import click

from stylegan.cli.params import Numbers, make_folder, network_argument, picture_options


@click.command()
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
    help="Layers whose style comes from the column: low ones are coarse, high ones fine.",
)
@picture_options
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    default="mix.png",
    show_default=True,
    help="A .png or .webp file.",
)
def command(network, rows, columns, layers, trunc, label, noise_mode, device, out):
    """Mix the styles of pictures of NETWORK: each row's picture, styled by each column's.

    \b
    stylegan mix runs/00000-photos --rows 1-4 --columns 10-15 --layers 0-3 --trunc 0.7
    """
    from PIL import Image

    import stylegan_ops
    from stylegan.imaging import grid, save_image
    from stylegan.inference.pipeline import Pipeline

    out = Path(out)
    if out.suffix not in (".png", ".webp"):
        raise click.BadParameter(
            f"expected a name that ends in .png or .webp, got {out}", param_hint="--out"
        )
    stylegan_ops.tune_cpu_allocator()
    pipe = Pipeline.from_pretrained(network, device)
    table = pipe.mix(rows, columns, layers, label, trunc, noise_mode)
    first = table[0][1]
    table[0][0] = Image.new(first.mode, first.size)
    make_folder(out.parent, "--out")
    about = {
        "network": network,
        "kimg": pipe.networks.meta.get("kimg"),
        "noise_mode": noise_mode,
        **({"class": label} if label else {}),
        "rows": ",".join(map(str, rows)),
        "columns": ",".join(map(str, columns)),
        "layers": ",".join(map(str, layers)),
        "trunc": trunc,
    }
    save_image(grid([image for row in table for image in row], len(columns) + 1), out, about)
    click.echo(out)
