# SPDX-License-Identifier: Apache-2.0
"""Settings that go together badly, which the header of a run warns of."""

from __future__ import annotations

from collections.abc import Iterator

from stylegan.config import Config
from stylegan.models.sizes import blocks_of

FEW = 1000  # images; below that D learns them by heart within hours
VERY_FEW = 100  # images; augmentation alone does not make up for so few


def cautions(config: Config, images: int) -> list[str]:
    """A line for everything that will make training worse than it need be.

    Args:
        config: a resolved `Config`.
        images: in the data set.
    """
    return [*_statistics(config), *_images(config, images), *_size(config), *_range(config)]


def _statistics(config: Config) -> Iterator[str]:
    """On minibatch statistics, by which D sees how much images vary."""
    n, group = config.train.batch_gpu or 0, config.D.mbstd_group
    if not config.D.mbstd_channels:
        return
    if n == 1:
        batch = config.train.batch
        wanted = min(group, 4) if group and group > 1 else 4
        why, advice = f"--batch {n}", f"--batch {wanted} or more"
        if batch > 1:
            fits = next(k for k in range(min(wanted, batch), batch + 1) if batch % k == 0)
            why, advice = f"--batch-gpu {n}", f"--batch-gpu {fits}"
        yield (
            f"D sees one image at a time ({why}), so it cannot notice that all images look alike; "
            f"{advice} lets it"
        )
    elif group == 1:
        yield (
            "D compares no images (--mbstd-group 1), so it cannot notice that all look alike; "
            "--mbstd-group 4 lets it"
        )


def _images(config: Config, images: int) -> Iterator[str]:
    if images < FEW:
        advice = [] if config.data.mirror else ["--mirror doubles them"]
        if not config.train.init_from:
            advice += ["--init-from a trained network needs fewer"]
        if config.train.aug == "none":
            risk = f"{_count(images)} are few, and D soon knows them by heart"
            yield "; ".join([risk, "--aug ada keeps it from that", *advice])
        elif images < VERY_FEW and not config.train.init_from:
            few = f"{_count(images)} are few even with augmentation"
            yield "; ".join([few, *advice])
    if images < config.train.batch:
        yield f"{_count(images)} for batches of {config.train.batch}: every batch repeats images"


def _count(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"


def _size(config: Config) -> Iterator[str]:
    height, width = config.G.resolution
    smallest = blocks_of(config.D)[4]
    if max(smallest) > 16:
        yield (
            f"{width}x{height} px can be halved only down to {smallest[1]}x{smallest[0]}, so D's "
            "dense layer is large; a --resolution with more factors of two learns better"
        )


def _range(config: Config) -> Iterator[str]:
    if config.G.precision == "float16" and config.G.conv_clamp is None:
        yield (
            "float16 holds numbers up to 65504 only, and nothing limits activations; "
            "--conv-clamp 256 does"
        )
