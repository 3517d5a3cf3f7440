# SPDX-License-Identifier: Apache-2.0
"""Means of what is measured during training."""

from __future__ import annotations

from typing import Any

import torch


class Stats:
    """Running means that do not wait for the device: values stay on it until `means`."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Any, int]] = {}

    def add(self, name: str, value: torch.Tensor | float, count: int = 1) -> None:
        """Add the mean of `count` samples, a number or a scalar tensor."""
        value = value.detach() if torch.is_tensor(value) else value
        total, n = self._sums.get(name, (0, 0))
        self._sums[name] = (total + value * count, n + count)

    def means(self) -> dict[str, float]:
        """{name: mean} of everything since `clear`."""
        return {name: float(total) / n for name, (total, n) in self._sums.items()}

    def clear(self) -> None:
        """Forget all values."""
        self._sums = {}

    def state_dict(self) -> dict[str, list[Any]]:
        """For a snapshot."""
        return {name: [total, n] for name, (total, n) in self._sums.items()}

    def load_state_dict(self, state: dict[str, list[Any]], device: torch.device) -> None:
        """The inverse of `state_dict`."""
        self._sums = {
            name: (total.to(device) if torch.is_tensor(total) else total, n)
            for name, (total, n) in state.items()
        }
