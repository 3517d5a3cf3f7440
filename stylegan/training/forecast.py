# SPDX-License-Identifier: Apache-2.0
"""How long a run takes, until one sees shapes and to its end, and which settings take less."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from stylegan.config import Config, preset
from stylegan.errors import UserError
from stylegan.training.plan import Plan, preset_of, with_settings
from stylegan.training.setup import resized
from stylegan.training.work import work_of
from stylegan.words import duration, pixels

LONG_SECONDS = 14 * 24 * 3600  # a run that takes longer, and
SLOW_SECONDS = 24 * 3600  # shows shapes later than this, does not fit the machine
MIN_SIDE = 32  # px, of the resolutions that are proposed
MAX_PROPOSALS = 4
MEASURE_SECONDS = 10  # in all
TOLERANCE = 4  # factor by which a guess from the work was wrong at most
CAPACITY = 4  # a proposal has this fraction of the channels


@dataclass(frozen=True)
class Forecast:
    """How long a run takes."""

    images_per_s: float
    end_kimg: float  # where it ends
    seconds_to_end: float
    shapes_kimg: float | None  # where one sees shapes; None if it has been there
    seconds_to_shapes: float | None
    by_minutes: bool  # whether config.train.minutes ends it

    @property
    def absurd(self) -> bool:
        """Whether nobody waits for it."""
        return self.seconds_to_end > LONG_SECONDS and (self.seconds_to_shapes or 0) > SLOW_SECONDS

    def __str__(self) -> str:
        text = f"about {_speed(self.images_per_s)} images/s; "
        if self.seconds_to_shapes is not None and self.shapes_kimg is not None:
            text += (
                f"first shapes after {duration(self.seconds_to_shapes)} "
                f"({self.shapes_kimg:g} kimg, a guess), "
            )
        at = f"about {self.end_kimg:.3g} kimg, --minutes" if self.by_minutes else "--kimg"
        return f"{text}the end after {duration(self.seconds_to_end)} ({at})"


@dataclass(frozen=True)
class Proposal:
    """Settings that take less time, and how long they take."""

    options: str
    forecast: Forecast
    measured: bool = False  # by steps of these settings; else estimated from their work

    def __str__(self) -> str:
        return f"{self.forecast}; {'measured' if self.measured else 'estimated'}"

    def within(self, seconds: float) -> bool:
        """Whether one sees shapes within so many seconds."""
        return (self.forecast.seconds_to_shapes or 0) <= seconds


def shapes_kimg(config: Config) -> float:
    """At how many kimg one sees shapes, a guess.

    12 kimg up to 64 px, as in the demo, and 2.8 times as many for each doubling of the side: 34 at
    128 px, 96 at 256 px, as in published runs of StyleGAN2.
    """
    height, width = config.G.resolution
    kimg = 12 * max((height * width) ** 0.5 / 64, 1) ** 1.5
    return float(f"{kimg:.2g}")


def forecast(config: Config, seconds_per_image: float, seen: int = 0) -> Forecast:
    """How long a run takes.

    Args:
        config: a resolved `Config`.
        seconds_per_image: of its steps.
        seen: images that it has seen.
    """
    t = config.train
    seconds = max(t.kimg * 1000 - seen, 0) * seconds_per_image
    by_minutes = t.minutes is not None and t.minutes * 60 < seconds
    if by_minutes:
        seconds = (t.minutes or 0) * 60
    end = seen / 1000 + seconds / seconds_per_image / 1000
    shapes: float | None = shapes_kimg(config)
    if t.init_from or shapes is None or shapes * 1000 <= seen or shapes > end:
        shapes = None
    to_shapes = None if shapes is None else (shapes * 1000 - seen) * seconds_per_image
    return Forecast(1 / seconds_per_image, end, seconds, shapes, to_shapes, by_minutes)


def proposals(
    plan: Plan, seconds_per_image: float, measure: Callable[[Config], float]
) -> list[Proposal]:
    """Settings with which this machine shows shapes within a day, or else the quickest of all.

    The work of their networks says which are worth a measurement.

    Args:
        seconds_per_image: of the plan's own settings.
        measure: the same for other settings. If these take long, the rest is a guess.
    """
    work, begun = work_of(plan.config), time.monotonic()
    found: list[Proposal] = []
    last: Proposal | None = None
    for options, config in _candidates(plan):
        last = Proposal(options, forecast(config, seconds_per_image * work_of(config) / work))
        if not last.within(TOLERANCE * SLOW_SECONDS):
            continue
        if time.monotonic() - begun < MEASURE_SECONDS:
            last = Proposal(options, forecast(config, measure(config)), measured=True)
        if last.within(SLOW_SECONDS):
            found.append(last)
        if len(found) == MAX_PROPOSALS:
            break
    return found or ([last] if last else [])


def _candidates(plan: Plan) -> Iterator[tuple[str, Config]]:
    """(options, config) of settings that take less and less."""
    asked = dict(plan.wanted.fields)
    height, width = plan.config.G.resolution
    base = max((plan.config.G.channel_base or 0) // CAPACITY, 1)
    tried = [
        ("small", {}, 1),
        (None, {"channel_base": base}, 1),
        ("small", {}, 2),
        (None, {}, 2),
        ("small", {}, 4),
        (None, {}, 4),
        ("small", {}, 8),
        ("small", {}, 16),
    ]
    for name, fields, shrink in tried:
        size = height // shrink, width // shrink
        if min(size) < MIN_SIDE and shrink > 1:
            continue
        options = [f"--preset {name}"] if name else []
        options += [f"--channel-base {value}" for value in fields.values()]
        options += [f"--resolution {_size_option(size)}"] if shrink > 1 else []
        settings: dict[str, Any] = {**asked, **fields}
        settings.pop("resolution", None)
        try:
            start = preset(name or preset_of(plan.wanted, plan.device))
            yield " ".join(options), resized(with_settings(start, settings), plan.config, size)
        except UserError:  # a setting that the preset does not have, or no network of this size
            continue


def _size_option(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else pixels(size)


def _speed(images_per_s: float) -> str:
    digits = max(1 - math.floor(math.log10(images_per_s)), 0) if images_per_s > 0 else 0
    return f"{images_per_s:.{digits}f}"
