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
NESTED = {
    "num_layers": "mapping_layers",
    "mbstd_group_size": "mbstd_group",
    "use_radial_filters": "radial_filters",
}
SAME = ("z_dim", "w_dim", "c_dim", "channel_base", "channel_max", "conv_clamp", "architecture")
SAME += ("conv_kernel",)


class KnownGood:
    """Networks with published names and weights, and what they give."""

    def __init__(self, name):
        path = FIXTURES / f"{name}.safetensors"
        with safe_open(path, "pt") as f:
            config = json.loads(f.metadata()["config"])
        # The FIR filters in the file follow from the config; ours are not in the state.
        state = {k: v for k, v in load_file(path).items() if not k.endswith("resample_filter")}
        model = "stylegan3-t" if name.startswith("sg3") else "stylegan2"
        self.G = build_generator(model, **_fields(config["G"]))
        self.G.load_state_dict({k[2:]: v for k, v in state.items() if k.startswith("G.")})
        self.D = "D" in config and build_discriminator("stylegan2", **_fields(config["D"]))
        if self.D:
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
        flat |= flat.pop(key, {})
    flat = {NESTED.get(k, k): v for k, v in flat.items()}
    fields = {k: v for k, v in flat.items() if k in (*SAME, *NESTED.values())}
    return {**fields, "resolution": flat["img_resolution"], "channels": flat["img_channels"]}


@pytest.fixture(
    scope="module", params=["sg2-32", "sg2ada-64", "sg2ada-cond-32", "sg3t-64", "sg3r-32"]
)
def known(request):
    return KnownGood(request.param)


@pytest.fixture(scope="module")
def radial():
    """A network of StyleGAN3-R, whose pictures turn with its input, and ws."""
    known = KnownGood("sg3r-32")
    return known.G.eval(), known.G.mapping(known.values["z"], known.values["c"]).detach()
