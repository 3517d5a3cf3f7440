# SPDX-License-Identifier: Apache-2.0
"""warp_affine of images by maps that augmentation draws, against its reference."""

from functools import partial

import click
import torch
from harness.op_race import Case, Contest, Settings, measure, op_options, tensor

from stylegan.training.augment import geometry, pipe_of
from stylegan.training.augment.draws import Draws
from stylegan_ops import warp_affine
from stylegan_ops.ops.warp_affine import warp_affine_ref

P = 0.6  # where many runs end


def draws_of(n, p, device):
    """The same ones in every run."""
    return Draws(n, torch.tensor(p, device=device), torch.Generator(device).manual_seed(1))


def contest(shape, dtype, layout, settings):
    """Maps of the pipe for images of one shape."""
    pipe = pipe_of("bg").to(settings.device)
    draws = draws_of(shape[0], P, settings.device)
    matrix = geometry.matrices(pipe.strengths, draws, *shape[2:])
    ops = {
        "warp_affine": lambda x: warp_affine(x, matrix, pipe.low_pass),
        "reference": lambda x: warp_affine_ref(x, matrix, pipe.low_pass),
    }
    return Contest(ops, [tensor(shape, dtype, layout, settings.device)])


def cases(settings):
    """Images of every size, the smallest first."""
    for size in sorted(settings.resolutions):
        shape = settings.batch, 3, size, size
        for dtype in settings.dtypes:
            names = {"x": list(shape), "dtype": dtype}
            yield Case(names, partial(contest, shape, dtype, "contiguous", settings))


@click.command(help=__doc__)
@op_options
def main(**options):
    """Print a row per size, dtype and pass."""
    settings = Settings.of(**options)
    measure("warp_affine", cases(settings), settings)


if __name__ == "__main__":
    main()
