# SPDX-License-Identifier: Apache-2.0
"""What is frozen has to come from the other network. A new layer would never learn."""

from __future__ import annotations

from collections.abc import Mapping

from stylegan.errors import UserError
from stylegan.training.freeze import Frozen
from stylegan.training.transfer.units import NEW_LABELS, Part


def check_fits(frozen: Frozen, found: Mapping[str, Mapping[str, Part]]) -> None:
    """Check the frozen parts of G and D.

    Args: found: {"G" or "D": {block: `Part`}}.
    Raises: UserError if one of them starts anew, or if it is a mapping network with new labels.
    """
    for part in frozen.G:
        option = "freeze_mapping" if part == "mapping" else "freeze_g"
        for block, copied in found.get("G", {}).items():
            if block.split(".")[0] == part:
                _check(option, f"G {block}", copied)
    for block in frozen.D:
        _check("freeze_d", f"D {block}", found.get("D", {}).get(block, Part(all=1)))


def _check(option: str, block: str, part: Part) -> None:
    if not part.whole:
        reason = f" ({part.misfits[0]})" if part.misfits else ""
        raise UserError(option, f"{block} starts anew{reason} and has to train; leave it out")
    if any(note.startswith(NEW_LABELS) for note in part.notes):
        raise UserError(option, f"{block} has to learn the labels, which are new; leave it out")
