# SPDX-License-Identifier: Apache-2.0
"""When something is due, and how long a run takes."""

from __future__ import annotations

import time

RETRY_SECONDS = 60  # after a full disk
FIRST_SECONDS = 45  # of a run until the first snapshot: people look after a minute


class Due:
    """Something to do every `kimg` thousand images, and after `seconds` at the latest.

    Args:
        seen: images seen so far.
        first: whether it is due now as well.
        trained: seconds that the run has trained so far. If given, the time between two grows with
            the run up to `seconds`: 45 s, then 1, 2, 4, 8, ... minutes.
    """

    def __init__(
        self,
        kimg: float,
        seen: int,
        seconds: float | None = None,
        first: bool = False,
        trained: float | None = None,
    ) -> None:
        self.every, self.seconds, self._trained = images(kimg), seconds, trained
        self._begun = time.monotonic()
        self.done(seen)
        if first:
            self._at = seen

    def __call__(self, seen: int) -> bool:
        """Whether it is due after `seen` images."""
        now = time.monotonic()
        if self._retry is not None:
            return now >= self._retry
        late = self._wait is not None and now - self._last >= self._wait
        return seen >= self._at or late

    def early(self, seen: int) -> bool:
        """Whether it is due, if at all, only because the run is young."""
        young = self._wait is not None and self.seconds is not None and self._wait < self.seconds
        return young and seen < self._at

    @property
    def _wait(self) -> float | None:
        """Seconds from the last time to the next."""
        if self.seconds is None or self._trained is None:
            return self.seconds
        trained = self._trained + self._last - self._begun
        return min(max(trained + 60 - FIRST_SECONDS, FIRST_SECONDS), self.seconds)

    def done(self, seen: int) -> None:
        """Note that it was done."""
        self._at = (seen // self.every + 1) * self.every
        self._last = time.monotonic()
        self._retry: float | None = None

    def failed(self) -> None:
        """Note that it failed. It is due again in a minute."""
        self._retry = time.monotonic() + RETRY_SECONDS


def images(kimg: float) -> int:
    """Thousands of images as a whole number of images, at least one."""
    return max(round(kimg * 1000), 1)


class Clock:
    """How long a run has trained, and how fast.

    Args:
        earlier: seconds of training before this process.
        seen: images seen so far.
    """

    def __init__(self, earlier: float, seen: int) -> None:
        self._earlier, self._first, self._seen, self._lap_seen = earlier, seen, seen, seen
        self._begun = self._now = self._lap = time.monotonic()

    def read(self, seen: int) -> float:
        """Take the time after a step. Returns: seconds of training, earlier processes included."""
        self._now, self._seen = time.monotonic(), seen
        return self._earlier + self._now - self._begun

    @property
    def here(self) -> float:
        """Seconds of training in this process."""
        return self._now - self._begun

    @property
    def images_per_s(self) -> float:
        """Speed since the last lap; 0 if the clock has not moved."""
        seconds = self._now - self._lap
        return (self._seen - self._lap_seen) / seconds if seconds else 0.0

    @property
    def mean_images_per_s(self) -> float:
        """Speed of this process; 0 before its first step."""
        return (self._seen - self._first) / self.here if self.here else 0.0

    def lap(self) -> None:
        """Measure the speed from here on."""
        self._lap, self._lap_seen = self._now, self._seen
