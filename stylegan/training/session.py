# SPDX-License-Identifier: Apache-2.0
"""A planned run, from its header to its last snapshot. The command line and Python both call it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import stylegan_ops
from stylegan.runs.folder import new_run_dir
from stylegan.snapshots import snapshots_of
from stylegan.training.header import header
from stylegan.training.loop import Trainer
from stylegan.training.plan import Plan
from stylegan.training.setup import about, check_ops, configure_device
from stylegan.training.transfer import transfer

if TYPE_CHECKING:
    pass


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


def carry_out(
    plan: Plan, say: Callable[[str], None], *, dry_run: bool = False
) -> TrainingResult | None:
    """Print the header, and train.

    Args:
        say: called with the lines of the header.
        dry_run: stop after the header.
    Returns: how it ended; None after a dry run.
    Raises: UserError; TrainingError if training fails for good.
    """
    ops = plan.config.train.ops
    configure_device(plan.device, plan.config.train.tf32)
    with stylegan_ops.backend(ops) if ops else nullcontext():
        check_ops(plan.device)
        trainer = _trainer(plan, dry_run)
        say("\n".join(header(plan.config, plan.dataset, trainer.model, plan.device)))
        if plan.config.train.init_from and not _continues(plan):
            say("\n".join(["", *_transferred(trainer)]))
        if dry_run:
            return None
        if not plan.run_dir:
            height, width = plan.dataset.resolution
            name = f"{plan.dataset.name}-{width}x{height}"
            extra = about(plan.dataset, plan.device)
            trainer.run_dir = new_run_dir(plan.outdir, name, plan.config, extra)
        say(f"folder  {trainer.run_dir}\n")
        last = trainer.run()
    return _result(trainer, last)


def _trainer(plan: Plan, dry_run: bool) -> Trainer:
    """What trains, at the image where it continues."""
    trainer = Trainer(plan.config, plan.dataset, plan.device, plan.run_dir)
    if plan.snapshot:
        trainer.resume(plan.snapshot)
    elif plan.run_dir and not dry_run:
        trainer.resume_newest()
    return trainer


def _continues(plan: Plan) -> bool:
    return bool(plan.snapshot or plan.run_dir and snapshots_of(plan.run_dir))


def _transferred(trainer: Trainer) -> list[str]:
    """Start with the weights of another network. Returns: a table of what fits."""
    config = trainer.config
    names = trainer.dataset.class_names if config.G.c_dim else ()
    return transfer(trainer.model, config.train.init_from or "", names)


def _result(trainer: Trainer, last: Path | None) -> TrainingResult:
    ended = "signal" if trainer.interrupt.signal else "minutes" if trainer.late else "length"
    return TrainingResult(
        trainer.run_dir,
        last,
        trainer.kimg,
        trainer.config.train.kimg,
        ended,
        trainer.interrupt.signal,
    )
