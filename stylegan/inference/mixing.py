# SPDX-License-Identifier: Apache-2.0
"""Style mixing: latents of rows with the styles of columns in some layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image


def mixed_ws(rows: torch.Tensor, columns: torch.Tensor, layers: Sequence[int]) -> torch.Tensor:
    """Every row with the styles of `layers` taken from every column.

    Args:
        rows: ws [R, num_ws, w_dim].
        columns: ws [C, num_ws, w_dim].
        layers: indices into ws.
    Returns: [R * C, num_ws, w_dim], the first row with all columns first.
    """
    mixed = rows[:, None].repeat(1, len(columns), 1, 1)
    mixed[:, :, layers] = columns[None, :, layers]
    return mixed.flatten(0, 1)


def mixing_table(
    rows: Sequence[Image.Image], columns: Sequence[Image.Image], mixed: Sequence[Image.Image]
) -> list[list[Image.Image | None]]:
    """The images of `mixed_ws` in rows, below those of the columns and beside those of the rows;
    the corner is None."""
    n = len(columns)
    table: list[list[Image.Image | None]] = [[None, *columns]]
    for i, own in enumerate(rows):
        table.append([own, *mixed[i * n : (i + 1) * n]])
    return table
