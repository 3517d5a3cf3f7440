# SPDX-License-Identifier: Apache-2.0
"""The settings of NVIDIA's networks, from attributes, recorded arguments and shapes of tensors.

If an attribute and a recorded constructor argument tell the same setting, the attribute counts: the
network ran with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stylegan.checkpoints.arguments import Arguments
from stylegan.checkpoints.formats import shape_of, widths_of
from stylegan.checkpoints.pickle.arrays import Array
from stylegan.checkpoints.pickle.nodes import Node
from stylegan.config import ARCHITECTURES, DiscriminatorConfig, GeneratorConfig, Stylegan3Config
from stylegan.models.sizes import blocks_of
from stylegan.models.stylegan3_filters import Geometry, geometry

POSITIONAL = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
POSITIONAL_D = ("c_dim", "img_resolution", "img_channels")
TAPS = (1, 3, 3, 1)
MAX_BLOCKS = 16  # of StyleGAN2: 4 px to 131072 px
MAX_RESOLUTION = 1 << 14
MAX_CHANNEL_BASE = 1 << 24
MAX_TAPS = 256  # of a filter of StyleGAN3; published ones have 24


@dataclass(frozen=True)
class Line:
    """Defaults of constructor arguments, which differ between two lines of repositories."""

    num_fp16_res: int
    conv_clamp: float | None
    w_avg_beta: float


ADA = Line(num_fp16_res=0, conv_clamp=None, w_avg_beta=0.995)
SINCE_STYLEGAN3 = Line(num_fp16_res=4, conv_clamp=256, w_avg_beta=0.998)


def line_of(generator: Node) -> Line:
    """The line that a generator comes from."""
    nested = "synthesis_kwargs" in generator.arguments(POSITIONAL)
    return ADA if nested else SINCE_STYLEGAN3


def generator_config(
    node: Node, tensors: dict[str, Array], line: Line
) -> GeneratorConfig | Stylegan3Config:
    """Settings of a generator. Raises: ValueError that names one that ours cannot have."""
    given = Arguments(node.arguments(POSITIONAL), "G")
    synthesis, mapping = node.child("synthesis"), node.child("mapping")
    of_mapping = given.nested("mapping_kwargs")
    flat = given.updated(given.nested("synthesis_kwargs").values)
    resolution = flat.integer("img_resolution", low=4, high=MAX_RESOLUTION)
    common: dict[str, Any] = dict(
        resolution=(resolution, resolution),
        channels=flat.integer("img_channels"),
        z_dim=flat.integer("z_dim"),
        c_dim=flat.integer("c_dim"),
        w_dim=flat.integer("w_dim", low=1),
        mapping_layers=_layers(tensors),
        channel_base=flat.integer("channel_base", 32768, 1, MAX_CHANNEL_BASE),
        channel_max=flat.integer("channel_max", 512, 1, MAX_CHANNEL_BASE),
        w_avg_beta=actual(mapping, of_mapping, "w_avg_beta").number(
            "w_avg_beta", line.w_avg_beta, 0, 1
        ),
    )
    if "input" in synthesis.holder("_modules"):
        return _stylegan3(flat, synthesis, common)
    return _stylegan2(flat, synthesis, common, tensors, line)


def _stylegan2(
    flat: Arguments,
    synthesis: Node,
    common: dict[str, Any],
    tensors: dict[str, Array],
    line: Line,
) -> GeneratorConfig:
    resolution = common["resolution"][0]
    blocks = _blocks(synthesis)
    common |= _shape(resolution, tensors, len(blocks))
    top = synthesis.child(f"b{resolution}")
    layer = actual(top.child("conv1"), flat, "conv_clamp", "activation")
    layer.choice("activation", "lrelu", ("lrelu",))
    widths = [_rows(tensors, f"synthesis.b{r}.conv1.weight") for r in blocks]
    return GeneratorConfig(
        **common,
        widths=widths_of(widths, common["channel_base"], common["channel_max"]),
        architecture=actual(top, flat, "architecture").choice(
            "architecture", "skip", ARCHITECTURES
        ),
        resample_filter=flat.taps("resample_filter", TAPS),
        conv_clamp=layer.optional("conv_clamp", line.conv_clamp),
        use_noise=f"synthesis.b{resolution}.conv1.noise_const" in tensors,
        low_precision_blocks=_low_precision(blocks, flat, line),
    )


def _stylegan3(flat: Arguments, synthesis: Node, common: dict[str, Any]) -> Stylegan3Config:
    own = synthesis.state or {}
    names = ("num_layers", "num_critical", "margin_size", "output_scale", "num_fp16_res")
    flat = flat.updated({k: own[k] for k in names if k in own})
    layers = [k for k in synthesis.holder("_modules") if re.fullmatch(r"L\d+_\d+_\d+", k)]
    num_layers = flat.integer("num_layers", 14, 1, 64)
    if num_layers != len(layers) - 1:
        raise ValueError(
            f"G: num_layers is {num_layers}, expected {len(layers) - 1} from its layers"
        )
    config = Stylegan3Config(
        **common,
        conv_clamp=actual(synthesis.child(layers[0]), flat, "conv_clamp").optional(
            "conv_clamp", 256
        ),
        low_precision_blocks=flat.integer("num_fp16_res", 4, 0, 64),
        num_layers=num_layers,
        num_critical=flat.integer("num_critical", 2, 0, 64),
        first_cutoff=flat.number("first_cutoff", 2, 0.25, 1024),
        first_stopband=flat.number("first_stopband", 2**2.1, 0.5, 4096),
        last_stopband_rel=flat.number("last_stopband_rel", 2**0.3, 1, 16),
        margin=flat.integer("margin_size", 10, 0, 256),
        filter_size=flat.integer("filter_size", 6, 1, 64),
        lrelu_upsampling=flat.choice("lrelu_upsampling", 2, (1, 2, 4)),
        output_scale=flat.number("output_scale", 0.25),
        conv_kernel=flat.choice("conv_kernel", 3, (1, 3)),
        radial_filters=flat.flag("use_radial_filters", False),
    )
    _check_geometry(geometry(config))
    return config


def _check_geometry(layers: Iterable[Geometry]) -> None:
    """Refuse settings whose filters cannot be computed."""
    for g in layers:
        taps = max(g.up_taps, g.down_taps)
        if taps > MAX_TAPS:
            raise ValueError(f"G: {g.name} has filters of {taps} taps, more than {MAX_TAPS}")
        with np.errstate(all="ignore"):
            filters = [f for f in g.filters() if f is not None]
        if not all(f.isfinite().all() for f in filters):
            raise ValueError(f"G: the settings of {g.name} give no valid filter")


def discriminator_config(
    node: Node,
    tensors: dict[str, Array],
    line: Line,
    G: GeneratorConfig | Stylegan3Config,
) -> DiscriminatorConfig:
    """Settings of a discriminator.

    Args: G: those of its generator.
    Raises: ValueError that names one that ours cannot have.
    """
    given = Arguments(node.arguments(POSITIONAL_D), "D")
    of_blocks, epilogue = given.nested("block_kwargs"), given.nested("epilogue_kwargs")
    resolution = given.integer("img_resolution", low=4, high=MAX_RESOLUTION)
    c_dim = given.integer("c_dim")
    blocks = _blocks(node)
    top = node.child(f"b{resolution}")
    layer = actual(top.child("conv0"), given, "conv_clamp")
    for child, arguments in ((top.child("conv0"), of_blocks), (node.child("b4", "fc"), epilogue)):
        actual(child, arguments, "activation").choice("activation", "lrelu", ("lrelu",))
    std = node.child("b4", "mbstd").state or {}
    own = {"group_size": "mbstd_group_size", "num_channels": "mbstd_num_channels"}
    found = {theirs: std[name] for name, theirs in own.items() if name in std}
    epilogue = Arguments({**epilogue.values, **found}, "D")
    channel_base = given.integer("channel_base", 32768, 1, MAX_CHANNEL_BASE)
    channel_max = given.integer("channel_max", 512, 1, MAX_CHANNEL_BASE)
    widths = [_rows(tensors, "b4.conv.weight")]
    widths += [_rows(tensors, f"b{r}.conv0.weight") for r in sorted(blocks) if r > 4]
    group = epilogue.any("mbstd_group_size", 4)
    return DiscriminatorConfig(
        **_shape_D(resolution, tensors, G),
        channels=given.integer("img_channels"),
        c_dim=c_dim,
        architecture=actual(top, given, "architecture").choice(
            "architecture", "resnet", ARCHITECTURES
        ),
        channel_base=channel_base,
        channel_max=channel_max,
        widths=widths_of(widths, channel_base, channel_max),
        resample_filter=of_blocks.taps("resample_filter", TAPS),
        conv_clamp=layer.optional("conv_clamp", line.conv_clamp),
        low_precision_blocks=_low_precision(blocks, given, line),
        mapping_layers=_layers(tensors) if c_dim else 8,
        mbstd_group=None if group is None else epilogue.integer("mbstd_group_size", 4, 1),
        mbstd_channels=epilogue.integer("mbstd_num_channels", 1),
    )


def _shape(resolution: int, tensors: dict[str, Array], blocks: int) -> dict[str, Any]:
    """Resolution and min_block_side, from the shape of the constant. The resolution that files
    record is that of a square."""
    const = tensors.get("synthesis.b4.const")
    return shape_of(const.shape[-2:] if const else (), blocks, resolution)


def _shape_D(
    resolution: int, tensors: dict[str, Array], G: GeneratorConfig | Stylegan3Config
) -> dict[str, Any]:
    """The same of a discriminator, from the size of its dense layer."""
    rows, fc = _rows(tensors, "b4.conv.weight"), tensors.get("b4.fc.weight")
    square = {"resolution": (resolution, resolution)}
    if fc is None or len(fc.shape) != 2 or not isinstance(G, GeneratorConfig):
        return square
    smallest = blocks_of(G)[4]
    if fc.shape[1] == rows * 16 or fc.shape[1] != rows * smallest[0] * smallest[1]:
        return square
    return {"resolution": G.resolution, "min_block_side": G.min_block_side}


def actual(node: Node, arguments: Arguments, *names: str) -> Arguments:
    """`arguments`, updated by the attributes `names` of the module itself."""
    state = node.state if type(node.state) is dict else {}
    return arguments.updated({name: state[name] for name in names if name in state})


def _blocks(node: Node) -> dict[int, Any]:
    """{resolution: module} of the blocks of StyleGAN2, from the smallest."""
    blocks = node.holder("_modules").items()
    found = {int(k[1:]): child for k, child in blocks if re.fullmatch(r"b[1-9]\d{0,4}", k)}
    if not 0 < len(found) <= MAX_BLOCKS:
        raise ValueError("neither blocks of StyleGAN2 (b4, b8, ...) nor layers of StyleGAN3")
    return dict(sorted(found.items()))


def _low_precision(blocks: dict[int, Any], arguments: Arguments, line: Line) -> int:
    """How many blocks run in half precision. The block of 4 px never does."""
    larger = [block for size, block in blocks.items() if size > 4 and type(block) is Node]
    flags = [block.get("use_fp16") for block in larger]
    if all(type(flag) is bool for flag in flags):
        return sum(flags)
    return min(arguments.integer("num_fp16_res", line.num_fp16_res, 0, 64), len(larger))


def _layers(tensors: dict[str, Array]) -> int:
    """Number of fully connected layers of the mapping network."""
    return sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", key)) for key in tensors)


def _rows(tensors: dict[str, Array], key: str) -> int:
    """Output channels of a layer."""
    if key not in tensors or not tensors[key].shape:
        raise ValueError(f"{key} is missing")
    return tensors[key].shape[0]
