# SPDX-License-Identifier: Apache-2.0
"""What modconv's kernels are tested on."""

import itertools

import torch
from ops.tensor_core_layer.cuda_on_host import Case
from ops.upfirdn2d.cuda_on_host import CLAMP, Epilogue, Memory

MEMORY = [
    Memory(offset, fence, order)
    for order, (offset, fence) in zip(
        itertools.cycle([0, 1, 7]),
        itertools.product(["none", "all", "outputs", "inputs"], ["before", "after"]),
    )
]
EPILOGUES = [
    Epilogue(*e)
    for e in itertools.product(
        [True, False],
        ["each", None, "shared"],
        [True, False],
        ["lrelu", "relu", "linear"],
        [CLAMP, torch.inf],
    )
]
NONE = 0, 0
CASES = [
    # Tiles of every shape, full ones and with several samples: lines x columns.
    *[Case(1, (16, 40), size) for size in [(16, 16), (8, 16), (16, 8)]],
    *[Case(17, (8, 8), (4, 4)), Case(9, (16, 24), (8, 4)), Case(5, (40, 8), (8, 8))],
    # The same that are not full, in the middle of nothing and of a sum.
    *[Case(2, (40, 24), (9, 13)), Case(1, (8, 16), (33, 35)), Case(3, (8, 8), (3, 70))],
    *[Case(1, (8, 8), (70, 3)), Case(3, (24, 16), (5, 6)), Case(2, (72, 200), (7, 7))],
    # Padding, and images of which it leaves nothing or that are nothing else.
    *[Case(2, (16, 8), (11, 9), 3, p) for p in [(0, 0), (2, 2), (0, 2), (2, 1), (-1, 4), (20, -2)]],
    *[Case(2, (16, 8), (7, 9), more=more) for more in [(3, 20), (-2, -3)]],
    *[
        Case(3, (8, 8), (1, 1)),
        Case(2, (8, 8), (3, 3), 3, NONE),
        Case(1, (8, 8), (2, 1), 3, (1, 2)),
    ],
    # One tap.
    *[Case(2, (40, 24), (9, 13), 1, NONE), Case(9, (8, 40), (4, 4), 1, NONE)],
    *[Case(2, (264, 136), (6, 5), 1, (1, 2)), Case(1, (72, 8), (1, 1), 1, NONE)],
    # Channels of y in no groups of 8.
    *[Case(2, (16, 3), (9, 9), 1, NONE), Case(1, (24, 13), (6, 9)), Case(2, (8, 67), (5, 4))],
    # Four phases, of which the last line and column are or are not whole.
    *[Case(2, (16, 24), (9, 7), up=True), Case(5, (40, 8), (4, 4), 3, (2, 2), True)],
    *[
        Case(1, (8, 40), (8, 16), 3, (1, 0), True, more=more)
        for more in [(-1, 0), (0, -1), (-1, -1)]
    ],
    *[Case(1, (24, 72), (3, 4), 1, NONE, True), Case(2, (8, 16), (5, 3), 3, (2, 2), True)],
    Case(1, (8, 8), (9, 17), up=True, more=(-1, -1)),  # a line and a column more than whole tiles
    Case(2, (8, 8), (1, 2), 3, (1, 1), True, more=(-1, 0)),  # two phases without pixels
]

# Filter and padding of up-sampling layers that meet three samples of x in each direction.
LAYERS = [
    ([1, 3, 3, 1], 1),
    ([1, 3, 3, 1], (1, 2, 3, 0)),
    ([1, 2, 1], 0),
    ([1, 2, 1], (0, 1, 1, 2)),
]
LAYERS += [([1, 3], 0), ([1, 3], 1), (None, 0), (None, 1), (None, (0, 1, 1, 2))]

SUMS = [Case(1, (264, 8), (5, 6)), Case(2, (136, 24), (4, 4), 1, NONE)]
SUMS.append(Case(2, (72, 13), (9, 16), 1, NONE))  # no groups of 8, some blocks that add
