# SPDX-License-Identifier: Apache-2.0
"""`stylegan generate`: pictures from seeds."""

import click

from stylegan.cli.params import (
    Numbers,
    Pair,
    finite,
    make_folder,
    network_argument,
    picture_options,
)

WEBP_MAX = 16383  # px a side, the limit of the format
CHUNK = 64  # pictures between two steps of the progress bar, at most


@click.command()
@network_argument
@click.option(
    "--seeds",
    type=Numbers(),
    default="0-15",
    show_default=True,
    help="Which pictures: numbers and ranges, 0,3,5-9.",
)
@picture_options
@click.option(
    "--trunc-cutoff", type=click.IntRange(min=0), help="Truncate only this many leading layers."
)
@click.option(
    "--translate",
    type=Pair(),
    metavar="X,Y",
    help="Move the picture by these fractions of its size, to the right and down. StyleGAN3 only.",
)
@click.option(
    "--rotate",
    type=float,
    callback=finite,
    metavar="DEGREES",
    help="Turn the picture counter-clockwise about its middle, before it is moved. StyleGAN3 only.",
)
@click.option("--grid", "as_grid", is_flag=True, help="One sheet instead of single files.")
@click.option("--columns", type=click.IntRange(min=1), help="Columns of the sheet.")
@click.option(
    "--format", "suffix", type=click.Choice(["png", "webp"]), default="png", show_default=True
)
@click.option(
    "--batch", type=click.IntRange(min=1), help="Pictures at once; default by resolution."
)
@click.option(
    "--compile",
    is_flag=True,
    help="Through torch.compile: faster for many pictures, after half a minute.",
)
@click.option("--outdir", type=click.Path(file_okay=False), default="out", show_default=True)
def command(
    network,
    seeds,
    trunc,
    label,
    noise_mode,
    device,
    trunc_cutoff,
    translate,
    rotate,
    as_grid,
    columns,
    suffix,
    batch,
    compile,
    outdir,
):
    """Generate pictures from NETWORK: a run, a snapshot, NVIDIA's .pkl or rosinality's .pt.

    \b
    stylegan generate runs/00000-photos --seeds 0-31 --trunc 0.7 --grid
    stylegan generate runs/00001-photos --translate 0.25,0 --rotate 30
    """
    from tqdm import tqdm

    import stylegan_ops
    from stylegan.imaging import grid, save_image
    from stylegan.inference.pipeline import Pipeline

    stylegan_ops.tune_cpu_allocator()
    pipe = Pipeline.from_pretrained(network, device, compile)
    outdir = make_folder(outdir, "--outdir")
    if as_grid:
        columns = columns or min(len(seeds), max(round(len(seeds) ** 0.5), 1))
        height, width = pipe.G.config.resolution
        sheet = (columns * width, -(-len(seeds) // columns) * height)
        if suffix == "webp" and max(sheet) > WEBP_MAX:
            raise click.UsageError(
                f"a WebP holds at most {WEBP_MAX} px a side, the sheet has {sheet[0]}x{sheet[1]}; "
                "--format png does"
            )
    about = {
        "network": network,
        **({"kimg": pipe.networks.meta["kimg"]} if "kimg" in pipe.networks.meta else {}),
        "trunc": trunc,
        "noise_mode": noise_mode,
        **({"translate": "{:g},{:g}".format(*translate)} if translate else {}),
        **({} if rotate is None else {"rotate": rotate}),
    }
    names, images = pipe.networks.class_names, []
    size = min(batch or min(pipe.batch, CHUNK), len(seeds))
    with tqdm(total=len(seeds), unit="img", desc="generate", disable=None) as bar:
        for start in range(0, len(seeds), size):
            part = seeds[start : start + size]
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
                images += out.images
                continue
            for seed, number, image in zip(part, out.labels, out.images):
                extra = {} if number is None else {"class": names[number] if names else number}
                save_image(
                    image, outdir / f"seed{seed:04d}.{suffix}", {**about, "seed": seed, **extra}
                )
    if as_grid:
        about |= {"seeds": ",".join(map(str, seeds)), **({"class": label} if label else {})}
        save_image(grid(images, columns), outdir / f"grid.{suffix}", about)
    click.echo(f"{outdir / f'grid.{suffix}' if as_grid else f'{len(seeds)} pictures in {outdir}'}")
