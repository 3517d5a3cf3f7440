# SPDX-License-Identifier: Apache-2.0
"""Recorded constructor arguments, which may be anything until they are checked."""

import math
from numbers import Real

from stylegan.checkpoints.pickle.source import Array

LIMIT = 1 << 16  # of a width
MISSING = object()


class Arguments:
    """Values by name, asked for one by one with the type and range that they must have.

    Args:
        values: dict.
        where: the network that they belong to, for messages.
    """

    def __init__(self, values, where):
        if type(values) is not dict:
            raise ValueError(f"{where}: arguments that are no dictionary")
        self.values, self.where = values, where

    def nested(self, name):
        """Those of a dictionary among the values; none if it is not there."""
        return Arguments(self.values.get(name) or {}, f"{self.where} {name}")

    def any(self, name, default=MISSING):
        """A value of whatever type."""
        if name not in self.values and default is MISSING:
            raise ValueError(f"{self.where}: there is no {name}")
        return self.values.get(name, default)

    def integer(self, name, default=MISSING, low=0, high=LIMIT):
        """An int."""
        value = self.any(name, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not low <= value <= high:
            raise ValueError(
                f"{self.where}: {name} is {show(value)}, expected an integer, {low} to {high}"
            )
        return value

    def number(self, name, default=MISSING, low=0.0, high=float(LIMIT)):
        """A float."""
        value = self.any(name, default)
        if type(value) not in (int, float) or not low <= value <= high:
            raise ValueError(
                f"{self.where}: {name} is {show(value)}, expected a number, {low:g} to {high:g}"
            )
        return float(value)

    def optional(self, name, default):
        """A positive number or None."""
        value = self.any(name, default)
        if value is None:
            return None
        value = self.number(name, default)
        return int(value) if value.is_integer() else value

    def flag(self, name, default):
        """A bool."""
        value = self.any(name, default)
        if type(value) is not bool:
            raise ValueError(f"{self.where}: {name} is {show(value)}, expected True or False")
        return value

    def choice(self, name, default, allowed):
        """One of a few."""
        value = self.any(name, default)
        if type(value) not in (str, int, float) or value not in allowed:
            wanted = " or ".join(map(str, allowed))
            raise ValueError(f"{self.where}: {name} is {show(value)}, known is {wanted}")
        return value

    def taps(self, name, default):
        """Taps of a filter, numbers."""
        value = self.any(name, default)
        if isinstance(value, Array):
            value = value.read().tolist() if value.numel <= 64 else None
        ok = type(value) in (list, tuple) and 0 < len(value) <= 64
        if not ok or not all(isinstance(v, Real) and math.isfinite(v) for v in value):
            raise ValueError(f"{self.where}: {name} is {show(value)}, expected a list of taps")
        if not sum(value):
            raise ValueError(f"{self.where}: the taps of {name} add up to 0")
        return tuple(value)


def show(value):
    """A value for a message; what holds others, only its type."""
    if value is None or type(value) in (bool, int, float, str):
        return ascii(value)[:40]
    return f"a {type(value).__name__}"
