# SPDX-License-Identifier: Apache-2.0
"""The settings of NVIDIA's TensorFlow networks, from shapes of tensors and recorded arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from stylegan.checkpoints.arguments import Arguments, show
from stylegan.checkpoints.formats import shape_of, widths_of
from stylegan.checkpoints.pickle.arrays import TensorSource
from stylegan.config import DiscriminatorConfig, GeneratorConfig
from stylegan.models.sizes import blocks_of

MAX_RESOLUTION = 1 << 14
MAX_CHANNEL_BASE = 1 << 24
T = TypeVar("T")
Sources = Mapping[str, TensorSource]


def generator_config(tensors: Sources, given: Arguments) -> GeneratorConfig:
    """Settings of a generator.

    Args: tensors: under our names; given: the recorded arguments.
    Raises: ValueError that names a setting that does not fit.
    """
    blocks = _blocks(tensors, "synthesis.")
    top = f"synthesis.b{blocks[-1]}"
    labels = _size(tensors, "mapping.embed.weight", 0, 0)
    w_dim = _size(tensors, "synthesis.b4.conv1.affine.weight", 1)
    z_dim = _size(tensors, "mapping.fc0.weight", 1, w_dim + labels) - labels
    if z_dim < 1:
        raise ValueError(
            f"G: its mapping network takes {labels} inputs from the label and {z_dim} from z"
        )
    beta = "w_avg_beta" if "w_avg_beta" in given.values else "dlatent_avg_beta"
    frozen = given.any(beta, 0.995) is None  # the running mean never changes
    widths = [_size(tensors, f"synthesis.b{r}.conv1.weight", 0) for r in blocks]
    return GeneratorConfig(
        **_common(given, blocks, widths),
        **shape_of(_constant(tensors), len(blocks), blocks[-1]),
        channels=_same(given, "num_channels", _size(tensors, f"{top}.torgb.weight", 0)),
        z_dim=_same(given, "latent_size", z_dim),
        c_dim=_same(given, "label_size", _size(tensors, "mapping.embed.weight", 1, 0)),
        w_dim=_same(given, "dlatent_size", w_dim),
        mapping_layers=_same(given, "mapping_layers", _layers(tensors)),
        architecture=_architecture(tensors, given, "torgb", [f"synthesis.b{r}" for r in blocks]),
        use_noise=f"{top}.conv1.noise_strength" in tensors,
        w_avg_beta=1.0 if frozen else given.number(beta, 0.995, 0, 1),
    )


def discriminator_config(
    tensors: Sources, given: Arguments, G: GeneratorConfig
) -> DiscriminatorConfig:
    """Settings of a discriminator. Args: G: of its generator; others, Raises: as for that."""
    blocks = _blocks(tensors)
    widths = [_size(tensors, "b4.conv.weight", 0)]
    widths += [_size(tensors, f"b{r}.conv0.weight", 0) for r in blocks if r > 4]
    c_dim = _same(given, "label_size", _size(tensors, "mapping.embed.weight", 1, 0))
    group = given.any("mbstd_group_size", 4)
    group = None if group is None else given.integer("mbstd_group_size", 4)
    features = 0 if group in (0, 1) else given.integer("mbstd_num_features", 1, 1)
    found = _size(tensors, "b4.conv.weight", 1) - widths[0]
    if found != features or features and widths[0] % features:
        raise ValueError(
            f"D: {features} channels of minibatch statistics and {widths[0]} others, but the "
            f"weight of 4x4/Conv expects {found}"
        )
    h, w = blocks_of(G)[4]
    as_G = _size(tensors, "b4.fc.weight", 1) == widths[0] * h * w
    shape = {"resolution": G.resolution, "min_block_side": G.min_block_side}
    return DiscriminatorConfig(
        **_common(given, blocks, widths),
        **(shape if as_G else {"resolution": (blocks[-1], blocks[-1])}),
        channels=_same(given, "num_channels", _size(tensors, f"b{blocks[-1]}.fromrgb.weight", 1)),
        c_dim=c_dim,
        architecture=_architecture(tensors, given, "fromrgb", [f"b{r}" for r in blocks]),
        mapping_layers=_same(given, "mapping_layers", _layers(tensors)) if c_dim else 8,
        mbstd_group=None if group is None else max(group, 1),
        mbstd_channels=features,
    )


def _common(given: Arguments, blocks: Sequence[int], widths: Sequence[int]) -> dict[str, Any]:
    """Settings that both networks have. Raises: ValueError for one that ours cannot have."""
    given.choice("nonlinearity", "lrelu", ("lrelu",))
    given.choice("mapping_nonlinearity", "lrelu", ("lrelu",))
    if not given.flag("normalize_latents", True):
        raise ValueError(f"{given.where}: its mapping network does not normalize z")
    channel_base = 2 * given.integer("fmap_base", 16384, 1, MAX_CHANNEL_BASE)
    channel_max = given.integer("fmap_max", 512, 1, MAX_CHANNEL_BASE)
    _same(given, "resolution", blocks[-1])
    return dict(
        channel_base=channel_base,
        channel_max=channel_max,
        widths=widths_of(widths, channel_base, channel_max),
        resample_filter=given.taps("resample_kernel", (1, 3, 3, 1)),
        conv_clamp=given.optional("conv_clamp", None),
        low_precision_blocks=min(given.integer("num_fp16_res", 0, 0, 64), len(blocks) - 1),
    )


def _constant(tensors: Sources) -> tuple[int, ...]:
    """Height and width of the constant."""
    const = tensors.get("synthesis.b4.const")
    return const.shape[-2:] if const else ()


def _same(given: Arguments, name: str, found: T) -> T:
    """A setting that the tensors show. Raises: ValueError if another value is recorded."""
    if given.any(name, None) not in (None, found):
        raise ValueError(
            f"{given.where}: {name} is {show(given.any(name))}, but the tensors are for {found}"
        )
    return found


def _size(tensors: Sources, name: str, axis: int, default: int | None = None) -> int:
    """The size of a tensor along an axis; `default` if the tensor is missing."""
    if name not in tensors and default is not None:
        return default
    shape = tensors[name].shape if name in tensors else ()
    if axis >= len(shape) or not shape[axis]:
        raise ValueError(f"{name} is missing or has an invalid shape: {str(list(shape))[:60]}")
    return shape[axis]


def _blocks(tensors: Sources, prefix: str = "") -> list[int]:
    """Resolutions of the blocks, from the smallest."""
    pattern = re.compile(re.escape(prefix) + r"b([1-9]\d{0,4})\.\w+\.weight")
    found = {int(m[1]) for m in map(pattern.fullmatch, tensors) if m}
    if not found or max(found) > MAX_RESOLUTION:
        raise ValueError("no layers of StyleGAN2 (4x4, 8x8, ...)")
    return sorted(found)


def _layers(tensors: Sources) -> int:
    """Number of fully connected layers of the mapping network."""
    return sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in tensors)


def _architecture(tensors: Sources, given: Arguments, rgb: str, blocks: Sequence[str]) -> str:
    """skip, resnet or orig, from the names of the layers."""
    if any(f"{block}.skip.weight" in tensors for block in blocks):
        found = "resnet"
    else:
        every = all(f"{block}.{rgb}.weight" in tensors for block in blocks)
        found = "skip" if every else "orig"
    return _same(given, "architecture", found)
