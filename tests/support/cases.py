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


def mostly_thorough(names, cases, quick, ids=None):
    """A decorator: pytest.mark.parametrize, where cases that are not in `quick` are thorough."""
    values = (lambda case: case) if "," in names else (lambda case: (case,))
    marks = [() if case in quick else pytest.mark.thorough for case in cases]
    parameters = [pytest.param(*values(case), marks=mark) for case, mark in zip(cases, marks)]
    return pytest.mark.parametrize(names, parameters, ids=ids)


def on(device, op):
    """`op` on tensors moved to a device, its result moved back to the CPU; differentiable."""

    def moved(*args, **kwargs):
        here = lambda value: value.to(device) if torch.is_tensor(value) else value
        return op(*map(here, args), **{k: here(v) for k, v in kwargs.items()}).cpu()

    return moved


def by_tier(name, quick, thorough):
    """A decorator: pytest.mark.parametrize with values of the two tiers."""
    late = [pytest.param(value, marks=pytest.mark.thorough) for value in thorough]
    return pytest.mark.parametrize(name, [*quick, *late])
