# SPDX-License-Identifier: Apache-2.0
"""`stylegan generate`: images from seeds, or from latents."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from stylegan.cli.outputs import check_free, check_sheet, overwrite_option
from stylegan.cli.params import Command, Numbers, Pair, finite, joined, make_folder, refuse_beside
from stylegan.words import ceil_div

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from stylegan.inference.pipeline import Pipeline, PipelineOutput

CHUNK = 64  # maximum number of images between two steps of the progress bar


@click.command("generate", cls=Command)
@click.option(
    "--seeds",
    type=Numbers(),
    multiple=True,
    default=["0-15"],
    show_default="0-15",
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
    help="Columns of the sheet.  [default: as many as rows; a row for each class]",
)
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
    stylegan generate runs --translate 0.25,0 --rotate 30
    stylegan generate runs --latents projected_w.npz
    """
    drawing = Drawing(**options)
    if latents:
        refuse_beside(ctx, "--latents", ("seeds", *MAPPING))
    if columns and not as_grid:
        raise click.UsageError("--columns goes with --grid, which writes one sheet")
    check_save_ws(save_ws)
    pipe = drawing.open()
    motion = Motion(translate, rotate)
    jobs = _jobs_of_files(pipe, drawing, latents) if latents else _jobs_of_seeds(pipe, drawing, seeds)
    sheet = Sheet.of(pipe, drawing, jobs, motion, Path(outdir), suffix, columns, as_grid)
    outputs = [sheet.path] if as_grid else [sheet.path_of(name) for j in jobs for name in j.names]
    check_free([*dict.fromkeys(outputs)], overwrite, "--outdir")
    check_free([save_ws] if save_ws else [], overwrite, "--save-ws")
    make_folder(outdir, "--outdir")
    metadata = drawing.metadata("generate", pipe, **motion.about)
    interrupted = _draw(pipe, drawing, jobs, sheet, WsFile(save_ws), metadata)
    if interrupted:
        raise interrupted
    count = sum(len(job.names) for job in jobs)
    images = "1 image" if count == 1 else f"{count:,} images"
    click.echo(sheet.path if as_grid else f"{images} in {Path(outdir)}")
    if save_ws:
        click.echo(save_ws)


@dataclass(frozen=True)
class Motion:
    """--translate and --rotate."""

    translate: tuple[float, float] | None = None
    rotate: float | None = None

    @property
    def about(self) -> dict[str, Any]:
        """For the metadata."""
        moved = self.translate and "{:g},{:g}".format(*self.translate)
        return {"translate": moved, "rotate": self.rotate}

    @property
    def variant(self) -> str:
        """For file names."""
        moved = "-move{:.12g},{:.12g}".format(*self.translate) if self.translate else ""
        return moved + ("" if self.rotate is None else f"-rotate{self.rotate:.12g}")


@dataclass(frozen=True)
class Job:
    """Images that are drawn by one call."""

    names: list[str]  # of their files, without what all files have in common
    about: list[dict[str, Any]]  # metadata of each
    choice: Choice = Choice()
    seeds: list[int] | None = None
    ws: torch.Tensor | None = None  # instead of seeds
    noise: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Sheet:
    """Where the images go: files, or one sheet."""

    folder: Path
    suffix: str  # .png or .webp
    variant: str  # of every file name
    motion: Motion
    columns: int
    as_grid: bool
    grid_name: str

    @classmethod
    def of(
        cls,
        pipe: Pipeline,
        drawing: Drawing,
        jobs: Sequence[Job],
        motion: Motion,
        folder: Path,
        suffix: str,
        columns: int | None,
        as_grid: bool,
    ) -> Sheet:
        """Raises: click.UsageError if the sheet is too large for its format."""
        count = sum(len(job.names) for job in jobs)
        choices = list(dict.fromkeys(job.choice.name for job in jobs))
        if not columns:
            columns = max(round(count**0.5), 1)
            if len(choices) > 1:
                columns = count // len(choices)
        columns = min(columns, count)
        if as_grid:
            height, width = pipe.G.config.resolution
            size = (columns * width, ceil_div(count, columns) * height)
            check_sheet(f".{suffix}", size, "--format png does")
        labels = "".join(f"-{name}" for name in choices if name)
        if len(labels) > 100:
            labels = f"-{len(choices)}labels"
        variant = drawing.variant + motion.variant
        return cls(folder, f".{suffix}", variant, motion, columns, as_grid, f"grid{labels}")

    def path_of(self, name: str) -> Path:
        """The file of a picture."""
        return self.folder / f"{name}{self.variant}{self.suffix}"

    @property
    def path(self) -> Path:
        """The file of the sheet."""
        return self.path_of(self.grid_name)


def _jobs_of_seeds(pipe: Pipeline, drawing: Drawing, seeds: list[int]) -> list[Job]:
    drawing.note_average(len(seeds))
    size = min(drawing.batch or min(pipe.batch, CHUNK), len(seeds))
    jobs = []
    for choice in drawing.choices(pipe):
        label = f"-{choice.name}" if choice.name else ""
        for part in (seeds[i : i + size] for i in range(0, len(seeds), size)):
            names = [f"seed{seed:04d}{label}" for seed in part]
            jobs.append(Job(names, [{"seed": seed} for seed in part], choice, part))
    return jobs


def _jobs_of_files(pipe: Pipeline, drawing: Drawing, paths: Sequence[str]) -> list[Job]:
    """One picture for each row. Files of one name in different folders are told apart."""
    from stylegan.errors import UserError

    jobs, owners = [], {}
    for latents in read_files(pipe, paths, drawing.noise_mode):
        stem, count = latents.path.stem, len(latents.ws)
        if owners.setdefault(stem, latents.path) != latents.path:
            raise UserError(
                latents.path,
                f"its images have the file names of those of {owners[stem]}; rename one of them",
            )
        size = drawing.batch or min(pipe.batch, CHUNK)
        if any(len(maps) > 1 for maps in latents.noise.values()):
            size = 1  # a row has noise of its own
        for start in range(0, count, size):
            rows = range(start, min(start + size, count))
            noise = {k: v[start : start + 1] if len(v) > 1 else v for k, v in latents.noise.items()}
            names = [f"{stem}-{row:04d}" for row in rows]
            about = [{"latents": str(latents.path), "row": row} for row in rows]
            ws = latents.ws[rows.start : rows.stop]
            jobs.append(Job(names, about, ws=ws, noise=noise))
    return jobs


def _draw(
    pipe: Pipeline,
    drawing: Drawing,
    jobs: Sequence[Job],
    sheet: Sheet,
    ws: WsFile,
    metadata: dict[str, Any],
) -> KeyboardInterrupt | None:
    """Draw and write all images. Returns: the interruption after which what was drawn before it
    is written."""
    from tqdm import tqdm

    from stylegan.imaging import grid, save_image

    images: list[Image] = []
    interrupted, rows = None, [row for job in jobs for row in job.about]
    count = len(rows)
    whole = metadata | _about_all(rows) | _about_labels(jobs)
    with ws.opened(whole, _common_noise(jobs)):
        try:
            with tqdm(total=count, unit="img", desc="generate", disable=None) as bar:
                for job in jobs:
                    out = _call(pipe, drawing, job, sheet.motion)
                    ws.add(out.ws)
                    bar.update(len(job.names))
                    if sheet.as_grid:
                        images += out.images
                        continue
                    for i, (name, image) in enumerate(zip(job.names, out.images)):
                        own = {**metadata, **job.about[i], **_label(pipe, job, out, i)}
                        save_image(image, sheet.path_of(name), own)
        except KeyboardInterrupt as e:
            interrupted = e
        if images:
            save_image(grid(images, sheet.columns), sheet.path, whole)
        if interrupted and not ws.ws:
            raise interrupted
    return interrupted


def _call(pipe: Pipeline, drawing: Drawing, job: Job, motion: Motion) -> PipelineOutput:
    from stylegan.inference.noise import own_noise

    how: dict[str, Any] = {
        "noise_mode": drawing.noise_mode,
        "batch": drawing.batch or (len(job.names) if drawing.compile else None),
        "translate": motion.translate,
        "rotate": motion.rotate,
    }
    if job.ws is None:
        return pipe(job.seeds, label=job.choice.value, **drawing.mapping, **how)
    with own_noise(pipe, job.noise) if job.noise else nullcontext():
        return pipe(ws=job.ws, **how)


def _label(pipe: Pipeline, job: Job, out: PipelineOutput, i: int) -> dict[str, Any]:
    """The class of one image, by name if there are names; or its label."""
    number = out.labels[i]
    if number is not None:
        names = pipe.networks.class_names
        return {"class": names[number] if names else number}
    if job.choice.text or not job.seeds or not pipe.G.c_dim:
        return {"label": job.choice.text} if job.choice.text else {}
    c = pipe.labels(None, job.seeds).c
    return {} if c is None else {"label": ",".join(f"{x:.9g}" for x in c[i].tolist())}


def _about_all(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the sheet and the file of latents say of their images."""
    seeds = [str(row["seed"]) for row in rows if "seed" in row]
    files = dict.fromkeys(row["latents"] for row in rows if "latents" in row)
    return {"seeds": ",".join(seeds)} if seeds else {"latents": ", ".join(files)}


def _about_labels(jobs: Sequence[Job]) -> dict[str, Any]:
    choices = dict.fromkeys(job.choice for job in jobs)
    classes = [c.text for c in choices if c.name.startswith("class")]
    labels = [c.text for c in choices if c.name.startswith("label")]
    about = {"class": ", ".join(classes), "label": "; ".join(labels)}
    return {name: text for name, text in about.items() if text}


def _common_noise(jobs: Sequence[Job]) -> dict[str, torch.Tensor]:
    """The noise maps to save beside ws: those of a file, if there is one."""
    import torch

    first = jobs[0].noise
    if any(job.noise.keys() != first.keys() for job in jobs):
        return {}
    maps = {name: [job.noise[name] for job in jobs] for name in first}
    same = all(all(x is own[0] or torch.equal(x, own[0]) for x in own) for own in maps.values())
    return {name: own[0] if same else torch.cat(own) for name, own in maps.items()}
