# SPDX-License-Identifier: Apache-2.0
"""grid_sample of images that are rotated by an affine grid, as augmentation does, against PyTorch's
own op, which is the reference. PyTorch differentiates its op twice from version 2.13 on."""

import math
from functools import partial

import click
import torch
import torch.nn.functional as F
from harness.op_race import PASSES, Case, Contest, Settings, measure, op_options, tensor

from stylegan_ops import grid_sample
from stylegan_ops.ops.grid_sample import grid_sample_ref

CHANNELS = 3
ANGLE = math.radians(20)
TWICE = tuple(int(n) for n in torch.__version__.split(".")[:2]) >= (2, 13)


def contest(shape, dtype, layout, settings):
    """Images of one shape."""
    cos, sin = math.cos(ANGLE), math.sin(ANGLE)
    matrix = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]], device=settings.device)
    grid = F.affine_grid(matrix.expand(shape[0], -1, -1), shape, align_corners=False)
    ops = {
        "native": lambda x: grid_sample(x, grid),
        "reference": lambda x: grid_sample_ref(x.float(), grid).to(x.dtype),
    }
    only = {} if TWICE else {"reference": PASSES[:3]}
    return Contest(ops, [tensor(shape, dtype, layout, settings.device)], only=only)


def cases(settings):
    """Images of the networks, the largest first."""
    for size in sorted(settings.resolutions, reverse=True):
        shape = settings.batch, CHANNELS, size, size
        for dtype, layout in settings.formats():
            names = {"x": list(shape), "dtype": dtype, "layout": layout}
            yield Case(names, partial(contest, shape, dtype, layout, settings))


@click.command(help=__doc__)
@op_options
def main(**options):
    """Print a row per size, dtype, layout and pass."""
    settings = Settings.of(**options)
    measure("grid_sample", cases(settings), settings)


if __name__ == "__main__":
    main()
