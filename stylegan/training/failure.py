# SPDX-License-Identifier: Apache-2.0
"""Training that fails for good: noticed, and explained with what may help."""

from __future__ import annotations

from pathlib import Path

import torch

from stylegan.errors import TrainingError
from stylegan.snapshots import snapshots_of
from stylegan.training.guards import LIMIT
from stylegan.training.step import TrainingStep
from stylegan.words import short


def check_updates(
    model: TrainingStep, reals: torch.Tensor, c: torch.Tensor | None, run_dir: Path
) -> None:
    """Stop a run whose updates fail again and again. This waits for the device.

    Args:
        reals, c: the last batch, to find the layer at which values stop being finite.
    Raises: TrainingError.
    """
    failing = model.finite.failing()
    if not failing:
        return
    layers = model.finite.layers()
    first = model.first_nonfinite(reals, c)
    why = f"{' and '.join(failing)} was not finite {LIMIT} times in a row, or nearly always"
    if layers:
        why += f"; most in {layers}"
    if first:
        why += f"; first in the output of {first}"
    raise failure(model.images_seen, why, run_dir)


def failure(images_seen: int, why: str, run_dir: Path) -> TrainingError:
    """The error that ends a run."""
    snapshots = snapshots_of(run_dir)
    if snapshots:
        good = (
            f"the last good snapshot is {snapshots[-1]}: --init-from continues from it with other "
            "settings"
        )
    else:
        good = "there is no earlier snapshot"
    return TrainingError(
        f"training failed at {short(images_seen / 1000)} kimg: {why}; {good}; a smaller --g-lr and "
        "--d-lr, a larger --gamma or --precision float32 may help"
    )
