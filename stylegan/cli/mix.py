# SPDX-License-Identifier: Apache-2.0
"""`stylegan mix`: a style mixing grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from stylegan.cli.drawing import Drawing, drawing_options
from stylegan.cli.labels import Choice
from stylegan.cli.latents import (
    MAPPING,
    WsFile,
    check_save_ws,
    latents_option,
    read_files,
    save_ws_option,
)
from stylegan.cli.outputs import check_free, output_file, overwrite_option
from stylegan.cli.params import Command, joined, refuse_beside
from stylegan.cli.pictures import captions_option, check_sheet, class_text, scale_option
from stylegan.cli.values import Numbers, Seeds

if TYPE_CHECKING:
    from PIL.Image import Image

    from stylegan.inference.pipeline import Pipeline
    from stylegan.latents import Latents

CHUNK = 64  # images between two steps of the progress bar


@click.command("mix", cls=Command, short_help="Mix the styles of images.")
@click.option(
    "--rows",
    type=Seeds(),
    multiple=True,
    default=["0-3"],
    show_default=True,
    callback=joined,
    help="Seeds of the rows.",
)
@click.option(
    "--columns",
    type=Seeds(),
    multiple=True,
    default=["4-9"],
    show_default=True,
    callback=joined,
    help="Seeds of the columns.",
)
@latents_option("--row-latents", "Rows from saved latents instead of seeds")
@latents_option("--column-latents", "Columns from saved latents instead of seeds")
@click.option(
    "--layers",
    type=Numbers(),
    multiple=True,
    default=["0-3"],
    show_default=True,
    callback=joined,
    help="Layers whose style comes from the column: low numbers are coarse, high ones fine.",
)
@scale_option("Enlarge by a whole number, each pixel to a square; auto: to 128 px or more.")
@captions_option("Write the seeds below the pictures, and the layers into the corner.")
@drawing_options()
@save_ws_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    default="mix.png",
    show_default=True,
    help="A .png or .webp file.",
)
@overwrite_option
@click.pass_context
def command(
    ctx: click.Context,
    rows: list[int],
    columns: list[int],
    row_latents: tuple[str, ...],
    column_latents: tuple[str, ...],
    layers: list[int],
    scale: int | Literal["auto"],
    captions: bool,
    save_ws: str | None,
    out: str,
    overwrite: bool,
    **options: Any,
) -> None:
    """Mix the styles of images of NETWORK: the images of the rows take styles of the columns.

    \b
    stylegan mix runs --rows 1-4 --columns 10-15 --layers 0-3 --trunc 0.7
    stylegan mix runs --row-latents projected_w.npz --columns 10-15
    """
    from stylegan.imaging import Layout, grid, save_image
    from stylegan.inference.inputs import layers_of

    drawing, path = Drawing(**options), Path(out)
    if row_latents:
        refuse_beside(ctx, "--row-latents", ("rows",))
    if column_latents:
        refuse_beside(ctx, "--column-latents", ("columns",))
    if row_latents and column_latents:
        refuse_beside(ctx, "--row-latents and --column-latents", MAPPING)
    if path.suffix.lower() not in (".png", ".webp"):
        raise click.BadParameter(
            f"expected a name that ends in .png or .webp, got {path}", param_hint="--out"
        )
    check_save_ws(save_ws)
    check_free([path], overwrite, "--out")
    check_free([save_ws] if save_ws else [], overwrite, "--save-ws")
    pipe = drawing.open()
    choice = None if row_latents and column_latents else _one(drawing.choices(pipe))
    if choice and len(rows) + len(columns) > 1:
        drawing.note_average(pipe, 2)
    chosen = layers_of(layers, pipe.G.num_ws)
    side = Side(rows, tuple(read_files(pipe, row_latents, "mix")))
    top = Side(columns, tuple(read_files(pipe, column_latents, "mix")))
    height, width = pipe.G.config.resolution
    count = (side.count + 1) * (top.count + 1)
    layout = Layout.of(count, (width, height), top.count + 1, scale, lines=int(captions))
    check_sheet(path.suffix.lower(), layout, "--out with a name in .png does")
    about = {"rows": side.text, "columns": top.text, "layers": ",".join(map(str, layers))}
    about["scale"] = str(layout.scale)
    label = {choice.kind: choice.text} if choice else {}
    metadata = drawing.metadata("mix", pipe, choice is not None, **about, **label)
    saved = WsFile(save_ws)
    with output_file(path, "--out") as part, saved.opened(metadata):
        cells = _draw(pipe, drawing, side, top, chosen, choice, saved)
        texts = _captions(pipe, side, top, layers, choice) if captions else None
        save_image(grid(cells, layout.columns, layout.scale, texts), part, metadata)
    click.echo(path)
    if save_ws:
        click.echo(save_ws)


@dataclass(frozen=True)
class Side:
    """The rows, or the columns."""

    seeds: list[int]
    files: tuple[Latents, ...] = ()  # instead of seeds

    @property
    def count(self) -> int:
        """How many images."""
        return sum(len(f.ws) for f in self.files) or len(self.seeds)

    @property
    def captions(self) -> list[str]:
        """What is written below each image: a seed, or the file and row of its latents."""
        if not self.files:
            return [str(seed) for seed in self.seeds]
        return [f"{f.path.stem}-{row}" for f in self.files for row in range(len(f.ws))]

    @property
    def text(self) -> str:
        """For the metadata."""
        return ", ".join(str(f.path) for f in self.files) or ",".join(map(str, self.seeds))


def _one(choices: Sequence[Choice]) -> Choice:
    if len(choices) > 1:
        raise click.UsageError("mix draws one class; give --class or --label once")
    return choices[0]


def _draw(
    pipe: Pipeline,
    drawing: Drawing,
    side: Side,
    top: Side,
    layers: Sequence[int],
    choice: Choice | None,
    saved: WsFile,
) -> list[Image | None]:
    """The cells of the sheet, row by row; the corner is empty. Their latents go to `saved`: rows,
    columns, then the mixed ones row by row."""
    import torch

    from stylegan.bars import Bar
    from stylegan.inference.mixing import mixed_ws

    how: dict[str, Any] = {"noise_mode": drawing.noise_mode, "batch": drawing.batch}
    count = side.count + top.count + side.count * top.count
    with Bar(total=count, unit="img", desc="mix") as bar:
        own = []
        for part in (side, top):
            if part.files:
                out = pipe(ws=torch.cat([f.ws for f in part.files]), **how)
            else:
                label = choice.value if choice else None
                out = pipe(part.seeds, label=label, **drawing.mapping, **how)
            bar.update(part.count)
            saved.add(out.ws)
            own.append(out)
        rows, columns = own
        mixed = mixed_ws(rows.ws, columns.ws, layers)
        saved.add(mixed)
        # The noise of an image depends on its place in the list, if it is random.
        size = len(mixed) if drawing.noise_mode == "random" else drawing.batch or CHUNK
        images: list[Image] = []
        for ws in mixed.split(size):
            images += pipe(ws=ws, **how).images
            bar.update(len(ws))
    cells: list[Image | None] = [None, *columns.images]
    for i, image in enumerate(rows.images):
        cells += [image, *images[i * top.count : (i + 1) * top.count]]
    return cells


def _captions(
    pipe: Pipeline, side: Side, top: Side, layers: Sequence[int], choice: Choice | None
) -> list[str]:
    """What is written below each cell, and in the corner."""
    numbers = _layers_text(layers)
    corner = f"{'layer' if len(layers) == 1 else 'layers'} {numbers} of the columns"
    if choice and choice.text:
        found = pipe.labels(choice.value, [0]).numbers
        names = pipe.networks.class_names
        name = names[found[0]] if found and names else ""
        corner += f", {class_text(name, found[0]) if found else choice.text}"
    texts = [corner, *top.captions]
    for row in side.captions:
        texts += [row, *(f"{row} + {column}" for column in top.captions)]
    return texts


def _layers_text(layers: Sequence[int]) -> str:
    """Numbers as --layers takes them: 0-3,5."""
    parts: list[list[int]] = []
    for number in layers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)
