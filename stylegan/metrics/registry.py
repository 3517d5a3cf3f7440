# SPDX-License-Identifier: Apache-2.0
"""The metrics by name. A metric is imported when it is measured, since it needs torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stylegan.metrics.labels import TrainingLabels
    from stylegan.networks import Networks


@dataclass(frozen=True)
class Options:
    """How to measure."""

    samples: int  # images, or whatever the metric draws
    batch: int | None = None  # samples at once; None: by resolution
    seed: int = 0  # of all random numbers
    psi: float = 1  # truncation,
    center: str | None = None  # towards the mean of "all" or "class"; None: as a `Pipeline`
    labels: TrainingLabels | None = None  # of the images; None: those of the training set
    progress: Callable[[int], object] | None = None  # gets the number of samples since last time


@dataclass(frozen=True)
class Metric:
    """A metric that can be asked for by name."""

    measure: Callable[[Networks, Options], dict[str, float]]  # -> {name of a result: value}
    samples: int  # default
    unit: str  # of its results
    about: str  # one line


def _eqt(networks: Networks, options: Options) -> dict[str, float]:
    return _equivariance(networks, options, "eqt_int", "eqt_frac")


def _eqr(networks: Networks, options: Options) -> dict[str, float]:
    return _equivariance(networks, options, "eqr")


def _equivariance(networks: Networks, options: Options, *kinds: str) -> dict[str, float]:
    from stylegan.metrics.equivariance import equivariance
    from stylegan.metrics.labels import TrainingLabels

    return equivariance(
        networks.best_G,
        kinds,
        options.samples,
        options.batch,
        options.seed,
        options.psi,
        options.progress,
        options.labels or TrainingLabels.of(networks),
        options.center,
    )


METRICS = {
    "eqt": Metric(_eqt, 1000, "dB", "equivariance to translation, by whole pixels and fractions"),
    "eqr": Metric(_eqr, 1000, "dB", "equivariance to rotation"),
}
