# SPDX-License-Identifier: Apache-2.0
"""Cases by pairs: few of them, and every two values still meet."""

import itertools
from collections.abc import Mapping, Sequence


def pairs(values: Mapping[str, Sequence]) -> list[dict]:
    """Cases in which every pair of values of two names occurs at least once.

    The choice is greedy and deterministic. Each case starts with the first pair that no case has
    yet. It takes, name by name, the value that adds most new pairs (ties: the value used least).

    Args:
        values: name -> the values it may have, which need not be hashable.
    Returns: a list of {name: value}; about as long as the product of the two longest lists.
    """
    names = list(values)
    if len(names) < 2:
        return [{name: value} for name in names for value in values[name]]
    # Values are known by (name, index) here.
    options = {name: [(name, i) for i in range(len(values[name]))] for name in names}
    missing = {
        pair: None  # in order, as no set is
        for a, b in itertools.combinations(names, 2)
        for pair in itertools.product(options[a], options[b])
    }
    uses = {option: 0 for name in names for option in options[name]}
    cases = []
    while missing:
        chosen = dict(next(iter(missing)))
        for name in names:
            if name not in chosen:
                chosen[name] = max(
                    (i for _, i in options[name]),
                    key=lambda i: (len(_new(missing, chosen, (name, i))), -uses[name, i]),
                )
        case = [(name, chosen[name]) for name in names]
        for pair in itertools.combinations(case, 2):
            missing.pop(pair, None)
        for option in case:
            uses[option] += 1
        cases.append({name: values[name][i] for name, i in case})
    return cases


def _new(missing: dict, chosen: dict, option: tuple) -> list:
    """The pairs still missing that `option` makes with what a case has so far."""
    return [
        1 for other in chosen.items() if (other, option) in missing or (option, other) in missing
    ]
