# SPDX-License-Identifier: Apache-2.0
"""Networks from presets or configs."""

import dataclasses

from stylegan.config import Config, DiscriminatorConfig, GeneratorConfig, preset
from stylegan.models.discriminator import Discriminator
from stylegan.models.stylegan2 import Generator


def build_generator(config="auto", **fields):
    """A generator with fresh weights.

    Args:
        config: a preset's name, a `Config` or a `GeneratorConfig`.
        fields: any field of `GeneratorConfig` to replace: `resolution=256, channel_base=16384`.
    Returns: `Generator` on the CPU, in training mode.
    Raises: UserError (a ValueError) for a preset or a field that does not exist or does not fit.
    """
    return Generator(_part("G", GeneratorConfig, config, fields))


def build_discriminator(config="auto", **fields):
    """A discriminator with fresh weights; arguments as `build_generator`, fields of
    `DiscriminatorConfig`."""
    return Discriminator(_part("D", DiscriminatorConfig, config, fields))


def _part(name, kind, config, fields):
    if isinstance(config, str):
        config = preset(config)
    whole = config if isinstance(config, Config) else Config(**{name: config})
    unknown = set(fields) - {f.name for f in dataclasses.fields(kind)}
    if unknown:
        raise _unknown(sorted(unknown)[0], kind)
    whole = dataclasses.replace(
        whole, **{name: dataclasses.replace(getattr(whole, name), **fields)}
    )
    # The generator's size decides what "by resolution" means for either network.
    size = getattr(whole, name).resolution
    whole = dataclasses.replace(whole, G=dataclasses.replace(whole.G, resolution=size))
    return getattr(whole.resolved(), name)


def _unknown(field, kind):
    from stylegan.errors import UserError

    names = ", ".join(f.name for f in dataclasses.fields(kind))
    return UserError(f"{kind.__name__}: there is no field {field!r}; there are {names}")
