# SPDX-License-Identifier: Apache-2.0
"""What images there are, from a look at some of them."""

import os
from collections import Counter
from dataclasses import dataclass
from os.path import splitext

from stylegan.data import decode
from stylegan.errors import UserError, reason_for
from stylegan.words import pixels as px


@dataclass
class Survey:
    """What was seen in the files looked at."""

    looked: int  # files
    sizes: Counter  # {(height, width) in px: images}
    channels: Counter  # {1, 3 or 4: images}
    failures: list  # [(file, why)] of those that cannot be used
    first: dict  # {(height, width): a file of that size}

    @property
    def common_channels(self):
        """The channels that suit the images: 4 if at least half have transparency, else 3 if any
        has colour, else 1."""
        if 2 * self.channels[4] >= self.channels.total():
            return 4
        return 3 if self.channels[3] else 1

    def one_size(self, where):
        """(height, width) that all images have. Raises: UserError if they differ."""
        sizes = list(self.sizes)
        if len(sizes) > 1:
            (a, first), (b, other) = ((px(s), self.first[s]) for s in sizes[:2])
            raise UserError(
                where,
                f"{other} has {b} px but {first} has {a}; --resolution 256 crops and resizes all",
            )
        return sizes[0]


def survey(source, files, limit):
    """Look at `limit` of the images of a source, evenly spaced.

    Raises: UserError if none of them can be used.
    """
    looked = files[:: max(len(files) // limit, 1)]
    found = Survey(len(looked), Counter(), Counter(), [], {})
    for name in looked:
        try:
            height, width, channels = decode.look(source.read(name), name)
        except UserError as e:
            found.failures.append((name, reason_for(e, name)))
            continue
        found.sizes[height, width] += 1
        found.channels[channels] += 1
        found.first.setdefault((height, width), name)
    if not found.sizes:
        why = ": ".join(found.failures[0])
        raise UserError(source.path, f"none of {len(looked)} files looked at can be used; {why}")
    return found


def images_in(source):
    """The names of the images in a source. Raises: UserError if there are none."""
    known = decode.extensions()
    files = [name for name in source.names if splitext(name)[1].lower() in known]
    if not files:
        raise UserError(source.path, "no images that Pillow can open")
    return files


def cpu_count():
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
