# SPDX-License-Identifier: Apache-2.0
"""`stylegan spectra`: average power spectra of data sets and networks."""

import contextlib
import importlib.util
from pathlib import Path

import click

from stylegan.cli.outputs import output_file
from stylegan.cli.params import Size, device_option, finite
from stylegan.words import printable

PLOTS, NUMBERS = (".png", ".pdf", ".svg"), (".npz", ".json")
CHUNK = 64  # pictures at a time


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "--out",
    "outs",
    type=click.Path(dir_okay=False),
    multiple=True,
    default=["spectra.png"],
    show_default=True,
    help="Plot: .png, .pdf or .svg, needs the extra `plot`. Numbers: .npz (everything) or .json "
    "(the slices). May be given again.",
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Pictures of each source: a random subset of a data set, the first seeds of a network.",
)
@click.option(
    "--resolution",
    type=Size(),
    help="Crop and resize the pictures of data sets; resizing changes what is measured.",
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
def command(sources, outs, images, resolution, trunc, device):
    """Compare the average power spectra of SOURCEs: folders or zips of images, and networks.

    Windowed, the mean over pictures and channels, in dB; transparent pictures lie on white. A
    network's pictures are rounded to 8 bits, as those of a data set are.

    \b
    stylegan spectra photos.zip runs/00000-photos --out spectra.png --out spectra.npz
    """
    outs = list({Path(out).resolve(): Path(out) for out in outs}.values())
    for out in outs:
        if out.suffix not in PLOTS + NUMBERS:
            kinds = f"{', '.join(PLOTS + NUMBERS[:-1])} or {NUMBERS[-1]}"
            raise click.BadParameter(
                f"expected a name that ends in {kinds}, got {out}", param_hint="--out"
            )
        if out.suffix in PLOTS and importlib.util.find_spec("matplotlib") is None:
            raise click.UsageError(
                f"{out}: a plot needs matplotlib, pip install 'stylegan[plot]'; "
                "--out spectra.npz does not"
            )
    from tqdm import tqdm

    import stylegan_ops
    from stylegan.metrics.spectra import SpectrumMeter, plot, save_numbers

    stylegan_ops.tune_cpu_allocator()
    sources = list(dict.fromkeys(sources))
    opened = [_open(source, images, resolution, trunc, device) for source in sources]
    names = [printable(Path(source).resolve().name) for source in sources]
    if len(set(names)) < len(names):
        names = [printable(source) for source in sources]
    spectra = {}
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(output_file(out, "--out")) for out in outs]
        for name, (count, chunks) in zip(names, opened):
            meter = SpectrumMeter()
            with tqdm(total=count, unit="img", desc=name, disable=None) as bar:
                for chunk in chunks:
                    meter.add(chunk)
                    bar.update(len(chunk))
            spectra[name] = meter.result()
        for out, part in zip(outs, parts):
            if out.suffix in PLOTS:
                plot(spectra, part)
            else:
                save_numbers(spectra, out, part)
    click.echo("\n".join(map(str, outs)))


def _open(source, images, resolution, trunc, device):
    """(number of pictures, iterator of [n, C, H, W] in [-1, 1]) of a data set or a network."""
    from stylegan.inference.pipeline import Pipeline
    from stylegan.networks import is_snapshot, snapshots_of

    path = Path(source)
    folder_of_images = path.is_dir() and not (is_snapshot(path) or snapshots_of(path))
    if folder_of_images or path.suffix.lower() == ".zip":
        from stylegan.data.dataset import ImageDataset

        dataset = ImageDataset(path, resolution, max_images=images)
        return len(dataset), _of_dataset(dataset)
    return images, _of_network(Pipeline.from_pretrained(path, device), images, trunc)


def _of_dataset(dataset):
    import torch

    for start in range(0, len(dataset), CHUNK):
        part = range(start, min(start + CHUNK, len(dataset)))
        yield _on_white(torch.stack([dataset[i][0] for i in part]))


def _of_network(pipe, images, trunc):
    import numpy as np
    import torch

    size = min(pipe.batch, CHUNK)
    for start in range(0, images, size):
        seeds = range(start, min(start + size, images))
        pictures = np.stack([np.atleast_3d(i) for i in pipe(seeds, truncation_psi=trunc).images])
        yield _on_white(torch.from_numpy(pictures).permute(0, 3, 1, 2))


def _on_white(pixels):
    """uint8 [N, C, H, W] -> float64 [N, 1 or 3, H, W] in [-1, 1]."""
    x = pixels.double()
    if x.shape[1] == 4:
        x = 255 + (x[:, :3] - 255) * (x[:, 3:] / 255)
    return x / 127.5 - 1
