# SPDX-License-Identifier: Apache-2.0
"""What a table of transferred weights means for the run, in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from stylegan.config import Config
from stylegan.runs.resume import Difference
from stylegan.training.transfer.settings import UNSEEN, structural_differences
from stylegan.training.transfer.units import Part

Parts = Mapping[str, Part]  # by block


def lines(found: Mapping[str, Parts], there: Config, here: Config) -> list[str]:
    """The settings that differ, and what to expect of the run.

    Args:
        found: {"G", "G_ema" or "D": {block: `Part`}}.
        there, here: the settings of the other network and of the run.
    """
    rows = structural_differences(there, here)
    whole = all(part.whole for parts in found.values() for part in parts.values())
    rows = [row for row in rows if not whole or _unseen(row)]
    if there.G.model != here.G.model:  # then no setting compares
        rows = []
    text = [f"  {row.option:28}{row.saved:>12}  there, {row.wanted} here" for row in rows]
    others = whole and bool(rows)
    text.append(f"  {_of_generator(found.get('G_ema', {}), there, here, others)}")
    text.append(f"  {_of_discriminator(found.get('D'))}")
    if rows and not whole:
        text.append(f"  to make more of it fit: {options_of(rows)}")
    elif rows:
        text.append(f"  the weights were trained with {options_of(rows)}: images differ at first")
    return text


def _unseen(row: Difference) -> bool:
    """Whether a setting changes images although all weights fit. New noise inputs are silent."""
    return row.option in UNSEEN or (row.option == "--use-noise" and row.saved == "on")


def why_nothing(reasons: Sequence[str], there: Config, here: Config) -> str:
    """Why no layer fits, and what would make them fit, as the end of a sentence."""
    if there.G.model != here.G.model:
        kinds = [config.G.title.split(",")[0] for config in (there, here)]
        return f": it is {kinds[0]}, the new one {kinds[1]}; leave --cfg out"
    rows = structural_differences(there, here)
    fixes = f"; {options_of(rows)} would make it fit" if rows else ""
    return f": {reasons[0]}{fixes}" if reasons else fixes


def _of_generator(parts: Parts, there: Config, here: Config, others: bool) -> str:
    """On G; `others` if settings that act on its weights have other values."""
    if not parts or not any(part.copied for part in parts.values()):
        return "G starts from scratch: the first sheet shows noise"
    anew = [name for name, part in parts.items() if not part.whole]
    if not anew and others:
        return "G keeps everything"
    if not anew and there.G.resolution != here.G.resolution:
        return (
            f"G keeps its layers up to {max(here.G.resolution)} px: the first sheet shows small, "
            "plain versions of its images"
        )
    if not anew:
        return "G keeps everything: the first sheet shows its images"
    if there.G.model != here.G.model:
        return "G is of another model: the first sheet shows noise"
    if "mapping" in anew:
        return "G maps latents anew, so its layers get other styles: the first sheet shows noise"
    if here.G.model == "stylegan3":
        return (
            f"G keeps {len(parts) - len(anew)} of {len(parts)} layers, too few for StyleGAN3: the "
            "first sheet shows noise"
        )
    return _of_blocks(parts, anew)


def _of_blocks(parts: Parts, anew: list[str]) -> str:
    """On a StyleGAN2 whose mapping network is kept."""
    sizes = sorted(int(m[1]) for name in parts if (m := re.fullmatch(r"synthesis\.b(\d+)", name)))
    kept = 0
    for size in sizes:
        if f"synthesis.b{size}" in anew:
            break
        kept = size
    if not kept:
        return "G keeps its mapping network, but not its first block: the first sheet shows noise"
    return (
        f"G keeps its layers up to {kept} px and learns finer ones anew: the first sheet shows "
        "its shapes without detail"
    )


def _of_discriminator(parts: Parts | None) -> str:
    if parts is None or not any(part.copied for part in parts.values()):
        return "D starts from scratch: images may get worse before they get better"
    anew = [name for name, part in parts.items() if not part.whole]
    if not anew:
        return "D keeps everything"
    return f"D learns {', '.join(anew)} anew and keeps the rest"


def options_of(rows: Iterable[Difference]) -> str:
    """The options that give the settings of the other network."""
    return " ".join(_option(row.option, row.saved) for row in rows)


def _option(name: str, value: str) -> str:
    """An option as one types it, for a value as a table shows it."""
    if value in ("on", "off"):
        return name if value == "on" else f"--no-{name[2:]}"
    return f"{name} {0 if value == 'no limit' else value}"
