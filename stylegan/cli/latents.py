# SPDX-License-Identifier: Apache-2.0
"""--latents and --save-ws: files of latents in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from stylegan.cli.drawing import note
from stylegan.cli.outputs import output_file

if TYPE_CHECKING:
    import torch

    from stylegan.inference.pipeline import Pipeline
    from stylegan.latents import Latents

FORMATS = ".npz or .npy with ws or w, or .pt of pSp, e4e, PTI and rosinality"
MAPPING = ("trunc", "trunc_cutoff", "trunc_center", "classes", "labels")  # decide ws


def latents_option(name: str, help: str) -> Callable:
    """An option that takes files of latents and adds up."""
    return click.option(
        name,
        multiple=True,
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help=f"{help}: {FORMATS}. Repeat the option for several files.",
    )


save_ws_option = click.option(
    "--save-ws",
    type=click.Path(dir_okay=False),
    metavar="FILE.npz",
    help="Also write the latents in W of the images, for --latents and --keyframes.",
)


def check_save_ws(path: str | None) -> None:
    """Raises: click.BadParameter for a name that does not end in .npz."""
    if path is not None and not path.lower().endswith(".npz"):
        raise click.BadParameter(
            f"expected a name that ends in .npz, got {path}", param_hint="--save-ws"
        )


def read_files(pipe: Pipeline, paths: Sequence[str], unused_by: str | None = None) -> list[Latents]:
    """The latents of files, for the network of `pipe`. Prints a note on noise maps that are not
    used.

    Args: unused_by: the command or option that does not use noise maps.
    Raises: UserError.
    """
    from dataclasses import replace

    from stylegan.latents import read_latents

    found = []
    for path in paths:
        latents = read_latents(path, pipe.G.num_ws, pipe.G.w_dim)
        if latents.noise and not getattr(pipe.G.config, "use_noise", False):
            note(f"{path} holds noise maps, but this network has no noise inputs")
            latents = replace(latents, noise={})
        elif latents.noise and unused_by:
            note(f"{path} holds noise maps, which {unused_by} does not use")
            latents = replace(latents, noise={})
        found.append(latents)
    return found


class WsFile:
    """The file of --save-ws, or nothing.

    Args: path: None writes nothing.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.ws: list[torch.Tensor] = []

    def add(self, ws: torch.Tensor) -> None:
        """Keep more latents [N, num_ws, w_dim]."""
        if self.path:
            self.ws.append(ws.cpu())

    @contextmanager
    def opened(
        self, about: Mapping[str, Any], noise: Mapping[str, torch.Tensor] | None = None
    ) -> Iterator[None]:
        """Write what was added when the block ends without an error.

        Raises: click.BadParameter if the file cannot be written, before the block.
        """
        import torch

        from stylegan.latents import write_latents

        if not self.path:
            yield
            return
        with output_file(self.path, "--save-ws") as part:
            yield
            if self.ws:
                write_latents(part, torch.cat(self.ws), about, noise)
