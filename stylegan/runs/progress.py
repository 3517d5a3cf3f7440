# SPDX-License-Identifier: Apache-2.0
"""How far a run is, for the caller's own code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunProgress:
    """What a run reports while it trains."""

    kimg: float  # thousands of real images shown so far
    target_kimg: float  # where the run ends
    seconds: float  # of training, over all processes of the run
    images_per_s: float  # speed at the last line of the log; 0 before the first
    seconds_left: float | None  # at the mean speed so far; None before the first step
    losses: dict[str, float]  # means at the last line of the log: G, D; r1, path_length if measured
    sheet: Path | None  # the newest sheet of samples that this process wrote


# Called on the thread that trains. False stops the run with a snapshot, as Ctrl-C does.
OnProgress = Callable[[RunProgress], bool | None]
