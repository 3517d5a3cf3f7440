# SPDX-License-Identifier: Apache-2.0
"""`stylegan video`: a journey through the images of a network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from stylegan.cli.drawing import Drawing, drawing_options
from stylegan.cli.latents import (
    MAPPING,
    WsFile,
    check_save_ws,
    latents_option,
    read_files,
    save_ws_option,
)
from stylegan.cli.outputs import check_free, overwrite_option
from stylegan.cli.params import Command, joined, make_folder, refuse_beside
from stylegan.cli.pictures import check_size, scale_option
from stylegan.cli.values import Seeds, finite

if TYPE_CHECKING:
    import torch

    from stylegan.inference.pipeline import Pipeline

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


@click.command(
    "video", cls=Command, short_help="Make a video of images that change into each other."
)
@click.option(
    "--seeds",
    type=Seeds(),
    multiple=True,
    callback=joined,
    help="Keyframes: numbers and ranges, 0,3,5-9.  "
    f"[default: the first {SEEDS_PER_CELL} for each cell]",
)
@latents_option("--keyframes", "Keyframes from saved latents instead of seeds")
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
@scale_option(
    "Enlarge by a whole number, each pixel to a square; auto: until the shorter side has 256 px or "
    "more."
)
@drawing_options(noise_modes=("const", "none"))  # fresh noise in every frame would flicker
@save_ws_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    default="video.mp4",
    show_default=True,
    help="A .mp4, .webp or .gif file; .mp4 needs the extra `video`.",
)
@overwrite_option
@click.pass_context
def command(
    ctx: click.Context,
    seeds: list[int] | None,
    keyframes: tuple[str, ...],
    cells: tuple[int, int],
    per_keyframe: int | None,
    seconds: float | None,
    fps: int,
    loop: bool,
    scale: int | Literal["auto"],
    save_ws: str | None,
    out: str,
    overwrite: bool,
    **options: Any,
) -> None:
    """Make a video of images of NETWORK that change into each other, along a smooth curve in W.

    \b
    stylegan video runs --seeds 0-7 --trunc 0.7 --out photos.mp4
    stylegan video runs --grid 3x2 --seconds 10 --out photos.webp
    stylegan video runs --keyframes a.npz --keyframes b.npz --out between.webp

    Several --class or --label are those of the keyframes in turn.
    """
    drawing = Drawing(**options)
    if keyframes:
        refuse_beside(ctx, "--keyframes", ("seeds", *MAPPING))
    if per_keyframe and seconds:
        raise click.UsageError("--frames does not go with --seconds; give one of them")
    check_save_ws(save_ws)
    from stylegan.bars import Bar
    from stylegan.imaging import scale_of_frames
    from stylegan.video import journeys
    from stylegan.video.writers import writer_for

    Writer = writer_for(out)
    check_free([out], overwrite, "--out")
    check_free([save_ws] if save_ws else [], overwrite, "--save-ws")
    columns, rows = cells
    pipe = drawing.open()
    height, width = pipe.G.config.resolution
    scale = scale_of_frames(scale, (columns * width, rows * height))
    size = columns * width * scale, rows * height * scale
    Writer.check(out, size, fps)
    check_size(size, scale)
    if not keyframes:
        seeds = seeds or list(range(SEEDS_PER_CELL * columns * rows))
        journeys.check_cells(len(seeds), columns * rows, "--seeds")
    ws = _keyframes(pipe, drawing, seeds or [], keyframes)
    points = journeys.in_cells(ws, columns * rows)
    if seconds:
        count = max(round(seconds * fps), 1)
    else:
        count = _frame_count(points.shape[1], per_keyframe or FRAMES_PER_KEYFRAME, loop)
    metadata = drawing.metadata(
        "video",
        pipe,
        not keyframes,
        seeds=",".join(map(str, seeds or [])),
        keyframes=", ".join(keyframes),
        grid=f"{columns}x{rows}",
        frames=count,
        fps=fps,
        loop=loop,
        scale=scale,
        **{"class": "; ".join(drawing.classes), "label": "; ".join(drawing.labels)},
    )
    make_folder(Path(out).parent, "--out")
    saved = WsFile(save_ws)
    saved.add(ws)
    with saved.opened(metadata), Writer(out, size, fps, loop, metadata) as video:
        with Bar(total=count, unit="frame", desc="video") as bar:
            noise = drawing.noise_mode
            for image in journeys.frames(pipe, points, count, loop, columns, noise, scale):
                video.add(image)
                bar.update()
    click.echo(f"{out}: {count} frames, {count / fps:.1f} s")
    if save_ws:
        click.echo(save_ws)


def _keyframes(
    pipe: Pipeline, drawing: Drawing, seeds: list[int], files: Sequence[str]
) -> torch.Tensor:
    """ws [N, num_ws, w_dim] on the CPU."""
    import torch

    if files:
        return torch.cat([latents.ws for latents in read_files(pipe, files, "video")])
    drawing.note_average(pipe, len(seeds))
    choices = drawing.choices(pipe)
    label: Any = choices[0].value
    if len(choices) > 1:
        in_turn = (choices[i % len(choices)] for i in range(len(seeds)))
        vectors: list[Any] = [pipe.labels(c.value, [s]).c for c, s in zip(in_turn, seeds)]
        label = torch.cat(vectors)
    return pipe.map(seeds, label=label, **drawing.mapping).ws.cpu()


def _frame_count(keyframes: int, per_keyframe: int, loop: bool) -> int:
    return keyframes * per_keyframe if loop else (keyframes - 1) * per_keyframe + 1
