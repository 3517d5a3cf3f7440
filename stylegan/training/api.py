# SPDX-License-Identifier: Apache-2.0
"""`stylegan.train`: what the command does, from Python."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from stylegan.runs.progress import OnProgress
from stylegan.runs.resume import kimg_of
from stylegan.snapshots import snapshots_of
from stylegan.training.notebook import InlineSheets, NotebookStream, in_notebook
from stylegan.training.plan import OtherSettings, Plan, Request, make_plan
from stylegan.training.session import TrainingResult, carry_out


def train(
    data: str | Path | None = None,
    preset: str | None = None,
    *,
    outdir: str | Path = "runs",
    resume: str | Path | None = None,
    device: str | torch.device = "auto",
    progress: OnProgress | bool | None = None,
    **fields: Any,
) -> TrainingResult:
    """Train a network on images, as `stylegan train` does.

    Ctrl-C, or the stop button of a notebook, finishes the step, writes a snapshot and returns. A
    second one is a KeyboardInterrupt. Outside the main thread only `progress` can stop the run.

    Args:
        data: folder, zip or tar of images, or the name of a demo; None: the default demo, or the
            data of the run to resume.
        preset: the settings to start from; None: auto, or those of the demo without `data`.
        outdir: folder of the runs.
        resume: a run or a snapshot to continue; "auto": the newest run in `outdir` with these
            settings, or a new one.
        device: auto, cpu, cuda, cuda:1, mps.
        progress: None: print the header and draw a bar; a notebook also shows the newest sheet of
            samples. False: print nothing. A function: print nothing, and call it with a
            `RunProgress` after every line of the log and every new sheet, on the thread that
            trains; the run stops with a snapshot if it returns False.
        fields: settings by the names of the command line, such as `resolution=128, mirror=True,
            kimg=500, batch_gpu=4`.
    Returns: the run's folder, its last snapshot, and why it ended.
    Raises: UserError for a wrong setting or images that cannot be used; TrainingError if training
        fails for good.
    """
    quiet = progress is False or callable(progress)
    say = _nothing if quiet else _print
    options = {**fields} if data is None else {**fields, "path": str(data)}
    if options.get("init_from") is not None:
        options["init_from"] = str(options["init_from"])
    source = None if resume is None else str(resume)
    try:
        plan = make_plan(Request(options, preset, source, str(outdir), device), say)
    except OtherSettings as e:
        say("\n".join(e.table))
        raise
    if plan.finished:
        return _finished(plan)
    stream: Any = _Nowhere() if quiet else None
    on_progress = progress if callable(progress) else None
    if not quiet and in_notebook():
        stream, on_progress = NotebookStream(), InlineSheets()
    result = carry_out(
        plan, say, time_it=not quiet, on_progress=on_progress, stream=stream, embedded=True
    )
    assert result is not None  # it was no dry run
    if result.signal and result.signal != signal.SIGINT:
        signal.raise_signal(result.signal)  # it was meant for the whole program
    return result


def _finished(plan: Plan) -> TrainingResult:
    """The result of a run that is at its end already."""
    run_dir = plan.run_dir or Path()
    snapshot = next(reversed(snapshots_of(run_dir)), None)
    return TrainingResult(run_dir, snapshot, kimg_of(run_dir), plan.config.train.kimg, "length")


def _print(text: str) -> None:
    print(text, flush=True)


_nothing: Callable[[str], None] = lambda text: None


class _Nowhere(io.TextIOBase):
    """A stream that drops everything."""

    def write(self, text: str) -> int:
        return len(text)
