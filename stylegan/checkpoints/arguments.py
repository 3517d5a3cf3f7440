# SPDX-License-Identifier: Apache-2.0
"""Recorded constructor arguments, whose types and ranges are checked when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stylegan.checkpoints.pickle.arrays import Array
from stylegan.config.numbers import MAX_TAPS, reason_against_taps

MAX_WIDTH = 1 << 16  # of a layer
MISSING: Any = object()


class Arguments:
    """Values by name.

    Args:
        values: a dict.
        where: the network that they belong to, for messages.
    """

    def __init__(self, values: Any, where: str) -> None:
        if type(values) is not dict:
            raise ValueError(f"{where}: the arguments are not a dictionary")
        self.values, self.where = values, where

    def nested(self, name: str) -> Arguments:
        """The arguments in a dictionary among the values; none if it is missing."""
        return Arguments(self.values.get(name) or {}, f"{self.where} {name}")

    def updated(self, values: dict[str, Any]) -> Arguments:
        """With other values for some names."""
        return Arguments({**self.values, **values}, self.where)

    def any(self, name: str, default: Any = MISSING) -> Any:
        """A value of any type."""
        if name not in self.values and default is MISSING:
            raise ValueError(f"{self.where}: {name} is missing")
        return self.values.get(name, default)

    def integer(
        self, name: str, default: int = MISSING, low: int = 0, high: int = MAX_WIDTH
    ) -> int:
        """An int in a range."""
        value = self.any(name, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not low <= value <= high:
            raise ValueError(
                f"{self.where}: {name} is {show(value)}, expected an integer, {low} to {high}"
            )
        return value

    def number(
        self,
        name: str,
        default: float = MISSING,
        low: float = 0.0,
        high: float = float(MAX_WIDTH),
    ) -> float:
        """A float in a range."""
        value = self.any(name, default)
        if type(value) not in (int, float) or not low <= value <= high:
            raise ValueError(
                f"{self.where}: {name} is {show(value)}, expected a number, {low:g} to {high:g}"
            )
        return float(value)

    def optional(self, name: str, default: float | None) -> float | None:
        """A number from 0, or None."""
        if self.any(name, default) is None:
            return None
        value = self.number(name, MISSING if default is None else default)
        return int(value) if value.is_integer() else value

    def flag(self, name: str, default: bool) -> bool:
        """A bool."""
        value = self.any(name, default)
        if type(value) is not bool:
            raise ValueError(f"{self.where}: {name} is {show(value)}, expected True or False")
        return value

    def choice(self, name: str, default: Any, allowed: Sequence[Any]) -> Any:
        """One of the allowed values."""
        value = self.any(name, default)
        if type(value) not in (str, int, float) or value not in allowed:
            wanted = " or ".join(map(str, allowed))
            raise ValueError(f"{self.where}: {name} is {show(value)}, expected {wanted}")
        return value

    def taps(self, name: str, default: Sequence[float]) -> tuple[float, ...]:
        """Taps of a filter."""
        value = self.any(name, default)
        if isinstance(value, Array):
            value = value.read().tolist() if value.numel <= MAX_TAPS else None
        if reason := reason_against_taps(value):
            raise ValueError(f"{self.where}: the taps of {name} {reason}")
        return tuple(value)


def show(value: object) -> str:
    """A value for a message; only the type of a value that contains others."""
    if value is None or type(value) in (bool, int, float, str):
        return ascii(value)[:40]
    return f"a {type(value).__name__}"
