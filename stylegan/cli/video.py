# SPDX-License-Identifier: Apache-2.0
"""`stylegan video`: a journey through the pictures of a network."""

import re
from pathlib import Path

import click

from stylegan.cli.params import Numbers, device_option, finite, make_folder, network_argument

PER_CELL = 6  # seeds of a journey, unless given
PER_KEYFRAME = 60  # frames


class Cells(click.ParamType):
    """How many journeys side by side: `3x2` is three columns in two rows; gives (columns, rows)."""

    name = "WxH"

    def convert(self, value, param, ctx):
        """`value` as (columns, rows)."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([1-9]\d{0,3})[xX]([1-9]\d{0,3})", value)
        if not match:
            self.fail(f"expected columns and rows like 3x2, got {value!r}", param, ctx)
        return int(match[1]), int(match[2])


@click.command()
@network_argument
@click.option(
    "--seeds",
    type=Numbers(),
    help=f"Keyframes: numbers and ranges, 0,3,5-9.  [default: the first {PER_CELL} for each cell]",
)
@click.option(
    "--keyframes",
    type=click.Path(dir_okay=False),
    help="Keyframes from a file in place of seeds: .npy or .npz with ws [N, num_ws, w_dim].",
)
@click.option(
    "--grid",
    "cells",
    type=Cells(),
    metavar="WxH",
    default="1x1",
    show_default=True,
    help="Journeys side by side, columns x rows; the keyframes are dealt out to them.",
)
@click.option(
    "--frames",
    "per_keyframe",
    type=click.IntRange(min=1),
    help=f"Frames from a keyframe to the next.  [default: {PER_KEYFRAME}]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Length of the video, in place of --frames.",
)
@click.option("--fps", type=click.IntRange(1, 240), default=30, show_default=True)
@click.option(
    "--loop/--no-loop",
    default=True,
    show_default=True,
    help="Go on from the last keyframe to the first, so that the video can be repeated.",
)
@click.option(
    "--trunc",
    type=float,
    default=1.0,
    show_default=True,
    callback=finite,
    help="Truncation psi: 1 as learnt, less for fewer odd pictures, 0 for the mean.",
)
@click.option("--class", "label", metavar="NAME|NUMBER", help="Class of a conditional network.")
@click.option(
    "--noise-mode",
    type=click.Choice(["const", "none"]),
    default="const",
    show_default=True,
    help="Fine random detail: the network's own, or none.",
)
@device_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    default="video.mp4",
    show_default=True,
    help="A .mp4, .webp or .gif file; .mp4 needs the extra `video`.",
)
@click.pass_context
def command(
    ctx,
    network,
    seeds,
    keyframes,
    cells,
    per_keyframe,
    seconds,
    fps,
    loop,
    trunc,
    label,
    noise_mode,
    device,
    out,
):
    """Make a video of pictures of NETWORK that turn into each other, on a smooth curve in W.

    \b
    stylegan video runs/00000-photos --seeds 0-7 --trunc 0.7 --out photos.mp4
    stylegan video runs/00000-photos --grid 3x2 --seconds 10 --out photos.webp
    """
    for name in ("seeds", "trunc", "label") if keyframes else ():
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            option = "class" if name == "label" else name
            raise click.UsageError(f"--{option} does not go with --keyframes")
    if per_keyframe and seconds:
        raise click.UsageError("--frames does not go with --seconds; give one of them")
    from tqdm import tqdm

    import stylegan_ops
    from stylegan.inference.pipeline import Pipeline
    from stylegan.video.journeys import (
        check_cells,
        frames,
        in_cells,
        keyframes_of_seeds,
        read_keyframes,
    )
    from stylegan.video.writers import writer_for

    Writer = writer_for(out)
    columns, rows = cells
    if seeds is None:
        seeds = range(PER_CELL * columns * rows)
    stylegan_ops.tune_cpu_allocator()
    pipe = Pipeline.from_pretrained(network, device)
    height, width = pipe.G.config.resolution
    size = columns * width, rows * height
    Writer.check(out, size, fps)
    if keyframes:
        ws = read_keyframes(keyframes, pipe.G)
    else:
        check_cells(len(seeds), columns * rows)
        ws = keyframes_of_seeds(pipe, seeds, label, trunc)
    ws = in_cells(ws, columns * rows)
    points = ws.shape[1]
    if seconds:
        count = max(round(seconds * fps), 1)
    else:
        per_keyframe = per_keyframe or PER_KEYFRAME
        count = points * per_keyframe if loop else (points - 1) * per_keyframe + 1
    make_folder(Path(out).parent, "--out")
    with (
        Writer(out, size, fps, loop) as video,
        tqdm(total=count, unit="frame", desc="video", disable=None) as bar,
    ):
        for image in frames(pipe, ws, count, loop, columns, noise_mode):
            video.add(image)
            bar.update()
    click.echo(f"{out}: {count} frames, {count / fps:.1f} s")
