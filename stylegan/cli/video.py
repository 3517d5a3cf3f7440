# SPDX-License-Identifier: Apache-2.0
"""`stylegan video`: a journey through the images of a network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from stylegan.cli.params import Numbers, finite, make_folder, network_argument, picture_options

SEEDS_PER_CELL = 6
FRAMES_PER_KEYFRAME = 60


class Cells(click.ParamType):
    """How many journeys side by side: `3x2` is three columns and two rows; (columns, rows)."""

    name = "WxH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """`value` as (columns, rows)."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([1-9]\d{0,3})[xX]([1-9]\d{0,3})", value)
        if not match:
            self.fail(f"expected columns and rows like 3x2, got {value!r}", param, ctx)
        return int(match[1]), int(match[2])


@click.command("video")
@network_argument
@click.option(
    "--seeds",
    type=Numbers(),
    help="Keyframes: numbers and ranges, 0,3,5-9.  "
    f"[default: the first {SEEDS_PER_CELL} for each cell]",
)
@click.option(
    "--keyframes",
    type=click.Path(dir_okay=False),
    help="Keyframes from a file instead of seeds: .npy or .npz with ws [N, num_ws, w_dim].",
)
@click.option(
    "--grid",
    "cells",
    type=Cells(),
    metavar="WxH",
    default="1x1",
    show_default=True,
    help="Journeys side by side, columns x rows; they share the keyframes evenly.",
)
@click.option(
    "--frames",
    "per_keyframe",
    type=click.IntRange(min=1),
    help=f"Frames from one keyframe to the next.  [default: {FRAMES_PER_KEYFRAME}]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Length of the video, instead of --frames.",
)
@click.option(
    "--fps",
    type=click.IntRange(1, 240),
    default=30,
    show_default=True,
    help="Frames per second.",
)
@click.option(
    "--loop/--no-loop",
    default=True,
    show_default=True,
    help="Continue from the last keyframe to the first, so that the video repeats seamlessly.",
)
@picture_options(noise_modes=("const", "none"))  # fresh noise in every frame would flicker
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    default="video.mp4",
    show_default=True,
    help="A .mp4, .webp or .gif file; .mp4 needs the extra `video`.",
)
@click.pass_context
def command(
    ctx: click.Context,
    network: str,
    seeds: list[int] | None,
    keyframes: str | None,
    cells: tuple[int, int],
    per_keyframe: int | None,
    seconds: float | None,
    fps: int,
    loop: bool,
    trunc: float,
    label: str | None,
    noise_mode: str,
    device: str,
    out: str,
) -> None:
    """Make a video of images of NETWORK that change into each other, along a smooth curve in W.

    \b
    stylegan video runs --seeds 0-7 --trunc 0.7 --out photos.mp4
    stylegan video runs --grid 3x2 --seconds 10 --out photos.webp
    """
    _check_options(ctx, keyframes, per_keyframe, seconds)
    from tqdm import tqdm

    import stylegan_ops
    from stylegan.inference.pipeline import Pipeline
    from stylegan.video import journeys
    from stylegan.video.writers import writer_for

    Writer = writer_for(out)
    columns, rows = cells
    stylegan_ops.tune_cpu_allocator()
    pipe = Pipeline.from_pretrained(network, device)
    height, width = pipe.G.config.resolution
    size = columns * width, rows * height
    Writer.check(out, size, fps)
    if keyframes:
        ws = journeys.read_keyframes(keyframes, pipe.G)
    else:
        seeds = seeds or list(range(SEEDS_PER_CELL * columns * rows))
        journeys.check_cells(len(seeds), columns * rows)
        ws = journeys.keyframes_of_seeds(pipe, seeds, label, trunc)
    ws = journeys.in_cells(ws, columns * rows)
    if seconds:
        count = max(round(seconds * fps), 1)
    else:
        count = _frame_count(ws.shape[1], per_keyframe or FRAMES_PER_KEYFRAME, loop)
    make_folder(Path(out).parent, "--out")
    with (
        Writer(out, size, fps, loop) as video,
        tqdm(total=count, unit="frame", desc="video", disable=None) as bar,
    ):
        for image in journeys.frames(pipe, ws, count, loop, columns, noise_mode):
            video.add(image)
            bar.update()
    click.echo(f"{out}: {count} frames, {count / fps:.1f} s")


def _check_options(
    ctx: click.Context, keyframes: str | None, per_keyframe: int | None, seconds: float | None
) -> None:
    """Raises: click.UsageError for options that exclude each other."""
    for name in ("seeds", "trunc", "label") if keyframes else ():
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            option = "class" if name == "label" else name
            raise click.UsageError(f"--{option} does not go with --keyframes")
    if per_keyframe and seconds:
        raise click.UsageError("--frames does not go with --seconds; give one of them")


def _frame_count(keyframes: int, per_keyframe: int, loop: bool) -> int:
    return keyframes * per_keyframe if loop else (keyframes - 1) * per_keyframe + 1
