# SPDX-License-Identifier: Apache-2.0
"""Figures of merit of a generator, by name."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How to measure."""

    samples: int = 1000  # pictures, or whatever the metric draws
    batch: int | None = None  # at once; None: by resolution
    seed: int = 0  # of everything that is drawn
    psi: float = 1  # truncation
    progress: Callable | None = None  # called with the number of samples done since its last call


@dataclass(frozen=True)
class Metric:
    """A metric that can be asked for."""

    measure: Callable  # (Networks, Options) -> {name of a figure: value}
    samples: int  # unless given
    unit: str  # of its figures
    about: str  # a line


def _eqt(networks, options):
    return _equivariance(networks, options, ["eqt_int", "eqt_frac"])


def _eqr(networks, options):
    return _equivariance(networks, options, ["eqr"])


def _equivariance(networks, options, kinds):
    from stylegan.metrics.equivariance import equivariance  # not before it is asked for: torch

    return equivariance(
        networks.G_ema,
        kinds,
        options.samples,
        options.batch,
        options.seed,
        options.psi,
        options.progress,
    )


METRICS = {
    "eqt": Metric(_eqt, 1000, "dB", "equivariance to translation, by whole pixels and fractions"),
    "eqr": Metric(_eqr, 1000, "dB", "equivariance to rotation"),
}
