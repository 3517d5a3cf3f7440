# SPDX-License-Identifier: Apache-2.0
"""A planned run, from its header to its last snapshot. The command line and Python both call it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import torch

import stylegan_ops
from stylegan.inference.pipeline import Pipeline
from stylegan.runs.folder import new_run_dir
from stylegan.runs.progress import OnProgress
from stylegan.snapshots import snapshots_of
from stylegan.training.forecast import forecast, proposals
from stylegan.training.free_memory import excess, free_memory_gb, with_less_memory
from stylegan.training.header import cached_gb, header, proposal_lines
from stylegan.training.loop import Trainer
from stylegan.training.plan import Plan
from stylegan.training.setup import about, check_ops, configure_device
from stylegan.training.timing import seconds_per_image
from stylegan.training.transfer import transfer
from stylegan.words import one_line, short

MIN_STEPS = 20  # of a run that is worth timing
OTHERS_SECONDS = 3  # of timing each of some other settings


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended."""

    run_dir: Path
    snapshot: Path | None  # the last one; None if none could be written
    kimg: float
    target_kimg: float
    ended: str  # "length", "minutes", "signal", or "progress" if that returned False
    signal: int | None = None  # its number

    @property
    def exit_code(self) -> int:
        """Of a program that does nothing else: 130 after Ctrl-C, 143 after SIGTERM, 1 if no
        snapshot could be written, else 0."""
        return 128 + self.signal if self.signal else int(self.snapshot is None)

    def pipeline(self, device: str | torch.device = "auto") -> Pipeline:
        """The trained network, to draw with. Raises: UserError if there is no snapshot."""
        return Pipeline.from_pretrained(self.snapshot or self.run_dir, device=device)


def carry_out(
    plan: Plan,
    say: Callable[[str], None],
    *,
    dry_run: bool = False,
    time_it: bool = True,
    on_progress: OnProgress | None = None,
    stream: TextIO | None = None,
    embedded: bool = False,
) -> TrainingResult | None:
    """Print the header, and train.

    Args:
        say: called with the lines of the header.
        dry_run: stop after the header.
        time_it: time a few steps, and say how long the run takes.
        on_progress, stream, embedded: of the `Trainer`.
    Returns: how it ended; None after a dry run.
    Raises: UserError; TrainingError if training fails for good.
    """
    ops = plan.config.train.ops
    configure_device(plan.device, plan.config.train.tf32)
    with stylegan_ops.backend(ops) if ops else nullcontext():
        check_ops(plan.device)
        trainer = Trainer(
            plan.config, plan.dataset, plan.device, plan.run_dir, on_progress, stream, embedded
        )
        if plan.snapshot:
            trainer.resume(plan.snapshot)
        elif plan.run_dir and not dry_run:
            trainer.resume_newest()
        say("\n".join(header(plan.config, plan.dataset, trainer.model, plan.device)))
        seen = _continued_at(plan, trainer, say)
        if plan.config.train.init_from and not seen:
            say("\n".join(["", *_transferred(trainer), ""]))
        if time_it:
            _say_forecast(plan, seen, say)
        if dry_run:
            return None
        if not plan.run_dir:
            height, width = plan.dataset.resolution
            name = f"{plan.dataset.name}-{width}x{height}"
            extra = about(plan.dataset, plan.device)
            trainer.run_dir = new_run_dir(plan.wanted.outdir, name, plan.config, extra)
        say(f"folder  {trainer.run_dir}\n")
        last = trainer.run()
    return _result(trainer, last)


def _continued_at(plan: Plan, trainer: Trainer, say: Callable[[str], None]) -> int:
    """Say where the run continues. Returns: the images that it has seen."""
    snapshot = trainer.resumed_from
    if snapshot is None and plan.run_dir:  # in a dry run nothing is read
        snapshot = next(reversed(snapshots_of(plan.run_dir)), None)
    if snapshot is None:
        return 0
    kimg = trainer.kimg or float(snapshot.name)
    say(f"resume  continues at {short(kimg)} kimg from {snapshot}")
    return round(kimg * 1000)


def _say_forecast(plan: Plan, seen: int, say: Callable[[str], None]) -> None:
    """Time a few steps, and say how long the run takes."""
    config, cached = plan.config, cached_gb(plan.config, plan.dataset, plan.device)
    if config.train.kimg * 1000 - seen < MIN_STEPS * config.train.batch:
        return
    free = free_memory_gb(plan.device)
    if free is not None and excess(config, plan.device, free, cached):
        fewer = with_less_memory(config, plan.device, free, cached)
        if fewer is None:
            return
        config = fewer
    say("time    timing a few steps, for about 10 seconds")
    try:
        seconds = seconds_per_image(config, plan.dataset, plan.device, seen)
        expected = forecast(config, seconds, seen)
        say(f"time    {expected}")
        if expected.absurd and not seen:
            say("time    timing other settings, for about 10 seconds")
            measure = lambda other: seconds_per_image(
                other, plan.dataset, plan.device, max_seconds=OTHERS_SECONDS
            )
            say("\n".join(proposal_lines(proposals(plan, seconds, measure))))
    except (RuntimeError, MemoryError) as e:  # too little memory; training may still have enough
        say(f"time    unknown, a step failed ({one_line(e, 100)})")


def _transferred(trainer: Trainer) -> list[str]:
    """Start with the weights of another network. Returns: a table of what fits."""
    config = trainer.config
    labels, classes = trainer.dataset.labels, trainer.dataset.class_names
    names = labels.attributes if labels and not classes else ()
    if not config.G.c_dim:
        classes = names = ()
    return transfer(trainer.model, config.train.init_from or "", classes, names)


def _result(trainer: Trainer, last: Path | None) -> TrainingResult:
    ended = "signal" if trainer.interrupt.signal else "minutes" if trainer.late else "length"
    ended = "progress" if trainer.stopped else ended
    return TrainingResult(
        trainer.run_dir,
        last,
        trainer.kimg,
        trainer.config.train.kimg,
        ended,
        trainer.interrupt.signal,
    )
