# SPDX-License-Identifier: Apache-2.0
"""What a pipeline says to those who do not give it networks, or call what it does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stylegan.errors import UserError
from stylegan.inference.truncation import CENTERS
from stylegan.models.generator import Generator
from stylegan.networks import Networks

OTHER_NAMES = {  # of other libraries: what to write here
    "bfloat16": "pipe.to(torch.bfloat16)",
    "cpu": 'pipe.to("cpu")',
    "cuda": 'pipe.to("cuda")',
    "double": "pipe.to(torch.float64)",
    "eval": "nothing, a pipeline only draws",
    "float": "pipe.to(torch.float32)",
    "forward": "pipe(seeds=[1, 2])",
    "generate": "pipe(seeds=[1, 2])",
    "half": "pipe.to(torch.float16)",
    "load": "Pipeline.from_pretrained(path)",
    "mapping": "pipe.map(seeds=[1, 2])",
    "sample": "pipe(seeds=[1, 2])",
    "save": "pipe.save_pretrained(folder)",
    "synthesis": "pipe.G.synthesis(ws)",
}


def generator_of(networks: Any, truncation_center: str | None) -> Generator:
    """The generator to draw with.

    Raises: UserError if there is none, or it cannot truncate so.
    """
    if not isinstance(networks, Networks):
        helps = "load_networks reads them"
        if isinstance(networks, (str, Path)):
            helps = f"Pipeline.from_pretrained({str(networks)!r}) opens a path"
        elif isinstance(networks, Generator):
            helps = "Networks(Config(G=G.config), {}, G_ema=G) makes them of a generator"
        got = type(networks).__name__
        raise UserError("Pipeline", f"expected Networks, got {got}; {helps}")
    G = networks.best_G
    if G is None:
        raise UserError("Pipeline", "there is no generator (G_ema or G)")
    if not isinstance(G, Generator):
        raise UserError("Pipeline", f"expected a Generator as G_ema, got {type(G).__name__}")
    if truncation_center is not None and truncation_center not in CENTERS:
        expected = " or ".join(CENTERS)
        raise UserError("truncation_center", f"expected {expected}, got {truncation_center!r}")
    if truncation_center == "class" and not G.c_dim:
        raise UserError("truncation_center", "this network has no classes, so only all fits")
    return G


def hint_for(name: str) -> str:
    """What the message on a missing attribute of a pipeline adds."""
    return f"; write {OTHER_NAMES[name]}" if name in OTHER_NAMES else ""
