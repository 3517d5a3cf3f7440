# SPDX-License-Identifier: Apache-2.0
"""Builds the networks of a file one by one, so that one that cannot be built loses no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from stylegan.checkpoints.find import Found
from stylegan.checkpoints.formats import Checkpoint, Tensors, fresh_discriminator
from stylegan.config import Config, DiscriminatorConfig, GeneratorConfig, Stylegan3Config

GENERATORS = ("G_ema", "G")

Content = TypeVar("Content")


class NetworkReader(Protocol):
    """How a format reads one network. Every method raises ValueError for one that ours cannot be.

    `name` is "G_ema", "G" or "D", a network of `Checkpoint.stored`.
    """

    def generator(self, name: str) -> GeneratorConfig | Stylegan3Config:
        """Settings of a generator."""

    def discriminator(self, G: GeneratorConfig | Stylegan3Config) -> DiscriminatorConfig:
        """Settings of the discriminator. Args: G: settings of the generator."""

    def tensors(self, name: str, config: Config) -> Tensors:
        """The tensors of a network under our names. Args: config: its settings."""


def each_readable(
    found: Found, read: Callable[[str], Content]
) -> tuple[dict[str, Content], dict[str, ValueError]]:
    """What the networks of a file hold, one by one.

    Args: read: the content of "G_ema", "G" or "D"; it raises ValueError.
    Returns: {network: content}, and {network: why it cannot be read}.
    Raises: ValueError if a network cannot be read, and no generator can.
    """
    contents: dict[str, Content] = {}
    failed: dict[str, ValueError] = {}
    for name in found.roles:
        try:
            contents[name] = read(name)
        except ValueError as e:
            failed[name] = e
    if failed and not set(GENERATORS) & contents.keys():
        raise next(iter(failed.values()))
    return contents, failed


def assemble(result: Checkpoint, reader: NetworkReader) -> None:
    """Set config, family and tensors of a checkpoint from the networks in `stored`.

    G_ema counts first. If it is missing or cannot be built, the settings are those of G. A network
    that cannot be built is noted in `unbuilt`. If there is no generator, `reason` tells why.
    """
    for name in GENERATORS:
        if name in result.stored:
            try:
                _add_generator(result, name, reader)
            except ValueError as e:
                result.leave_out(name, e)
    if result.config is None:
        failed = [result.unbuilt[name] for name in GENERATORS if name in result.unbuilt]
        result.fail(failed[0] if failed else "the file has no generator")
        return
    if "D" in result.stored:
        try:
            D = reader.discriminator(result.config.G)
            _add(result, "D", replace(result.config, D=D), reader)
        except ValueError as e:
            result.leave_out("D", e)
    result.number_classes()


def _add_generator(result: Checkpoint, name: str, reader: NetworkReader) -> None:
    if result.config is not None:
        _add(result, name, result.config, reader)
        return
    G = reader.generator(name)
    _add(result, name, Config(G=G, D=fresh_discriminator(G)), reader)
    result.family = G.title


def _add(result: Checkpoint, name: str, config: Config, reader: NetworkReader) -> None:
    """Add a network with these settings. Raises: ValueError if its tensors do not fit them."""
    tensors = reader.tensors(name, config)
    result.check(name, tensors, config)
    result.tensors = {**(result.tensors or {}), name: tensors}
    result.config = config
