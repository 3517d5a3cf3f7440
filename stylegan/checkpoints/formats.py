# SPDX-License-Identifier: Apache-2.0
"""What a file of another program holds, once it has been understood."""

from dataclasses import dataclass, field

import torch

from stylegan.checkpoints.pickle.source import Array, Derived
from stylegan.config import Config, DiscriminatorConfig
from stylegan.models.build import Unfilled, build_discriminator, build_generator
from stylegan.words import one_line

GROWTH = 4  # times as much memory as the file, for a network; float16 takes 2
ROOM = 1 << 20  # bytes that one of any size may take


@dataclass
class Checkpoint:
    """Networks that lie in a file.

    Attributes:
        format: who writes such files.
        family: which networks they are, for people.
        stored: {"G_ema", "G", "D": {their name of a tensor: `Array`}}, as far as they are there.
        tensors: the same under our names, or None where we cannot build them, and
        reason: why not.
        config: what they are built from, or None.
        meta: JSON for the snapshot: data set, ADA's p.
        recorded: {"resolution", "channels"} as far as the file says them in so many words.
        code: characters of source text that came with it, which nobody runs.
    """

    format: str
    family: str
    stored: dict
    tensors: dict | None = None
    config: Config | None = None
    reason: str | None = None
    meta: dict = field(default_factory=dict)
    recorded: dict = field(default_factory=dict)
    code: int = 0

    def check(self):
        """Compare every name and shape with the networks that `config` gives.

        Raises: ValueError that names the first that does not fit.
        """
        for name, tensors in self.tensors.items():
            check_growth(name, tensors)
            with torch.device("meta"), Unfilled():
                expected = {k: tuple(v.shape) for k, v in self._empty(name).state_dict().items()}
            missing, extra = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
            if missing or extra:
                what, which = ("lacks", missing) if missing else ("has, beyond our network,", extra)
                more = f" and {len(which) - 1} more" if len(which) > 1 else ""
                raise ValueError(f"{name} {what} {min(which)}{more}")
            for key, shape in expected.items():
                found = tensors[key]
                if found.shape != shape and not (found.numel == 1 and shape in ((), (1,))):
                    raise ValueError(
                        f"{name}.{key} is {str(list(found.shape))[:60]}, expected {list(shape)}"
                    )

    def fail(self, reason):
        """The networks cannot be built. Args: reason: an exception or text."""
        self.reason = one_line(reason, 300)
        self.tensors = self.config = None

    def number_classes(self):
        """Their names are in no file: numbers stand for them."""
        count = self.config.G.c_dim
        if count > 1 and not self.meta.get("dataset", {}).get("class_names"):
            self.meta.setdefault("dataset", {})["class_names"] = [str(i) for i in range(count)]

    def parameters(self, name):
        """Number of trainable numbers of a network that can be built."""
        with torch.device("meta"), Unfilled():
            return sum(p.numel() for p in self._empty(name).parameters())

    def read(self, name):
        """A network with its weights, on the CPU, or None if there is none."""
        if name not in self.tensors:
            return None
        with Unfilled():
            network = self._empty(name)
        with torch.no_grad():
            for key, value in network.state_dict().items():
                value.copy_(self.tensors[name][key].read().reshape(value.shape))
        return network

    def _empty(self, name):
        if name == "D":
            return build_discriminator(self.config.D)
        return build_generator(self.config.G)


def fresh_discriminator(G):
    """Settings of one that begins anew beside a generator. Args: G: its config."""
    return DiscriminatorConfig(
        resolution=G.resolution, channels=G.channels, c_dim=G.c_dim, channel_base=G.channel_base
    )


def check_growth(name, tensors):
    """Tensors that lie over each other must not make a small file a large network.

    Raises: ValueError.
    """
    total = size = 0
    for array in tensors.values():
        while isinstance(array, Derived):
            array = array.array
        if isinstance(array, Array):
            data = array.storage.data
            size = max(size, 0 if isinstance(data, bytes) else data.file.size)
            total += max(array.extent * array.dtype.itemsize, array.numel * 4)
    if total > GROWTH * size + ROOM:
        raise ValueError(f"{name}: its tensors are the same numbers over and over")


def widths_of(widths, channel_base, channel_max):
    """None if the channels of blocks, from the smallest, follow from channel_base and channel_max;
    else themselves, for `GeneratorConfig.widths`."""
    ruled = [max(1, min(channel_base // (4 << i), channel_max)) for i in range(len(widths))]
    return None if list(widths) == ruled else tuple(widths)
