# SPDX-License-Identifier: Apache-2.0
"""`stylegan generate`: images from seeds, or from latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from stylegan.cli.drawing import Drawing, drawing_options
from stylegan.cli.jobs import (
    Job,
    Motion,
    call,
    caption_of,
    common_noise,
    jobs_of_files,
    jobs_of_seeds,
    label_of,
)
from stylegan.cli.latents import MAPPING, WsFile, check_save_ws, latents_option, save_ws_option
from stylegan.cli.outputs import check_free, overwrite_option
from stylegan.cli.params import Command, joined, make_folder, refuse_beside
from stylegan.cli.pictures import captions_option, check_sheet, scale_option
from stylegan.cli.values import Pair, Seeds, finite

if TYPE_CHECKING:
    from PIL.Image import Image

    from stylegan.imaging import Layout
    from stylegan.inference.pipeline import Pipeline


@click.command("generate", cls=Command, short_help="Draw images from seeds or latents.")
@click.option(
    "--seeds",
    type=Seeds(),
    multiple=True,
    default=["0-15"],
    show_default=True,
    callback=joined,
    help="Seeds of the images: numbers and ranges, 0,3,5-9.",
)
@latents_option("--latents", "Images of saved latents instead of seeds, one for each row of a file")
@drawing_options()
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
    help="Columns of the sheet.  [default: a full sheet, as square as that goes; a row for each "
    "class]",
)
@scale_option(
    "Enlarge by a whole number, each pixel to a square; auto: to 128 px or more.  [default: 1; "
    "auto with --grid]",
    default=None,
)
@captions_option("Write the seed and the class below each picture of the sheet.")
@click.option(
    "--format", "suffix", type=click.Choice(["png", "webp"]), default="png", show_default=True
)
@save_ws_option
@click.option(
    "--outdir",
    type=click.Path(file_okay=False),
    default="out",
    show_default=True,
    help="Folder of the images. A file name says which options are not the default: "
    "seed0003-class1-trunc0.7.png.",
)
@overwrite_option
@click.pass_context
def command(
    ctx: click.Context,
    seeds: list[int],
    latents: tuple[str, ...],
    translate: tuple[float, float] | None,
    rotate: float | None,
    as_grid: bool,
    columns: int | None,
    scale: int | Literal["auto"] | None,
    captions: bool,
    suffix: str,
    save_ws: str | None,
    outdir: str,
    overwrite: bool,
    **options: Any,
) -> None:
    """Generate images from NETWORK: a run, a snapshot, NVIDIA's .pkl or rosinality's .pt.

    \b
    stylegan generate runs --seeds 0-31 --trunc 0.7 --grid
    stylegan generate runs --class cat --class dog --seeds 0-7
    stylegan generate runs --label glasses,hat --seeds 0-15 --grid
    stylegan generate runs --translate 0.25,0 --rotate 30
    stylegan generate runs --latents projected_w.npz
    """
    drawing = Drawing(**options)
    if latents:
        refuse_beside(ctx, "--latents", ("seeds", *MAPPING))
    if columns and not as_grid:
        raise click.UsageError("--columns goes with --grid, which writes one sheet")
    if captions and not as_grid:
        raise click.UsageError("--captions goes with --grid, which writes one sheet")
    check_save_ws(save_ws)
    pipe = drawing.open()
    motion = Motion(translate, rotate)
    if latents:
        latents = latents if as_grid else tuple(dict.fromkeys(latents))
        jobs = jobs_of_files(pipe, drawing, latents)
        inputs = {"latents": ", ".join(latents)}
    else:
        seeds = seeds if as_grid else list(dict.fromkeys(seeds))
        jobs = jobs_of_seeds(pipe, drawing, seeds)
        inputs = {"seeds": ",".join(map(str, seeds))}
    look = Look(Path(outdir), f".{suffix}", as_grid, columns, scale, captions)
    sheet = Sheet.of(pipe, drawing, jobs, motion, look)
    outputs = [sheet.path] if as_grid else [sheet.path_of(name) for j in jobs for name in j.names]
    check_free([*dict.fromkeys(outputs)], overwrite, "--outdir")
    check_free([save_ws] if save_ws else [], overwrite, "--save-ws")
    make_folder(outdir, "--outdir")
    about = {**motion.about, "scale": sheet.layout.scale}
    metadata = drawing.metadata("generate", pipe, not latents, **about)
    whole = metadata | inputs | _about_labels(jobs)
    done = _draw(pipe, drawing, jobs, sheet, WsFile(save_ws), metadata, whole)
    images = "1 image" if done.count == 1 else f"{done.count:,} images"
    if done.count:
        click.echo(sheet.path if as_grid else f"{images} in {Path(outdir)}")
        if save_ws:
            click.echo(save_ws)
    if done.interrupted:
        raise done.interrupted


@dataclass(frozen=True)
class Look:
    """What the options say of the files."""

    folder: Path
    suffix: str  # .png or .webp
    as_grid: bool
    columns: int | None
    scale: int | Literal["auto"] | None
    captions: bool

    def variant(self, layout: Layout) -> str:
        """For file names."""
        given = isinstance(self.scale, int) if self.as_grid else layout.scale != 1
        scale = f"-x{layout.scale}" if given else ""
        return scale + ("-captions" if self.captions else "")


@dataclass(frozen=True)
class Sheet:
    """Where the images go: files, or one sheet."""

    look: Look
    variant: str  # of every file name
    motion: Motion
    layout: Layout  # of the sheet, or of one file
    grid_name: str

    @classmethod
    def of(
        cls, pipe: Pipeline, drawing: Drawing, jobs: Sequence[Job], motion: Motion, look: Look
    ) -> Sheet:
        """Raises: click.UsageError if the sheet is too large for its format."""
        from stylegan.imaging import Layout

        choices = list(dict.fromkeys(job.choice.name for job in jobs))
        height, width = pipe.G.config.resolution
        if look.as_grid:
            count = sum(len(job.names) for job in jobs)
            columns = look.columns or (count // len(choices) if len(choices) > 1 else None)
            lines = 0
            if look.captions:
                lines = 2 if pipe.G.c_dim or jobs[0].ws is not None else 1
            layout = Layout.of(count, (width, height), columns, look.scale or "auto", lines)
            check_sheet(look.suffix, layout, "--format png does")
        else:
            layout = Layout.of(1, (width, height), 1, look.scale or 1)
            check_sheet(look.suffix, layout, "--format png does")
        labels = "".join(f"-{name}" for name in choices if name)
        if len(labels) > 100:
            labels = f"-{len(choices)}labels"
        variant = drawing.variant + motion.variant + look.variant(layout)
        return cls(look, variant, motion, layout, f"grid{labels}")

    def path_of(self, name: str) -> Path:
        """The file of a picture."""
        return self.look.folder / f"{name}{self.variant}{self.look.suffix}"

    @property
    def path(self) -> Path:
        """The file of the sheet."""
        return self.path_of(self.grid_name)


@dataclass
class Done:
    """How far the work came."""

    count: int = 0  # images
    interrupted: KeyboardInterrupt | None = None


def _draw(
    pipe: Pipeline,
    drawing: Drawing,
    jobs: Sequence[Job],
    sheet: Sheet,
    ws: WsFile,
    metadata: dict[str, Any],
    whole: dict[str, Any],
) -> Done:
    """Draw and write all images, or those before an interruption.

    Args:
        metadata: what every file says of how it was made.
        whole: what the sheet and the file of latents say.
    """
    from stylegan.bars import Bar
    from stylegan.imaging import enlarged, grid, save_image

    images: list[Image] = []
    captions: list[str] = []
    as_grid, scale = sheet.look.as_grid, sheet.layout.scale
    done, count = Done(), sum(len(job.names) for job in jobs)
    with ws.opened(whole, common_noise(jobs) if ws.path else {}):
        try:
            with Bar(total=count, unit="img", desc="generate") as bar:
                for job in jobs:
                    out = call(pipe, drawing, job, sheet.motion)
                    for i, (name, image) in enumerate(zip(job.names, out.images)):
                        if as_grid:
                            images.append(image)
                            captions.append(caption_of(pipe, job, out, i))
                        else:
                            own = {**metadata, **job.about[i], **label_of(pipe, job, out, i)}
                            save_image(enlarged(image, scale), sheet.path_of(name), own)
                        ws.add(out.ws[i : i + 1])
                        done.count += 1
                    bar.update(len(job.names))
        except KeyboardInterrupt as e:
            done.interrupted = e
            whole["interrupted"] = f"after {done.count:,} of {count:,} images"
        if images:
            texts = captions if sheet.look.captions else None
            columns = min(sheet.layout.columns, len(images))
            save_image(grid(images, columns, scale, texts), sheet.path, whole)
        if done.interrupted and not done.count:
            raise done.interrupted
    return done


def _about_labels(jobs: Sequence[Job]) -> dict[str, Any]:
    about: dict[str, list[str]] = {}
    for choice in dict.fromkeys(job.choice for job in jobs if job.choice.text):
        about.setdefault(choice.kind, []).append(choice.text)
    return {kind: "; ".join(texts) for kind, texts in about.items()}
