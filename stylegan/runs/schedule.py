# SPDX-License-Identifier: Apache-2.0
"""When something is due, and how long a run takes."""

from __future__ import annotations

import time

RETRY_SECONDS = 60  # after a full disk


class Due:
    """Something to do every `kimg` thousand images, and after `seconds` at the latest.

    Args:
        seen: images seen so far.
        first: whether it is due now as well.
    """

    def __init__(
        self, kimg: float, seen: int, seconds: float | None = None, first: bool = False
    ) -> None:
        self.every, self.seconds = images(kimg), seconds
        self.done(seen)
        if first:
            self._at = seen

    def __call__(self, seen: int) -> bool:
        """Whether it is due after `seen` images."""
        now = time.monotonic()
        if self._retry is not None:
            return now >= self._retry
        late = self.seconds is not None and now - self._last >= self.seconds
        return seen >= self._at or late

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
        """Speed since the last lap."""
        return (self._seen - self._lap_seen) / (self._now - self._lap)

    @property
    def mean_images_per_s(self) -> float:
        """Speed of this process; 0 before its first step."""
        return (self._seen - self._first) / self.here if self.here else 0.0

    def lap(self) -> None:
        """Measure the speed from here on."""
        self._lap, self._lap_seen = self._now, self._seen
