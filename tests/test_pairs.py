# SPDX-License-Identifier: Apache-2.0
"""Cases by pairs."""

import itertools

import pytest
from support.cases import by_pairs
from support.pairs import pairs

GRID = {"act": list("abcdefghi"), "dtype": [1, 2, 3], "layout": [[0], [1]], "gain": [None, 0.5]}


@pytest.mark.parametrize("names", [["act", "dtype"], ["dtype", "layout", "gain"], list(GRID)])
def test_every_two_values_meet(names):
    grid = {name: GRID[name] for name in names}
    cases = pairs(grid)
    assert all(list(case) == names for case in cases)
    for a, b in itertools.combinations(names, 2):
        for x, y in itertools.product(grid[a], grid[b]):
            assert any(case[a] == x and case[b] == y for case in cases)


def test_cases_are_few_and_always_the_same():
    assert len(pairs(GRID)) == 9 * 3
    assert len(pairs({str(i): [0, 1] for i in range(10)})) <= 10  # of 1024
    assert pairs(GRID) == pairs(GRID)


def test_one_name_and_none():
    assert pairs({"act": ["a", "b"]}) == [{"act": "a"}, {"act": "b"}]
    assert pairs({}) == []
    assert pairs({"act": [], "dtype": [1]}) == []


@by_pairs(act=["a", "b"], shape=[(2, 3), ()], on=[True, False])
def test_arguments_of_a_test(act, shape, on):
    assert act in "ab" and shape in ((2, 3), ()) and on in (True, False)
