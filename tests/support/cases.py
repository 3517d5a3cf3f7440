# SPDX-License-Identifier: Apache-2.0
"""Cases of a test: chosen by pairs, and on several devices."""

import pytest
import torch

from support.pairs import pairs


def by_pairs(indirect=(), **values):
    """A decorator: the test runs for every pair of values of two of its arguments.

    Args:
        indirect: names of arguments that are fixtures, which get the value.
        values: argument -> the values it may have.
    """
    cases = [tuple(case.values()) for case in pairs({k: list(v) for k, v in values.items()})]
    return pytest.mark.parametrize(",".join(values), cases, ids=_name, indirect=list(indirect))


def _name(value):
    """What pytest would write only as a number."""
    return str(value).removeprefix("torch.").replace(" ", "")[:30]


def some_thorough(cases, quick):
    """`cases` as parameters; those not in `quick` are thorough."""
    thorough = pytest.mark.thorough
    return [
        case if case in quick else pytest.param(*_values(case), marks=thorough) for case in cases
    ]


def _values(case):
    return case if isinstance(case, tuple) else (case,)


def on(device, op):
    """`op` on tensors moved to a device, its result moved back to the CPU; differentiable."""

    def moved(*args, **kwargs):
        here = lambda value: value.to(device) if torch.is_tensor(value) else value
        return op(*map(here, args), **{k: here(v) for k, v in kwargs.items()}).cpu()

    return moved
