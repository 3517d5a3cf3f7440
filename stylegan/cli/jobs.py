# SPDX-License-Identifier: Apache-2.0
"""What `stylegan generate` draws, call by call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylegan.cli.drawing import Drawing, note
from stylegan.cli.labels import Choice, label_text
from stylegan.cli.latents import read_files
from stylegan.cli.pictures import class_text

if TYPE_CHECKING:
    import torch

    from stylegan.inference.pipeline import Pipeline, PipelineOutput

CHUNK = 64  # maximum number of images between two steps of the progress bar


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


def jobs_of_seeds(pipe: Pipeline, drawing: Drawing, seeds: list[int]) -> list[Job]:
    """Every seed with every label. Raises: UserError for a label that does not fit."""
    drawing.note_average(pipe, len(seeds))
    size = min(drawing.batch or min(pipe.batch, CHUNK), len(seeds))
    jobs = []
    for choice in drawing.choices(pipe):
        label = f"-{choice.name}" if choice.name else ""
        for part in (seeds[i : i + size] for i in range(0, len(seeds), size)):
            names = [f"seed{seed:04d}{label}" for seed in part]
            jobs.append(Job(names, [{"seed": seed} for seed in part], choice, part))
    return jobs


def jobs_of_files(pipe: Pipeline, drawing: Drawing, paths: Sequence[str]) -> list[Job]:
    """One picture for each row of the files.

    Raises: UserError if a file does not fit the network, or two have the same name.
    """
    from stylegan.errors import UserError

    jobs: list[Job] = []
    owners: dict[str, Path] = {}
    own = drawing.noise_mode == "const"
    for latents in read_files(pipe, paths, None if own else f"--noise-mode {drawing.noise_mode}"):
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


def call(pipe: Pipeline, drawing: Drawing, job: Job, motion: Motion) -> PipelineOutput:
    """Draw the images of a job."""
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


def label_of(pipe: Pipeline, job: Job, out: PipelineOutput, i: int) -> dict[str, Any]:
    """The class of one image, by name if there are names; or its label, and all numbers of it by
    name."""
    from stylegan.inference.named import Names

    number = out.labels[i]
    if number is not None:
        names = pipe.networks.class_names
        return {"class": names[number] if names else number}
    row, names = _row(pipe, job, i), pipe.networks.label_names
    if not row:
        return {}
    values = {"label_values": Names(names).all(row)} if names else {}
    return {"label": job.choice.text or label_text(row), **values}


def _row(pipe: Pipeline, job: Job, i: int) -> list[float]:
    """The label vector of one image; empty without."""
    c = pipe.labels(job.choice.value, job.seeds[i : i + 1]).c if job.seeds else None
    return [] if c is None else c[0].tolist()


def caption_of(pipe: Pipeline, job: Job, out: PipelineOutput, i: int) -> str:
    """What is written below one image: its seed and label, or its file and row."""
    from stylegan.inference.named import Names

    about = job.about[i]
    if job.ws is not None:
        return f"{Path(about['latents']).stem}\nrow {about['row']}"
    seed = f"seed {about['seed']}"
    label, number = label_of(pipe, job, out, i), out.labels[i]
    if number is not None:
        return f"{seed}\n{class_text(str(label['class']), number)}"
    names = pipe.networks.label_names
    value = job.choice.value
    if names and (not isinstance(value, Mapping) or len(value) == len(names)):
        return f"{seed}\n{Names(names).words(_row(pipe, job, i))}"
    return f"{seed}\n{label['label']}" if "label" in label else seed


def common_noise(jobs: Sequence[Job]) -> dict[str, torch.Tensor]:
    """The noise maps to save beside ws: those of a file, if there is one."""
    import torch

    first = jobs[0].noise
    alike = all(job.noise.keys() == first.keys() for job in jobs)
    maps = {name: [job.noise[name] for job in jobs] for name in first} if alike else {}
    if alike and all(torch.equal(x, own[0]) for own in maps.values() for x in own):
        return first
    if alike and all(len(job.names) == 1 for job in jobs):
        return {name: torch.cat(own) for name, own in maps.items()}
    note("the files hold different noise maps, which --save-ws leaves out")
    return {}
