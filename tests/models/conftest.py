# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from stylegan import build_discriminator, build_generator

FIXTURES = Path(__file__).parents[1] / "fixtures"
NESTED = {"num_layers": "mapping_layers", "mbstd_group_size": "mbstd_group"}
SAME = ("z_dim", "w_dim", "c_dim", "channel_base", "channel_max", "conv_clamp", "architecture")


class KnownGood:
    """Networks with published names and weights, and what they give."""

    def __init__(self, name):
        path = FIXTURES / f"{name}.safetensors"
        with safe_open(path, "pt") as f:
            config = json.loads(f.metadata()["config"])
        # The FIR filters in the file follow from the config; ours are not in the state.
        state = {k: v for k, v in load_file(path).items() if not k.endswith("resample_filter")}
        self.G = build_generator("stylegan2", **_fields(config["G"]))
        self.D = build_discriminator("stylegan2", **_fields(config["D"]))
        self.G.load_state_dict({k[2:]: v for k, v in state.items() if k.startswith("G.")})
        self.D.load_state_dict({k[2:]: v for k, v in state.items() if k.startswith("D.")})
        self.values = {k: torch.tensor(v) for k, v in np.load(FIXTURES / f"{name}.npz").items()}

    def check(self, key, value):
        """`value` is the known-good one within 1e-4 of its largest value."""
        expected = self.values[key]
        assert value.shape == expected.shape and value.dtype == torch.float32
        error = (value - expected).abs().max() / expected.abs().max()
        assert error <= 1e-4, f"{key}: error {error:.3g}"


def _fields(arguments):
    """Constructor arguments of the public checkpoints, nested or flat, as our fields."""
    flat = dict(arguments)
    for key in ("synthesis_kwargs", "mapping_kwargs", "epilogue_kwargs"):
        flat |= {NESTED.get(k, k): v for k, v in flat.pop(key, {}).items()}
    fields = {k: v for k, v in flat.items() if k in (*SAME, *NESTED.values())}
    return {**fields, "resolution": flat["img_resolution"], "channels": flat["img_channels"]}


@pytest.fixture(scope="module", params=["sg2-32", "sg2ada-64", "sg2ada-cond-32"])
def known(request):
    return KnownGood(request.param)
