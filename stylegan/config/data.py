# SPDX-License-Identifier: Apache-2.0
"""Which images to train on."""

from dataclasses import dataclass

from stylegan.config.network import as_size
from stylegan.errors import UserError


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are read."""

    path: str | None = None  # folder or zip; None is the embedded demo
    resolution: tuple | None = (
        None  # height, width in px to crop and resize to; None takes images as they are
    )
    channels: int | None = None  # 1, 3 or 4; None takes what most images have
    cond: bool = False  # train on the labels
    mirror: bool = False  # show every image flipped half of the time
    max_images: int | None = None  # train on a random subset of this many; None: all
    workers: int | None = None  # loader processes; None: 0 where the decoded images fit in memory

    def __post_init__(self):
        if self.resolution is not None:
            object.__setattr__(self, "resolution", as_size(self.resolution))
        if self.channels not in (None, 1, 3, 4):
            raise UserError("channels", f"expected 1, 3 or 4, got {self.channels}")
        if self.max_images is not None and not self.max_images > 0:
            raise UserError("max_images", f"expected a number above 0, got {self.max_images}")
